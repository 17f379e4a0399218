"""Max-pooling: the rule and the op."""

import math

import jax
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.geometry import Window
from jaxcnn.ops import arrays, choices
from jaxcnn.ops.native import pool as native
from jaxcnn.ops.pool.switches import METHODS, Method, is_native, now, plain_pick, plain_route, winners
from jaxcnn.ops.rule import Rule, custom_vjp

_MOST_TAPS = 128  # at once, by operations of JAX
_MOST_VIEWS = 64  # of them over three axes, where those at padding are apart; 7x7 over two is faster at once

# Max-pooling. With stride s, window dilation d and low padding p, output j looks at the cells s j + d t - p for the
# taps t = 0 .. k - 1, numbered in row-major order over all axes. Its switch w[j] is the first tap with the largest
# value; a NaN beats every number, and a cell of the padding beats nothing:
#
#     y[j] = x[s j + d w[j] - p],      dx[q] = sum over the j that took their value from q of e[j].              (1)
#
# The sum as a gather: write the cell q as s u + r with 0 <= r < s. The output j = u - v looks at it with the tap t for
# which d t = s v + r + p, if there is one. Hence
#
#     dx[s u + r] = sum_v [d w[u - v] = s v + r + p] e[u - v],       -(s - 1) - p <= s v <= d (k - 1) - p.        (2)
#
# A term of (2) is one comparison of the switches with a constant table over r, for all cells at once: fused elementwise
# work, where XLA's select_and_scatter goes window by window. The residual is the switches alone, mostly one byte each.
# Routing (2) and picking (1) are linear maps, each the other's adjoint, and so each the other's rule. The backend of
# The C++ backend has (1) and (2) as loops, with the same switches.

_pick = custom_vjp(2, 3)(plain_pick)
route = custom_vjp(2, 3, 4)(plain_route)

_pick.defvjp(
    lambda inputs, switches, window, method: (_pick(inputs, switches, window, method), (inputs, switches)),
    lambda window, method, saved, error: (route(error, saved[1], saved[0].shape[1:-1], window, method), None),
)
route.defvjp(
    lambda values, switches, sizes, window, method: (route(values, switches, sizes, window, method), switches),
    lambda sizes, window, method, switches, error: (_pick(error, switches, window, method), None),
)


@custom_vjp(1, 2, 3)
def max_and_switches(
    inputs: jax.Array, sizes: tuple[int, ...], window: Window, method: Method
) -> tuple[jax.Array, jax.Array]:
    """Computes the maxima and their switches, with the hand-written rule."""
    del sizes
    return winners(inputs, window, method)


def _max_pool_fwd(inputs: jax.Array, sizes: tuple[int, ...], window: Window, method: Method):
    pooled, switches = max_and_switches(inputs, sizes, window, method)
    return (now(pooled, switches, window, method), switches), switches


def _max_pool_bwd(sizes: tuple[int, ...], window: Window, method: Method, switches: jax.Array, errors: tuple):
    return (route(errors[0], switches, sizes, window, method),)  # switches are integers: they pass no error


max_and_switches.defvjp(_max_pool_fwd, _max_pool_bwd)


def max_pool(
    inputs: ArrayLike,
    window_shape: int | tuple[int, ...],
    *,
    strides: int | tuple[int, ...] | None = None,
    padding: geometry.Padding = "VALID",
    window_dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    strict: bool = False,
    rule: Rule = "hand",
    method: Method = "auto",
) -> jax.Array:
    """Takes the largest value of every window.

    The gradient goes to one winner per window: the first maximum in row-major order, or the first NaN; never to
    padding.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes.
      window_shape: size of the window, one for all axes or one per axis.
      strides: steps of the window; the default is the window's shape, as in PyTorch and Keras (Flax has 1).
      padding: as in `ops.conv`; cells of the padding never win.
      window_dilation: spacing of the window's taps.
      ceil_mode: round the number of outputs up: one more window reads the trailing cells, if it begins inside the
        input or in the low padding (PyTorch's `ceil_mode`).
      strict: refuse strides that leave trailing cells unread.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.
      method: the implementation of the hand-written rule: `"jax"`; `"native"`, loops of the C++ backend (float32 and
        bfloat16, on CPU; see `ops.native`); `"auto"`, the C++ loops where they are built, supported and measured as
        fastest. Values and switches are the same.

    Returns:
      `(N, *output, C)`; NaN where a window contains a NaN, -inf where it contains only padding.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if shapes disagree, the window does not fit, or an option is unknown or not supported for these
        arguments.
      RuntimeError: if `method` is `"native"` and the C++ backend is not available.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([1.0, 4.0, 3.0, 2.0]).reshape(1, 4, 1)
      >>> ops.max_pool(row, 2).ravel().tolist()
      [4.0, 3.0]
      >>> jax.grad(lambda x: ops.max_pool(x, 2).sum())(row).ravel().tolist()
      [0.0, 1.0, 1.0, 0.0]

    Source: Yamaguchi et al. 1990, for time; Ranzato et al. 2007 and Jarrett et al. 2009, for pictures.
    """
    (inputs,) = arrays.floating(inputs=inputs)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    method = choices.method_named(method, METHODS)
    window = geometry.pool_window(inputs.shape, window_shape, strides, padding, window_dilation, ceil_mode, strict)
    if method == "native":
        expect_compiled(inputs, window, rule)
    if rule == "hand":
        return pooled(inputs, window, method)
    return lax.reduce_window(inputs, np.array(-np.inf, inputs.dtype), lax.max, **window.lax_options())


def pooled(inputs: jax.Array, window: Window, method: Method) -> jax.Array:
    """Computes the maximum of every window, with the rule.

    Windows of many taps go one axis after the other. Every tap is compiled. Pooling along one axis after the other
    needs fewer taps, and finds the same winner: the maximum of a window is the maximum of the maxima of its rows, and
    the first of these is the first in the window.
    """
    taps, rank = math.prod(window.shape), len(window.shape)
    views = taps * math.prod(1 + (low > 0) + (high > 0) for low, high in window.padding)
    few = taps <= _MOST_TAPS and (rank < 3 or views <= _MOST_VIEWS)
    if few or is_native(method, inputs, window):
        return max_and_switches(inputs, inputs.shape[1:-1], window, method)[0]
    for axis in reversed(range(rank)):
        inputs = max_and_switches(inputs, inputs.shape[1:-1], window.only_along(axis), method)[0]
    return inputs


def expect_compiled(inputs: jax.Array, window: Window, rule: Rule) -> None:
    """Refuses what the C++ loops do not support."""
    if rule != "hand":
        raise ValueError(f"`method='native'` supports only the hand-written rule; got rule={rule!r}.")
    if not native.can_pool(inputs, window):
        raise ValueError(
            "`method='native'` needs float32 or bfloat16, inputs and outputs that are not empty, up to 253 taps, and a "
            "`shard_map` over all mesh axes; "
            f"got {jax.typeof(inputs)} and {window}."
        )
