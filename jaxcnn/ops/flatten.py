"""Turns maps into rows for a dense layer, in either order."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn.ops import arrays
from jaxcnn.ops.rule import Rule, custom_vjp, select_rule

# Flattening exchanges the places of values and changes none, so its transpose puts each error back in its place: it
# undoes the reshape, and then the exchange of axes.
# Channels last, on H x W x C cells: row[(m W + n) C + c] = map[m, n, c].
# Channels first:                    row[(c H + m) W + n] = map[m, n, c], the lecture's h[c N^2 + m N + n].


def _plain(maps: jax.Array, first: bool) -> jax.Array:
    ordered = jnp.moveaxis(maps, -1, 1) if first else maps
    return arrays.reshape(ordered, (maps.shape[0], math.prod(maps.shape[1:])))


_flatten = custom_vjp(1)(_plain)


def _forward(maps: jax.Array, first: bool) -> tuple[jax.Array, tuple[int, ...]]:
    return _plain(maps, first), jnp.moveaxis(maps, -1, 1).shape if first else maps.shape


def _backward(first: bool, shape: tuple[int, ...], error: jax.Array) -> tuple[jax.Array]:
    ordered = arrays.reshape(error, shape)
    return (jnp.moveaxis(ordered, 1, -1) if first else ordered,)


_flatten.defvjp(_forward, _backward)


def flatten(maps: ArrayLike, *, channels: Literal["last", "first"] = "last", rule: Rule = "hand") -> jax.Array:
    """Flattens the maps of each example to a row.

    Args:
      maps: `(N, *spatial, C)`.
      channels: the order within a row: `"last"`, all channels of the first cell, then those of the next; `"first"`, all
        cells of the first channel, then those of the next, as in PyTorch, whose maps are `(N, C, *spatial)`.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.

    Returns:
      `(N, D)` with `D` the number of values of an example.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if there is no axis of channels, or an option is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> maps = jnp.array([[[1.0, 10.0], [2.0, 20.0]]])  # one example, two cells, two channels
      >>> ops.flatten(maps).tolist(), ops.flatten(maps, channels="first").tolist()
      ([[1.0, 10.0, 2.0, 20.0]], [[1.0, 2.0, 10.0, 20.0]])
    """
    (x,) = arrays.floating(maps=maps)
    if x.ndim < 2:
        raise ValueError(f"`maps` must be (N, *spatial, C); got shape {x.shape}.")
    first = arrays.choice("channels", channels, ("last", "first")) == "first"
    return select_rule(rule, hand=_flatten, autodiff=_plain)(x, first)
