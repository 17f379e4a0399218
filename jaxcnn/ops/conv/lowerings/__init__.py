"""Lowerings: the ways of computing a convolution, one per file.

Each lowering has two functions. `supports(problem)` tells whether it can compute a problem and is worth it;
`run(first, second, problem)` computes the array `problem.wanted`. The table in `ops.conv.select` chooses among them.

On a CPU, XLA's convolution multiplies matrices of gathered patches. For some kinds of convolution it is 2 to 30 times
too slow. `native` computes all three arrays: the outputs, the input gradient and the kernel gradient. `one_axis`
computes the kernel gradient too. For every other lowering `ops.conv.rule` writes a gradient as the outputs of another
convolution, which is a problem of its own and finds the lowering that is fast for it.
"""
