"""A sum of products of shifted arrays.

It is for one channel in each group, or up to four in many groups, channels last.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.conv.lowerings.views import MOST_GROUPS, MOST_TAPS, flipped, padded, reordered, views
from jaxcnn.ops.conv.problem import Problem, compiled


def supports(problem: Problem) -> bool:
    """Whether groups have few channels, and the window few taps.

    Channels must be last.
    """
    if not problem.is_forward:
        return False
    (lhs, _, _), groups = problem.spec.dims, problem.spec.feature_groups
    channels_last = lhs[1] == len(lhs) - 1
    few = problem.group_channels == 1 or (problem.group_channels <= 4 and groups > MOST_GROUPS)
    ungrouped_batch = problem.spec.batch_groups == 1
    return channels_last and few and ungrouped_batch and problem.taps <= MOST_TAPS // problem.group_channels


@compiled
def run(inputs: jax.Array, kernel: jax.Array, problem: Problem) -> jax.Array:
    """Computes the outputs as the sum of shifted inputs.

    Each is multiplied by the kernel's tap.
    """
    spec = problem.spec
    lhs, rhs, out = spec.dims
    groups, maps = spec.feature_groups, kernel.shape[rhs[0]]
    taps = flipped(kernel, spec)
    taps = lax.transpose(taps, (*rhs[2:], rhs[1], rhs[0]))
    taps = taps.reshape(-1, kernel.shape[rhs[1]], *[1] * (inputs.ndim - 1), groups, maps // groups)
    window = spec.window
    sizes = problem.output_sizes
    shifted = views(padded(inputs, spec), lhs[2:], window.shape, window.dilation, sizes, window.strides)
    terms = (
        view.reshape(*view.shape[:-1], groups, -1)[..., channel, None] * tap[channel]
        for view, tap in zip(shifted, taps, strict=True)
        for channel in range(len(tap))
    )
    total = functools.reduce(jnp.add, terms)
    # changes nothing, NaN being NaN; but XLA repeats no division, else each reader would sum the taps again
    total = total / jnp.where(jnp.isnan(total), 2, 1).astype(total.dtype)
    outputs = total.reshape(*total.shape[:-2], maps).astype(spec.element_type or total.dtype)
    return reordered(outputs, lhs, out)
