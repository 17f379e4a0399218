"""Brings pictures of any size to that of a network.

This happens inside the function that is exported.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxcnn.data import Preprocessing

Kernel = Literal["nearest", "bilinear", "bicubic", "lanczos"]


def fit_pictures(
    pictures: jax.Array, height: int, width: int, *, cut: bool, preprocessing: Preprocessing | None = None
) -> jax.Array:
    """Resizes pictures as `data.read_picture` does, with antialiasing.

    Bytes are resampled along rows and then along columns, and rounded after each, as Pillow does. Pillow rounds the
    weights too, and reduces large photographs by whole numbers first, so that values may differ by one, seldom by more.

    Args:
      pictures: `(N, H, W, C)` uint8, with any H and W, also symbolic ones.
      height: of the result.
      width: of the result.
      cut: whether to use the largest part of the result's proportions in the middle, with a bilinear kernel; else the
        whole picture is used, with a Lanczos kernel.
      preprocessing: how a trained network's pictures are resized and cut, in place of `cut`.

    Returns:
      `(N, height, width, C)` uint8.
    """
    # a one for each row and column, by which sides are counted: ONNX has no numbers of a size that is not known yet
    down_ones, across_ones = (0 * jnp.min(pictures, axes).astype(jnp.float32) + 1 for axes in ((0, 2, 3), (0, 1, 3)))
    tall, wide = down_ones.sum(), across_ones.sum()
    kernel: Kernel = "bilinear" if cut else "lanczos"
    if preprocessing is not None:
        kernel = preprocessing.interpolation
        top, down = _middle(tall, wide, height, preprocessing.resize)
        left, across = _middle(wide, tall, width, preprocessing.resize)
    elif cut:
        across, down = jnp.minimum(wide, tall * (width / height)), jnp.minimum(tall, wide * (height / width))
        top, left = (tall - down) / 2, (wide - across) / 2
    else:
        top, down, left, across = 0 * tall, tall, 0 * wide, wide
    rows = _weights(down_ones, top, down, height, kernel)
    columns = _weights(across_ones, left, across, width, kernel)
    values = pictures.astype(jnp.float32)
    values = _bytes(jnp.einsum("nhwc,ow->nhoc", values, columns, precision="highest"))
    values = _bytes(jnp.einsum("nhwc,oh->nowc", values, rows, precision="highest"))
    return values.astype(jnp.uint8)


def _middle(side: jax.Array, other: jax.Array, size: int, resize: int) -> tuple[jax.Array, jax.Array]:
    """Finds the part of a side that is cut out.

    The shorter side is resized before. Returns where the part begins and how long it is, in pixels of the given
    picture.
    """
    whole = jnp.floor(resize * jnp.maximum(side, other) / jnp.minimum(side, other))  # rounded down, as in `fit_shorter`
    whole = jnp.where(side <= other, resize, whole)
    step = side / whole
    return jnp.round((whole - size) / 2) * step, size * step  # halves to even, as there


def _weights(ones: jax.Array, start: jax.Array, extent: jax.Array, count: int, kernel: Kernel) -> jax.Array:
    """Computes the weights `(count, length)` of samples in values.

    The samples are those of the part that begins at `start`.
    """
    scale = extent / count
    centers = start + (jnp.arange(count, dtype=jnp.float32) + 0.5) * scale
    places = jnp.cumsum(ones) - 0.5
    if kernel == "nearest":
        cells = jnp.expand_dims(jnp.floor(centers) + 0.5, 1)
        return (jnp.abs(jnp.expand_dims(places, 0) - cells) < 0.5).astype(jnp.float32)
    spread = jnp.maximum(scale, 1.0)
    offset = jnp.abs(jnp.expand_dims(places, 0) - jnp.expand_dims(centers, 1)) / spread
    if kernel == "bilinear":
        weights = jnp.maximum(1 - offset, 0)
    elif kernel == "bicubic":
        inner = (1.5 * offset - 2.5) * offset * offset + 1
        outer = ((-0.5 * offset + 2.5) * offset - 4) * offset + 2
        weights = jnp.where(offset < 1, inner, jnp.where(offset < 2, outer, 0))
    else:
        weights = jnp.where(offset < 3, _sinc(offset) * _sinc(offset / 3), 0)
    return weights / weights.sum(1, keepdims=True)


def _sinc(x: jax.Array) -> jax.Array:
    turned = jnp.pi * jnp.maximum(x, 1e-6)
    return jnp.where(x < 1e-6, 1.0, jnp.sin(turned) / turned)


def _bytes(values: jax.Array) -> jax.Array:
    return jnp.clip(jnp.floor(values + 0.5), 0, 255)
