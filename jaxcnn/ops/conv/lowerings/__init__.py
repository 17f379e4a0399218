"""Lowerings: the ways of computing a convolution, one per file.

Each lowering has two functions. `supports(problem)` tells whether it can compute a problem and is worth it;
`run(first, second, problem)` computes the array `problem.wanted`. The table in `ops.conv.select` chooses among them.

On a CPU, XLA's convolution multiplies matrices of gathered patches. For some kinds of convolution it is 2 to 30 times
too slow. The gradients of such a convolution are often of the same kind, so most lowerings compute more than one of
the three arrays: the outputs, the input gradient and the kernel gradient.
"""
