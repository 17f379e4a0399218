"""Many rows in the window, few rows in the outputs.

Each row of outputs is one convolution along the other axes. The kernel gradient with many channels is such a
convolution. The rows of the window become channels.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.geometry import Window
from jaxcnn.ops.conv.lowerings.views import flipped, reordered, views
from jaxcnn.ops.conv.problem import Problem, channels_last, compiled

_MOST_ROWS = 11
_LEAST_LINES = 32  # examples (of a kernel gradient: channels), so that it pays to copy the inputs once for each row


def supports(problem: Problem) -> bool:
    """Whether there are several axes and few rows of outputs.

    There must be enough examples to be worth copying the inputs.
    """
    if not problem.is_forward or problem.grouped or len(problem.output_sizes) == 1 or problem.batch < _LEAST_LINES:
        return False
    # a batch that the compiler divides among devices it would gather again, to join it with the rows
    return problem.output_sizes[0] <= min(_MOST_ROWS, problem.spec.window.shape[0] - 1) and jax.device_count() == 1


@compiled
def run(inputs: jax.Array, kernel: jax.Array, problem: Problem) -> jax.Array:
    """Computes the outputs."""
    from jaxcnn.ops.conv.select import convolve  # which knows this file

    spec = problem.spec
    window, (lhs, rhs, out) = spec.window, spec.dims
    seen = lax.transpose(inputs, (lhs[0], *lhs[3:], lhs[2], lhs[1]))  # the window's rows beside the channels
    borders = [(0, 0, 0)] * seen.ndim
    borders[-2] = (*window.padding[0], window.input_dilation[0] - 1)
    seen = lax.pad(seen, jnp.zeros((), seen.dtype), borders)
    taps = lax.transpose(flipped(kernel, spec), (*rhs[3:], rhs[2], rhs[1], rhs[0]))
    taps = taps.reshape(*taps.shape[:-3], -1, taps.shape[-1])  # (*window, rows and channels, outputs)
    last = seen.ndim - 2
    own = spec._replace(
        window=Window(
            window.shape[1:], window.strides[1:], window.padding[1:], window.input_dilation[1:], window.dilation[1:]
        ),
        dims=channels_last(last + 1),
        flip=False,
    )
    rows = views(seen, (last,), problem.output_sizes[:1], window.strides[:1], window.shape[:1], window.dilation[:1])
    outputs = jnp.stack([convolve(row.reshape(*row.shape[:-2], -1), taps, own) for row in rows])
    return reordered(outputs, (1, last + 1, 0, *range(2, last + 1)), out)
