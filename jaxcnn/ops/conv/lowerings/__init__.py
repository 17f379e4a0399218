"""The ways of computing a convolution, one a file.

Each has `supports(problem)`, whether it can be taken and pays, and `run(first, second, problem)`, which computes the
array `problem.wanted`. `ops.conv.select` holds the table of them and chooses.

XLA's convolution on a CPU multiplies matrices of gathered patches. It is slow for some kinds of convolution, by factors
of 2 to 30. Each kind comes back among its own gradients, so most lowerings serve more than one of the three arrays.
"""
