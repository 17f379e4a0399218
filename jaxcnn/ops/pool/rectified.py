"""ReLU and max-pool with one rule.

With convolution and bias, this is the whole stage of a network.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.geometry import Window
from jaxcnn.ops import arrays, choices
from jaxcnn.ops.conv import conv
from jaxcnn.ops.pool.max import expect_compiled, max_and_switches, max_pool, route
from jaxcnn.ops.pool.switches import METHODS, Method, now, winners
from jaxcnn.ops.rectifiers import relu
from jaxcnn.ops.rule import Rule, custom_vjp
from jaxcnn.ops.sharding import match_cotangent, varying_like

# y = pool(max(z + b, 0)) with z = conv(x, w). Autodiff keeps z + b, its ReLU, and what the pool needs: three arrays as
# large as the stage's widest. As max(., 0) does not decrease, pool and ReLU may change places, y = max(pool(z + b), 0):
# where y > 0 the winner is the same, and where y = 0 no error passes either way. So y tells where errors pass, the
# switches tell whereto, and these two, pooled, are all that is kept beside x and w:
#
#     e' = [y > 0] e,      db = sum e',      dz = the errors e' put where the switches point,
#
# and dz goes on by the rule of `conv`. Every e' is put in exactly one cell, which is why db needs no full-size sum.


@custom_vjp(2, 3, 4)
def _rectified_pool(
    maps: jax.Array, bias: jax.Array, sizes: tuple[int, ...], window: Window, method: Method
) -> jax.Array:
    del sizes
    return jnp.maximum(winners(maps + arrays.along_last(bias, maps), window, method)[0], 0)


def _rectified_pool_fwd(maps: jax.Array, bias: jax.Array, sizes: tuple[int, ...], window: Window, method: Method):
    pooled, switches = max_and_switches(maps + arrays.along_last(bias, maps), sizes, window, method)
    outputs = now(jnp.maximum(pooled, 0), switches, window, method)
    return outputs, (bias, outputs, switches)


def _rectified_pool_bwd(sizes: tuple[int, ...], window: Window, method: Method, residuals: tuple, error: jax.Array):
    bias, outputs, switches = residuals
    passed = jnp.where(outputs > 0, error, 0)
    bias_gradient = jnp.sum(passed, tuple(range(passed.ndim - 1)), dtype=arrays.wider(passed.dtype, jnp.float32))
    return route(passed, switches, sizes, window, method), match_cotangent(bias_gradient, bias)


_rectified_pool.defvjp(_rectified_pool_fwd, _rectified_pool_bwd)


def relu_max_pool(
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
    """Rectifies and max-pools, as one operation that keeps only pooled arrays.

    Equal, in value and gradient, to `max_pool(relu(inputs), ...)`, with one exception: a window that contains only
    padding gives 0 here and -inf there.

    Args:
      inputs: `(N, *spatial, C)`, before the ReLU.
      window_shape: size of the window, one for all axes or one per axis.
      strides: steps of the window; the default is the window's shape.
      padding: as in `ops.conv`.
      window_dilation: spacing of the window's taps.
      ceil_mode: as in `max_pool`.
      strict: refuse strides that leave trailing cells unread.
      rule: `"hand"`; or `"autodiff"` for the two operations with JAX's own gradients.
      method: as in `max_pool`.

    Returns:
      `(N, *output, C)`.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if shapes disagree, the window does not fit, or an option is unknown or not supported for these
        arguments.
      RuntimeError: if `method` is `"native"` and the C++ backend is not available.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([-1.0, 4.0, -3.0, -2.0]).reshape(1, 4, 1)
      >>> ops.relu_max_pool(row, 2).ravel().tolist()
      [4.0, 0.0]
      >>> jax.grad(lambda x: ops.relu_max_pool(x, 2).sum())(row).ravel().tolist()
      [0.0, 1.0, 0.0, 0.0]
    """
    (inputs,) = arrays.floating(inputs=inputs)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    method = choices.method_named(method, METHODS)
    options: dict[str, Any] = {"strides": strides, "padding": padding, "window_dilation": window_dilation}
    options |= {"ceil_mode": ceil_mode, "strict": strict}
    if rule == "autodiff":
        return max_pool(relu(inputs, rule=rule), window_shape, rule=rule, method=method, **options)
    window = geometry.pool_window(inputs.shape, window_shape, **options)
    if method == "native":
        expect_compiled(inputs, window, rule)
    bias = varying_like(jnp.zeros(inputs.shape[-1:], inputs.dtype), inputs)
    return _rectified_pool(inputs, bias, inputs.shape[1:-1], window, method)


def conv_relu_pool(
    inputs: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike,
    *,
    pool: int | tuple[int, ...] = 2,
    pool_strides: int | tuple[int, ...] | None = None,
    pool_padding: geometry.Padding = "VALID",
    pool_ceil_mode: bool = False,
    pool_strict: bool = False,
    rule: Rule = "hand",
    **options: Any,
) -> jax.Array:
    """Convolves, adds a bias, rectifies and max-pools, as one operation.

    Equal, in value and gradient, to `max_pool(relu(conv(...) + bias), ...)`, with one exception: a window of the pool
    that contains only padding gives 0 here and -inf there.

    Args:
      inputs: `(N, *spatial, C)`.
      kernel: `(*window, C / groups, O)`.
      bias: `(O)`.
      pool: window of the pool.
      pool_strides: steps of the pool; the default is its window.
      pool_padding: padding of the pool.
      pool_ceil_mode: `ceil_mode` of the pool, as in `max_pool`.
      pool_strict: refuse strides of the pool that leave trailing cells unread.
      rule: `"hand"`; or `"autodiff"` for the operations one after the other, with JAX's own gradients.
      **options: those of `conv`: strides, padding, dilations, groups, `flip_kernel`, precision, `method`. The pool's
        method is `"auto"` if that of the convolution is `"auto"` or `"native"`, else `"jax"`.

    Returns:
      `(N, *pooled, O)`.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if shapes disagree, a window does not fit, or an option is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> signal = jnp.array([0.0, 1.0, 0.0, -2.0]).reshape(1, 4, 1)
      >>> taps, bias = jnp.ones((1, 1, 1)), jnp.array([0.5])
      >>> ops.conv_relu_pool(signal, taps, bias).ravel().tolist()
      [1.5, 0.5]
      >>> jax.grad(lambda x: ops.conv_relu_pool(x, taps, bias).sum())(signal).ravel().tolist()
      [0.0, 1.0, 1.0, 0.0]
    """
    inputs, kernel, bias = arrays.floating(inputs=inputs, kernel=kernel, bias=bias)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    if bias.shape != kernel.shape[-1:]:
        raise ValueError(f"`bias` must have shape {kernel.shape[-1:]}, one entry per output; got {bias.shape}.")
    sliding: dict[str, Any] = {"strides": pool_strides, "padding": pool_padding, "ceil_mode": pool_ceil_mode}
    sliding["strict"] = pool_strict
    if rule == "autodiff":
        maps = conv(inputs, kernel, rule=rule, **options)
        outputs = relu(maps + arrays.along_last(bias, maps), rule=rule)
        return max_pool(outputs, pool, rule=rule, **sliding)
    maps = conv(inputs, kernel, **options)
    maps = varying_like(maps.astype(arrays.wider(maps.dtype, bias.dtype)), bias)
    window = geometry.pool_window(maps.shape, pool, **sliding)
    method = "auto" if options.get("method", "auto") in ("auto", "native") else "jax"
    return _rectified_pool(maps, bias, maps.shape[1:-1], window, method)
