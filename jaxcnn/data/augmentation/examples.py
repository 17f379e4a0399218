"""The batch of examples that an augmentation takes and returns."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.data.labels import IGNORED


class Examples(NamedTuple):
    """A batch of B examples.

    Shapes: `keys` `(B,)`, one typed key for each example; `epoch` an int32 scalar; `ids` `(B,)` int32; `images`
    `(B, H, W, C)` float32 from 0 to 255; `targets` `(B, classes)` float32; `fill` `(C,)` float32; `masks` `(B, H, W)`
    integers, a class for each pixel, or None. What moves pixels moves those of the masks too, and gives `IGNORED` to
    those that it fills or hides.
    """

    keys: jax.Array
    epoch: jax.Array
    ids: jax.Array
    images: jax.Array
    targets: jax.Array
    fill: jax.Array
    masks: jax.Array | None = None


def column(values: jax.Array) -> jax.Array:
    """Reshapes one value per example, so that it broadcasts.

    The shape `(B,)` becomes `(B, 1, 1, 1)`.
    """
    return values[:, None, None, None]


def row(values: jax.Array) -> jax.Array:
    """Reshapes one value per channel, so that it broadcasts.

    The shape `(C,)` becomes `(1, 1, 1, C)`.
    """
    return values[None, None, None, :]


def ignored(masks: jax.Array) -> jax.Array:
    """Returns the value of ignored pixels, in the masks' dtype."""
    return jnp.asarray(IGNORED, masks.dtype)


def boxes(corners: jax.Array, ends: jax.Array, height: int, width: int) -> jax.Array:
    """Marks the pixels in one box per example.

    Args:
      corners: `(B, 2)` int32, the first row and column of the box; may lie outside the picture.
      ends: `(B, 2)` int32, the row and column after the last.
      height: H.
      width: W.

    Returns:
      `(B, H, W, 1)` bool.
    """

    def span(axis: int, size: int) -> jax.Array:
        places = jnp.arange(size, dtype=jnp.int32)[None, :]
        return (places >= corners[:, axis, None]) & (places < ends[:, axis, None])

    return (span(0, height)[:, :, None] & span(1, width)[:, None, :])[..., None]
