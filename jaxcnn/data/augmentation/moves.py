"""Crops, flips and patches.

Pixels keep their values, or are resampled on an axis-aligned grid.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.data.augmentation.examples import Examples, boxes, column, ignored, row

_FLIP_SEED = 1
_TRIES = 10


def pad_crop(examples: Examples, pad: int, border: str) -> Examples:
    """Pads, and crops the original size at a random position.

    The border is `fill` or a reflection (He et al. 2015).
    """
    images, masks = examples.images, examples.masks
    count, height, width, channels = images.shape
    margins = [(0, 0), (pad, pad), (pad, pad), (0, 0)]
    if border == "reflect":
        padded = jnp.pad(images, margins, mode="reflect")
        masks = None if masks is None else jnp.pad(masks, margins[:3], mode="reflect")
    else:
        ground = jnp.broadcast_to(examples.fill, (count, height + 2 * pad, width + 2 * pad, channels))
        padded = ground.at[:, pad : pad + height, pad : pad + width].set(images)
        masks = None if masks is None else jnp.pad(masks, margins[:3], constant_values=ignored(masks))
    return _parts(examples._replace(images=padded, masks=masks), (height, width))


def crop(examples: Examples, size: int) -> Examples:
    """Crops a random square, without resizing (Krizhevsky et al. 2012).

    Its side is `size` pixels.
    """
    return _parts(examples, (size, size))


def _parts(examples: Examples, size: tuple[int, int]) -> Examples:
    """Crops a part of every picture at a random position."""
    room = jnp.array(examples.images.shape[1:3], jnp.int32) - jnp.array(size, jnp.int32) + 1

    def part(key: jax.Array, picture: jax.Array) -> jax.Array:
        corner = jax.random.randint(key, (2,), 0, room, jnp.int32)
        return lax.dynamic_slice(picture, (corner[0], corner[1], jnp.int32(0)), (*size, picture.shape[-1]))

    masks = examples.masks
    if masks is not None:
        masks = jax.vmap(part)(examples.keys, masks[..., None])[..., 0]
    return examples._replace(images=jax.vmap(part)(examples.keys, examples.images), masks=masks)


def shift(examples: Examples, reach: int) -> Examples:
    """Moves by whole pixels, up to `reach` along each axis.

    A crop of the padded picture does the same.
    """
    return pad_crop(examples, reach, "fill")


def flip(examples: Examples) -> Examples:
    """Exchanges left and right with probability 1/2."""
    return _mirror(examples, jax.vmap(jax.random.bernoulli)(examples.keys))


def alternating_flip(examples: Examples) -> Examples:
    """Flips each example every other epoch.

    In epoch 0 a random half is flipped. The half depends only on the number of the example, so that an example and its
    mirror image alternate.

    Source: Jordan 2024, arXiv:2404.00498.
    """
    seed = jax.random.key(_FLIP_SEED, impl="threefry2x32")
    first = jax.vmap(lambda number: jax.random.bernoulli(jax.random.fold_in(seed, number)))(examples.ids)
    return _mirror(examples, first ^ (examples.epoch % 2 == 1))


def _mirror(examples: Examples, chosen: jax.Array) -> Examples:
    images, masks = examples.images, examples.masks
    if masks is not None:
        masks = jnp.where(chosen[:, None, None], masks[:, :, ::-1], masks)
    return examples._replace(images=jnp.where(column(chosen), images[:, :, ::-1], images), masks=masks)


def random_resized_crop(examples: Examples, size: int, least: float) -> Examples:
    """Crops a random part and resizes it (Szegedy et al. 2015).

    The result has `size` pixels; the area is from `least` to 1, the aspect from 3/4 to 4/3.
    """
    height, width = examples.images.shape[1:3]

    def crop(key: jax.Array, picture: jax.Array) -> jax.Array:
        return resized_part(picture, *random_part(key, height, width, least), size)

    def nearest(key: jax.Array, mask: jax.Array) -> jax.Array:
        return nearest_part(mask, *random_part(key, height, width, least), size)

    masks = None if examples.masks is None else jax.vmap(nearest)(examples.keys, examples.masks)
    return examples._replace(images=jax.vmap(crop)(examples.keys, examples.images), masks=masks)


def random_part(key: jax.Array, height: int, width: int, least: float) -> tuple[jax.Array, jax.Array]:
    """Draws a part of a picture.

    Returns its corner and extent, in rows and columns. The result is the first of ten draws that fits into the picture;
    if none fits, the first draw, cut to fit.
    """
    area_key, ratio_key, place_key = jax.random.split(key, 3)
    area = jax.random.uniform(area_key, (_TRIES, 1), jnp.float32, least, 1) * (height * width)
    ratio = jax.random.uniform(ratio_key, (_TRIES, 1), jnp.float32, math.log(3 / 4), math.log(4 / 3))
    extents = jnp.sqrt(area * jnp.exp(ratio * jnp.array([[-1, 1]], jnp.float32)))
    whole = jnp.array([height, width], jnp.float32)
    extent = jnp.minimum(extents[jnp.argmax(jnp.all(extents <= whole[None, :], -1))], whole)
    return jax.random.uniform(place_key, (2,), jnp.float32) * (whole - extent), extent


def resized_part(picture: jax.Array, corner: jax.Array, extent: jax.Array, size: int) -> jax.Array:
    """Resizes a part to a square, bilinear with antialiasing.

    Pillow's `resize` with a box does the same.
    """
    scale = size / extent
    shape = (size, size, picture.shape[-1])
    return jax.image.scale_and_translate(picture, shape, (0, 1), scale, -corner * scale, "linear", antialias=True)


def nearest_part(mask: jax.Array, corner: jax.Array, extent: jax.Array, size: int) -> jax.Array:
    """Resizes the same part of a mask to a square.

    Each new pixel takes the class of the pixel in which its center lies.
    """
    centers = (jnp.arange(size, dtype=jnp.float32) + 0.5) / size
    places = jnp.floor(corner[:, None] + centers[None, :] * extent[:, None]).astype(jnp.int32)
    rows, columns = (jnp.clip(places[axis], 0, mask.shape[axis] - 1) for axis in (0, 1))
    return mask[rows[:, None], columns[None, :]]


def cutout(examples: Examples, side: int) -> Examples:
    """Covers a square with `fill` (DeVries & Taylor 2017).

    Its center may be any pixel.
    """
    height, width = examples.images.shape[1:3]
    ends = jnp.array([height, width], jnp.int32)
    middles = jax.vmap(lambda key: jax.random.randint(key, (2,), 0, ends, jnp.int32))(examples.keys)
    corners = middles - side // 2
    hidden = boxes(corners, corners + side, height, width)
    masks = examples.masks
    if masks is not None:  # what a hidden pixel shows cannot be seen
        masks = jnp.where(hidden[..., 0], ignored(masks), masks)
    return examples._replace(images=jnp.where(hidden, row(examples.fill), examples.images), masks=masks)
