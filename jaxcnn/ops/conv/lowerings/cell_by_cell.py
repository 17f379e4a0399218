"""The kernel gradient of a depthwise convolution, tap by tap.

For each tap it is one elementwise product, summed. The problem is a convolution with the input channels as the batch,
and the cotangent as the kernel.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.conv.lowerings.views import MOST_TAPS, flipped, padded, reordered, views
from jaxcnn.ops.conv.problem import Problem, compiled


def supports(problem: Problem) -> bool:
    """Whether this is such a kernel gradient, with few taps.

    Its channels must be last.
    """
    if not problem.is_forward or not problem.is_depthwise_kernel_gradient:
        return False
    lhs, rhs, _ = problem.spec.dims
    in_place = lhs[0] == rhs[0] == len(lhs) - 1 and lhs[1] == rhs[1] == 0
    return in_place and math.prod(problem.output_sizes) <= MOST_TAPS


@compiled
def run(inputs: jax.Array, kernel: jax.Array, problem: Problem) -> jax.Array:
    """Computes the gradient, one sum of products per cell.

    Each is over the cells of the window and the batch.
    """
    spec = problem.spec
    lhs, rhs, out = spec.dims
    channels, maps = inputs.shape[-1], kernel.shape[-1]
    window = spec.window
    cotangents = flipped(kernel, spec)
    cotangents = lax.transpose(cotangents, (rhs[1], *rhs[2:], rhs[0]))
    cotangents = cotangents.reshape(*cotangents.shape[:-1], channels, maps // channels)
    sizes = problem.output_sizes
    seen = lax.transpose(padded(inputs, spec), (lhs[1], *lhs[2:], lhs[0]))
    axes = range(1, seen.ndim - 1)
    cells = views(seen, axes, sizes, window.strides, window.shape, window.dilation)
    sums = jnp.stack([jnp.sum(view[..., None] * cotangents, range(view.ndim - 1)).reshape(maps) for view in cells])
    outputs = sums.astype(spec.element_type or sums.dtype).reshape(1, *sizes, maps)
    return reordered(outputs, (0, outputs.ndim - 1, *range(1, outputs.ndim - 1)), out)
