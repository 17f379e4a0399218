"""What an augmentation is given and gives back."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Examples(NamedTuple):
    """A batch of B examples and what may be known of it.

    Shapes: `keys` `(B,)`, one typed key for each example; `epoch` an int32 scalar; `ids` `(B,)` int32; `images`
    `(B, H, W, C)` float32 from 0 to 255; `targets` `(B, classes)` float32; `fill` `(C,)` float32.
    """

    keys: jax.Array
    epoch: jax.Array
    ids: jax.Array
    images: jax.Array
    targets: jax.Array
    fill: jax.Array


def column(values: jax.Array) -> jax.Array:
    """One value for each example, `(B,)`, as `(B, 1, 1, 1)`, to go with its picture."""
    return values[:, None, None, None]


def row(values: jax.Array) -> jax.Array:
    """One value for each channel, `(C,)`, as `(1, 1, 1, C)`, to go with every picture."""
    return values[None, None, None, :]


def boxes(corners: jax.Array, ends: jax.Array, height: int, width: int) -> jax.Array:
    """Which pixels lie in a box for each example.

    Args:
      corners: `(B, 2)` int32, the first row and column inside; may lie outside the picture.
      ends: `(B, 2)` int32, the first row and column behind.
      height: H.
      width: W.

    Returns:
      `(B, H, W, 1)` bool.
    """

    def span(axis: int, size: int) -> jax.Array:
        places = jnp.arange(size, dtype=jnp.int32)[None, :]
        return (places >= corners[:, axis, None]) & (places < ends[:, axis, None])

    return (span(0, height)[:, :, None] & span(1, width)[:, None, :])[..., None]
