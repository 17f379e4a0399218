"""Few outputs from few channels.

Neighboring cells along the last axis become outputs of one wider window. With few outputs, the vector registers of a
processor are half empty.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.geometry import Window
from jaxcnn.ops.conv.lowerings.views import MOST_TAPS, flipped, reordered
from jaxcnn.ops.conv.lowerings.xla import correlate
from jaxcnn.ops.conv.problem import Problem, compiled

_NARROW, _VECTOR = 8, 16  # as many output channels are few; the float32s in a vector of 512 bits
# how many outputs side by side fill a vector, by output channels; powers of two
_NEIGHBORS = {count: min(_NARROW, 1 << (_VECTOR // count).bit_length() - 1) for count in range(1, _NARROW + 1)}


def supports(problem: Problem) -> bool:
    """Whether there are few channels in one group.

    The window must have no dilation along the last axis.
    """
    window = problem.spec.window
    if not problem.is_forward or problem.grouped:
        return False
    if problem.output_channels > _NARROW or not 1 < problem.channels <= _VECTOR:
        return False
    if not 1 < problem.taps <= MOST_TAPS:
        return False
    dense = window.dilation[-1] == window.input_dilation[-1] == 1
    return dense and problem.output_sizes[-1] >= 2 * _NEIGHBORS[problem.output_channels]


@compiled
def run(inputs: jax.Array, kernel: jax.Array, problem: Problem) -> jax.Array:
    """Computes the outputs with one window for neighboring cells.

    It covers the windows of all of them.
    """
    spec = problem.spec
    window, (lhs, rhs, out) = spec.window, spec.dims
    maps, stride = kernel.shape[rhs[0]], window.strides[-1]
    count = _NEIGHBORS[maps]
    width = problem.output_sizes[-1]
    borders = [[(0, 0, 0)] * kernel.ndim for _ in range(count)]
    for place, border in enumerate(borders):
        border[rhs[-1]] = (place * stride, (count - 1 - place) * stride, 0)
    taps = flipped(kernel, spec)
    wide = lax.concatenate([lax.pad(taps, jnp.zeros((), taps.dtype), border) for border in borders], rhs[0])
    cells = -(-width // count) * count
    low, high = window.padding[-1]
    high += (cells - width) * stride - window.remainder(problem.input_sizes)[-1]
    last = inputs.ndim - 1
    outputs = correlate(
        inputs,
        wide,
        spec._replace(
            window=Window(
                (*window.shape[:-1], wide.shape[rhs[-1]]),
                (*window.strides[:-1], stride * count),
                (*window.padding[:-1], (low, high)),
                window.input_dilation,
                window.dilation,
            ),
            dims=lax.ConvDimensionNumbers(lhs, rhs, (0, last, *range(1, last))),
            flip=False,
        ),
    )
    outputs = lax.slice_in_dim(outputs.reshape(*outputs.shape[:-2], cells, maps), 0, width, axis=last - 1)
    return reordered(outputs, (0, last, *range(1, last)), out)
