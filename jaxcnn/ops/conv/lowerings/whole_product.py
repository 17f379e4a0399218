"""One output cell: a single matrix product.

It is over all cells of the window. The kernel gradient of a window of one cell also has one output cell.
"""

import jax
from jax import lax

from jaxcnn.ops.conv.lowerings.views import flipped
from jaxcnn.ops.conv.problem import Problem, compiled


def supports(problem: Problem) -> bool:
    """Whether there is one output cell, and one group.

    The window must read no padding or gap.
    """
    one_cell = problem.is_forward and set(problem.output_sizes) == {1}
    return one_cell and not problem.grouped and problem.reads_real_cells


@compiled
def run(inputs: jax.Array, kernel: jax.Array, problem: Problem) -> jax.Array:
    """Computes the outputs."""
    spec = problem.spec
    lhs, rhs, out = spec.dims
    limits, steps = list(inputs.shape), [1] * inputs.ndim
    for axis, size, dilation in zip(lhs[2:], spec.window.shape, spec.window.dilation, strict=True):
        limits[axis], steps[axis] = (size - 1) * dilation + 1, dilation
    product = lax.dot_general(
        lax.slice(inputs, [0] * inputs.ndim, limits, steps),
        flipped(kernel, spec),
        ((lhs[1:], rhs[1:]), ((), ())),
        precision=spec.precision,
        preferred_element_type=spec.element_type,
    )
    product = product if out[0] < out[1] else product.T
    return lax.expand_dims(product, sorted(out[2:]))
