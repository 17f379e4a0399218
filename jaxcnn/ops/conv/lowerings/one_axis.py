"""The kernel gradient along one axis, by matrix products.

There is one for each tap. XLA's CPU convolution takes ten times as long.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.conv.problem import Problem

_MOST_TAPS = 64  # with a product each; more take long to compile


def supports(problem: Problem) -> bool:
    """Whether this is a kernel gradient along one axis.

    It must have one group of channels and few taps.
    """
    one_axis = len(problem.spec.window.shape) == 1 and problem.spec.window.input_dilation == (1,)
    return problem.wanted == "kernel" and one_axis and not problem.grouped and problem.taps <= _MOST_TAPS


def run(inputs: jax.Array, cotangent: jax.Array, problem: Problem) -> jax.Array:
    """Computes the kernel gradient."""
    spec = problem.spec
    lhs, rhs, out = spec.dims
    (low, high), (stride,), (dilation,) = spec.window.padding[0], spec.window.strides, spec.window.dilation
    x, e = jnp.transpose(inputs, (lhs[0], lhs[2], lhs[1])), jnp.transpose(cotangent, (out[0], out[2], out[1]))
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (low, high, 0), (0, 0, 0)))
    reach = stride * (e.shape[1] - 1) + 1
    taps = [
        lax.dot_general(
            lax.slice_in_dim(x, dilation * t, dilation * t + reach, stride, axis=1),
            e,
            (((0, 1), (0, 1)), ((), ())),
            precision=spec.precision,
        )
        for t in range(spec.window.shape[0])
    ]
    gradient = jnp.stack(taps[::-1] if spec.flip else taps)
    return jnp.moveaxis(gradient, (0, 1, 2), (rhs[2], rhs[1], rhs[0]))
