"""Max-pooling that returns the winning taps, and its inverse, unpooling.

It returns which tap of each window won.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.ops import arrays
from jaxcnn.ops.pool.max import max_and_switches, route
from jaxcnn.ops.pool.switches import plain_route, switch_dtype, winners
from jaxcnn.ops.rule import Rule


def max_pool_with_switches(
    inputs: ArrayLike,
    window_shape: int | tuple[int, ...],
    *,
    strides: int | tuple[int, ...] | None = None,
    padding: geometry.Padding = "VALID",
    window_dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    strict: bool = False,
    rule: Rule = "hand",
) -> tuple[jax.Array, jax.Array]:
    """Max-pools, and returns which tap of each window won.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes.
      window_shape: size of the window, one for all axes or one per axis.
      strides: steps of the window; the default is the window's shape.
      padding: as in `ops.conv`.
      window_dilation: spacing of the window's taps.
      ceil_mode: as in `max_pool`.
      strict: refuse strides that leave trailing cells unread.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      The pooled values and the switches, both `(N, *output, C)`. A switch is the number of the winner in its window,
      counted in row-major order, in the smallest sufficient unsigned integer. Where a window contains only padding, it
      is the dtype's largest value minus 1. The gradient of the pooled values is that of `max_pool`.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if shapes disagree, the window does not fit, or `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([1.0, 4.0, 3.0, 2.0]).reshape(1, 4, 1)
      >>> values, switches = ops.max_pool_with_switches(row, 2)
      >>> values.ravel().tolist(), switches.ravel().tolist()
      ([4.0, 3.0], [1, 0])
      >>> jax.grad(lambda x: ops.max_pool_with_switches(x, 2)[0].sum())(row).ravel().tolist()
      [0.0, 1.0, 1.0, 0.0]

    Source: Zeiler & Fergus 2014 (switches).
    """
    (inputs,) = arrays.floating(inputs=inputs)
    window = geometry.pool_window(inputs.shape, window_shape, strides, padding, window_dilation, ceil_mode, strict)
    if arrays.choice("rule", rule, ("hand", "autodiff")) == "autodiff":
        return winners(inputs, window, "jax")
    return max_and_switches(inputs, inputs.shape[1:-1], window, "auto")


def max_unpool(
    pooled: ArrayLike,
    switches: ArrayLike,
    output_shape: int | tuple[int, ...],
    window_shape: int | tuple[int, ...],
    *,
    strides: int | tuple[int, ...] | None = None,
    padding: geometry.Padding = "VALID",
    window_dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    rule: Rule = "hand",
) -> jax.Array:
    """Writes values to the cells to which their switches point.

    This is the adjoint of the pooling.

    Args:
      pooled: `(N, *spatial, C)` values.
      switches: as `max_pool_with_switches` returns them, with the same window, strides, padding and dilation.
      output_shape: spatial sizes of the result, those of the pooling's input; one for all axes or one per axis.
      window_shape: size of the window.
      strides: steps of the window.
      padding: as in `ops.conv`.
      window_dilation: spacing of the window's taps.
      ceil_mode: as in `max_pool`.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(N, *output_shape, C)`; zero where no switch points, the sum where several do.

    Raises:
      TypeError: if the dtype of `pooled` is not real floating, or that of `switches` is not the one that
        `max_pool_with_switches` returns.
      ValueError: if the shapes are not those of such a pooling, or `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([1.0, 4.0, 3.0, 2.0]).reshape(1, 4, 1)
      >>> values, switches = ops.max_pool_with_switches(row, 2)
      >>> ops.max_unpool(values, switches, 4, 2).ravel().tolist()
      [0.0, 4.0, 3.0, 0.0]
      >>> error = jnp.array([5.0, 6.0, 7.0, 8.0]).reshape(1, 4, 1)
      >>> jax.vjp(lambda x: ops.max_unpool(x, switches, 4, 2), values)[1](error)[0].ravel().tolist()
      [6.0, 7.0]

    Source: Zeiler & Fergus 2014, section 2.1.
    """
    (pooled,) = arrays.floating(pooled=pooled)
    switches = jnp.asarray(switches)
    output_shape = geometry.per_axis(output_shape, pooled.ndim - 2, "output_shape")
    shape = (pooled.shape[0], *output_shape, pooled.shape[-1])
    window = geometry.pool_window(shape, window_shape, strides, padding, window_dilation, ceil_mode)
    expected = (shape[0], *window.output_shape(output_shape), shape[-1])
    if pooled.shape != expected or switches.shape != expected:
        raise ValueError(
            f"`pooled` and `switches` must have shape {expected}, that of pooling {shape}; "
            f"got {pooled.shape} and {switches.shape}."
        )
    if switches.dtype != switch_dtype(window):
        raise TypeError(f"`switches` must have dtype {jnp.dtype(switch_dtype(window))}; got {switches.dtype}.")
    if arrays.choice("rule", rule, ("hand", "autodiff")) == "autodiff":
        return plain_route(pooled, switches, output_shape, window, "jax")
    return route(pooled, switches, output_shape, window, "auto")
