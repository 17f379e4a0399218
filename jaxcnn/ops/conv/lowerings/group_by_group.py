"""Channels in a few groups: one convolution for each group.

XLA expands the groups into one convolution whose kernel is mostly zeros.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.conv.lowerings.views import MOST_GROUPS, MOST_TAPS
from jaxcnn.ops.conv.problem import Problem, compiled


def supports(problem: Problem) -> bool:
    """Whether there are few groups.

    A depthwise kernel gradient is supported only if it has too many taps for `cell_by_cell`.
    """
    if not problem.is_forward or not problem.grouped:
        return False
    if max(problem.spec.feature_groups, problem.spec.batch_groups) > MOST_GROUPS:
        return False
    return not problem.is_depthwise_kernel_gradient or math.prod(problem.output_sizes) > MOST_TAPS


@compiled
def run(inputs: jax.Array, kernel: jax.Array, problem: Problem) -> jax.Array:
    """Computes the outputs."""
    from jaxcnn.ops.conv.select import convolve  # which knows this file

    spec = problem.spec
    groups = max(spec.feature_groups, spec.batch_groups)
    lhs, rhs, out = spec.dims
    own = spec._replace(feature_groups=1, batch_groups=1)
    parts = zip(
        jnp.split(inputs, groups, lhs[1] if spec.batch_groups == 1 else lhs[0]),
        jnp.split(kernel, groups, rhs[0]),
        strict=True,
    )
    return lax.concatenate([convolve(x, w, own) for x, w in parts], out[1])
