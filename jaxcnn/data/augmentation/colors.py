"""Changes of color, with the definitions of Pillow and torchvision.

All functions take pictures `(B, H, W, C)` float32 from 0 to 255, with 1 or 3 channels. A `factor` is `(B,)`; the factor
1 changes nothing. The definitions of dm-pix are others: its brightness is a sum, its saturation that of HSV, up to
153 and 96 of 255 from Pillow's.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.data.augmentation.examples import Examples, column

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as Pillow's mode L


def brightness(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Changes the brightness; the factor 0 gives black."""
    return _blend(images, jnp.zeros_like(images), factor)


def contrast(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Changes the contrast; factor 0 gives the picture's mean gray."""
    return _blend(images, jnp.mean(_gray(images), (1, 2, 3), keepdims=True), factor)


def saturation(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Changes the saturation; the factor 0 gives the picture in gray."""
    return _blend(images, _gray(images), factor)


def sharpness(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Changes the sharpness; the factor 0 gives a smoothed picture.

    The 3x3 mask has 5 in the middle and 1 around it. The outermost pixels stay.
    """
    padded = jnp.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    rows = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    smooth = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] + 4 * images) / 13
    inner = np.zeros((1, *images.shape[1:3], 1), bool)
    inner[:, 1:-1, 1:-1] = True
    return _blend(images, jnp.where(inner, smooth, images), factor)


def hue(images: jax.Array, turn: jax.Array) -> jax.Array:
    """Turns the hue of HSV by a share of the circle.

    Gray stays gray.
    """
    if images.shape[-1] == 1:
        return images
    red, green, blue = images[..., 0], images[..., 1], images[..., 2]
    top, low = jnp.max(images, -1), jnp.min(images, -1)
    chroma = top - low
    safe = jnp.where(chroma > 0, chroma, 1)
    sixths = jnp.where(
        top == red,
        (green - blue) / safe,
        jnp.where(top == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sixths = sixths + 6 * turn[:, None, None]
    away = [(sixths + offset) - 6 * jnp.floor((sixths + offset) / 6) for offset in (5, 3, 1)]  # `%` is slow on CPU
    return jnp.stack([top - chroma * jnp.clip(jnp.minimum(k, 4 - k), 0, 1) for k in away], -1)


def posterize(images: jax.Array, bits: int) -> jax.Array:
    """Keeps the upper bits of every byte."""
    step = 2 ** (8 - bits)
    return jnp.floor(images / step) * step


def solarize(images: jax.Array, threshold: float) -> jax.Array:
    """Inverts the values that are not below the threshold."""
    return jnp.where(images < threshold, images, 255 - images)


def autocontrast(images: jax.Array) -> jax.Array:
    """Stretches every channel to the range from 0 to 255."""
    low, top = jnp.min(images, (1, 2), keepdims=True), jnp.max(images, (1, 2), keepdims=True)
    return jnp.where(top > low, (images - low) * (255 / jnp.where(top > low, top - low, 1)), images)


def equalize(images: jax.Array) -> jax.Array:
    """Gives every channel a flat histogram, by Pillow's rule.

    Values are rounded to bytes first.
    """
    height, width, channels = images.shape[1:]
    levels = jnp.arange(256, dtype=jnp.float32)[None, :]
    # one table for all channels of a picture: XLA's CPU gathers twice as fast as from one for each
    starts = 256 * np.arange(channels, dtype=np.int32).reshape(1, 1, 1, channels)
    places = jnp.clip(jnp.round(images), 0, 255).astype(jnp.int32) + starts

    def picture(places: jax.Array) -> jax.Array:
        flat = places.reshape(-1)
        counts = jnp.zeros(256 * channels, jnp.int32).at[flat].add(1, mode="promise_in_bounds")
        counts = counts.reshape(channels, 256).astype(jnp.float32)
        last = jnp.max(jnp.where(counts > 0, levels, 0), 1, keepdims=True)
        others = jnp.sum(jnp.where(levels == last, 0, counts), 1, keepdims=True)
        step = jnp.floor(others / 255)
        table = jnp.floor((jnp.floor(step / 2) + jnp.cumsum(counts, axis=1) - counts) / jnp.maximum(step, 1))
        table = jnp.where(step > 0, jnp.clip(table, 0, 255), levels)
        return table.reshape(-1).at[flat].get(mode="promise_in_bounds").reshape(height, width, channels)

    return jax.vmap(picture)(places)


def color_jitter(examples: Examples, strength: float, turn: float) -> Examples:
    """Changes brightness, contrast, saturation and hue at random.

    The first three change by `1 - strength` to `1 + strength`, the hue by `-turn` to `turn`. The order is drawn at
    random for each example; torchvision draws it for each call.
    """
    changes = [brightness, contrast, saturation, hue][: 4 if turn else 3]
    if examples.images.shape[-1] == 1:
        changes = changes[:2]

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        order_key, value_key = jax.random.split(key)
        order = jax.random.permutation(order_key, jnp.arange(len(changes), dtype=jnp.int32))
        return order, jax.random.uniform(value_key, (4,), jnp.float32, -1, 1)

    order, draws = jax.vmap(draw)(examples.keys)
    values = [1 + strength * draws[:, 0], 1 + strength * draws[:, 1], 1 + strength * draws[:, 2], turn * draws[:, 3]]
    images = examples.images
    for place in range(len(changes)):
        before = images = lax.optimization_barrier(images)  # or XLA computes one place again inside the next
        for number, (change, value) in enumerate(zip(changes, values, strict=False)):
            images = jnp.where(column(order[:, place] == number), change(before, value), images)
    return examples._replace(images=images)


def _blend(images: jax.Array, other: jax.Array, factor: jax.Array) -> jax.Array:
    return jnp.clip(other + column(factor) * (images - other), 0, 255)


def _gray(images: jax.Array) -> jax.Array:
    if images.shape[-1] == 1:
        return images
    return jnp.einsum("bhwc,c->bhw", images, _LUMA, precision=lax.Precision.HIGHEST)[..., None]
