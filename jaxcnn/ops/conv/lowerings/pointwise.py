"""A window of one cell: one matrix product over the channels."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.conv.lowerings.views import reordered
from jaxcnn.ops.conv.problem import Problem, compiled


def supports(problem: Problem) -> bool:
    """Whether the window has one tap, the channels one group.

    With strides, it must not read any padding or gap.
    """
    window = problem.spec.window
    if not problem.is_forward or problem.grouped or problem.taps > 1:
        return False
    return set(window.strides) == {1} or problem.reads_real_cells


@compiled
def run(inputs: jax.Array, kernel: jax.Array, problem: Problem) -> jax.Array:
    """Computes the outputs.

    Zeros between the cells, and around them, stay zeros.
    """
    spec = problem.spec
    window, (lhs, rhs, out) = spec.window, spec.dims
    if set(window.strides) != {1}:
        limits, steps = list(inputs.shape), [1] * inputs.ndim
        for axis, size, stride in zip(lhs[2:], problem.output_sizes, window.strides, strict=True):
            limits[axis], steps[axis] = (size - 1) * stride + 1, stride
        inputs = lax.slice(inputs, [0] * inputs.ndim, limits, steps)
    matrix = kernel.reshape([kernel.shape[axis] for axis in sorted(rhs[:2])])
    product = lax.dot_general(
        inputs,
        matrix,
        (((lhs[1],), (int(rhs[1] > rhs[0]),)), ((), ())),
        precision=spec.precision,
        preferred_element_type=spec.element_type,
    )
    # the product's axes are the inputs' without the channels, then the outputs
    last = inputs.ndim - 1
    product = reordered(product, [last if axis == lhs[1] else axis - (axis > lhs[1]) for axis in lhs], out)
    if set(window.strides) != {1}:
        return product
    borders = [(0, 0, 0)] * inputs.ndim
    for axis, (low, high), dilation in zip(out[2:], window.padding, window.input_dilation, strict=True):
        borders[axis] = (low, high, dilation - 1)
    return lax.pad(product, jnp.zeros((), product.dtype), borders)
