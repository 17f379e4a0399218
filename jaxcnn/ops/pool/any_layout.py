"""Pooling along any axes, in every layout.

It has the arguments of lax.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.geometry.windows import STILL, Window
from jaxcnn.ops import arrays
from jaxcnn.ops.pool.max import pooled
from jaxcnn.ops.pool.sums import window_sum


def reduce_window_max(
    operand: ArrayLike,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> jax.Array:
    """`lax.reduce_window` with `lax.max` from -inf, and the hand-written gradient.

    For layouts other than `(N, *spatial, C)`, as channels first, or no batch axis. The axes before those along which
    the window slides become the batch, the axes after them the channels, so nothing is transposed. If the window
    slides along more than three axes, or the operand is dilated, XLA's operation with JAX's gradient is used.

    Args:
      operand: an array of any rank.
      window_dimensions: size of the window along every axis.
      window_strides: steps of the window; by default 1, as in lax.
      padding: `"SAME"`, `"VALID"`, or a `(low, high)` pair for every axis.
      base_dilation: spacing of the operand's cells.
      window_dilation: spacing of the window's taps.

    Returns:
      The maxima, as from lax. The gradient goes to the first maximum in row-major order, or to the first NaN.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if an argument does not have one entry per axis, or an entry is out of range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> image = jnp.arange(8.0).reshape(1, 1, 2, 4)  # channels first
      >>> ops.reduce_window_max(image, (1, 1, 2, 2), (1, 1, 2, 2)).tolist()
      [[[[5.0, 7.0]]]]
      >>> jax.grad(lambda x: ops.reduce_window_max(x, (1, 1, 2, 2), (1, 1, 2, 2)).sum())(image).tolist()
      [[[[0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]]]]

    Source: Ranzato et al. 2007; Jarrett et al. 2009.
    """
    (x,) = arrays.floating(operand=operand)
    whole = _window(x, window_dimensions, window_strides, padding, base_dilation, window_dilation)
    first, last = _moved(whole)
    if last - first > 3 or set(whole.input_dilation) != {1}:
        window, strides, padding, spread, spacing = whole
        return lax.reduce_window(x, np.array(-np.inf, x.dtype), lax.max, window, strides, padding, spread, spacing)
    return _as_batch_and_channels(x, whole, lambda cells, window: pooled(cells, window, "auto"))


def reduce_window_sum(
    operand: jax.Array,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    base_dilation: Sequence[int],
    window_dilation: Sequence[int],
) -> jax.Array:
    """`lax.reduce_window` with `lax.add` from 0, and our gradient.

    It is written by hand, along up to three consecutive axes. For `jaxcnn.by_hand`: the sums in an average pool. The
    arguments are those of `reduce_window_max`.
    """
    whole = _window(operand, window_dimensions, window_strides, padding, base_dilation, window_dilation)
    return _as_batch_and_channels(operand, whole, window_sum)


def _window(x: jax.Array, window: Any, strides: Any, padding: Any, spread: Any, spacing: Any) -> Window:
    """The window over all axes, in integers."""
    given = {"window_dimensions": window, "window_strides": strides}
    given |= {"base_dilation": spread, "window_dilation": spacing}
    window, strides, spread, spacing = (
        geometry.per_axis((1,) * x.ndim if value is None else value, x.ndim, name, axis="axis")
        for name, value in given.items()
    )
    if isinstance(padding, str):
        extents = list(map(geometry.dilated_size, window, spacing))
        padding = lax.padtype_to_pads(x.shape, extents, strides, padding)
    whole = Window(window, strides, geometry.resolve_padding(padding, x.shape, window), spread, spacing)
    geometry.check_extent(whole, x.shape)
    return whole


def _moved(whole: Window) -> tuple[int, int]:
    """The first axis that the window moves along, and the end.

    The end is the axis after the last; both are 0 if there is none.
    """
    moved = [axis for axis in range(len(whole.shape)) if whole.along(axis) != STILL]
    return (moved[0], moved[-1] + 1) if moved else (0, 0)


def _as_batch_and_channels(x: jax.Array, whole: Window, pool: Callable[[jax.Array, Window], jax.Array]) -> jax.Array:
    """Pools as `(N, *spatial, C)`.

    First come the axes before those along which the window slides, then these, then the axes after.
    """
    first, last = _moved(whole)
    if first == last:
        return x
    sizes = x.shape[first:last]
    window = whole.along(first, last)
    cells = arrays.reshape(x, (math.prod(x.shape[:first]), *sizes, math.prod(x.shape[last:])))
    return arrays.reshape(pool(cells, window), (*x.shape[:first], *window.output_shape(sizes), *x.shape[last:]))
