"""Affine maps and elastic deformations.

Every new pixel is read from a position in the old picture.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.ndimage import map_coordinates

from jaxcnn.data.augmentation.examples import Examples, ignored, row


def warp(images: jax.Array, rows: jax.Array, columns: jax.Array, fill: jax.Array) -> jax.Array:
    """Reads pictures at positions between their pixels.

    The interpolation is bilinear, with `fill` around the pictures.

    Args:
      images: `(B, H, W, C)`.
      rows: `(B, h, w)`, the row from which each new pixel is read.
      columns: `(B, h, w)`, the column.
      fill: `(C,)`.

    Returns:
      `(B, h, w, C)`.
    """
    look_up = functools.partial(map_coordinates, order=1, mode="constant", cval=0.0)
    every_channel = jax.vmap(look_up, (2, None), 2)
    return jax.vmap(every_channel)(images - row(fill), [rows, columns]) + row(fill)


def warp_masks(masks: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Reads masks at the pixels that are nearest to positions.

    Args:
      masks: `(B, H, W)` integers.
      rows: `(B, h, w)`, as for `warp`.
      columns: `(B, h, w)`.

    Returns:
      `(B, h, w)`, with `IGNORED` outside the masks.
    """
    height, width = masks.shape[1:]
    down, across = (jnp.floor(places + 0.5).astype(jnp.int32) for places in (rows, columns))
    inside = (down >= 0) & (down < height) & (across >= 0) & (across < width)
    read = jax.vmap(lambda mask, row, column: mask[row, column])
    return jnp.where(inside, read(masks, jnp.clip(down, 0, height - 1), jnp.clip(across, 0, width - 1)), ignored(masks))


def warped(examples: Examples, rows: jax.Array, columns: jax.Array) -> Examples:
    """Reads the pictures of a batch, and its masks, at positions."""
    masks = None if examples.masks is None else warp_masks(examples.masks, rows, columns)
    return examples._replace(images=warp(examples.images, rows, columns, examples.fill), masks=masks)


def affine_places(matrix: jax.Array, move: jax.Array, height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Computes the source of each new pixel under an affine map.

    The map is around the middle of the picture.

    Args:
      matrix: `(B, 2, 2)`, from new (row, column) to old: the inverse of the map of the picture.
      move: `(B, 2)`, pixels by which the picture is moved after that map.
      height: H.
      width: W.

    Returns:
      `rows` and `columns`, each `(B, H, W)`.
    """
    middle = (height - 1) / 2, (width - 1) / 2
    down = (jnp.arange(height, dtype=jnp.float32)[None, :] - middle[0] - move[:, :1])[:, :, None]
    right = (jnp.arange(width, dtype=jnp.float32)[None, :] - middle[1] - move[:, 1:])[:, None, :]
    entry = matrix[:, :, :, None, None]  # sums by hand: a matrix product may be coarser than float32 on accelerators
    rows = entry[:, 0, 0] * down + entry[:, 0, 1] * right + middle[0]
    columns = entry[:, 1, 0] * down + entry[:, 1, 1] * right + middle[1]
    return rows, columns


def affine(examples: Examples, degrees: float, shear: float, scale: float, translate: float) -> Examples:
    """Shears, scales, rotates and moves each picture at random.

    The shear is along the rows; all stay in the given bounds.

    Args:
      examples: the batch.
      degrees: largest rotation in either direction.
      shear: largest shear, in pixels to the side per pixel of height.
      scale: the size is between `1 - scale` and `1 + scale` times the original.
      translate: largest move, as a share of the height and of the width, in either direction.

    Returns:
      The batch with the changed pictures.
    """
    height, width = examples.images.shape[1:3]
    draws = jax.vmap(lambda key: jax.random.uniform(key, (5,), jnp.float32, -1, 1))(examples.keys)
    size = 1 + scale * draws[:, 1]
    matrix = matrices(math.radians(degrees) * draws[:, 0], shear * draws[:, 2], 0 * size) / size[:, None, None]
    move = translate * draws[:, 3:] * jnp.array([[height, width]], jnp.float32)
    return warped(examples, *affine_places(matrix, move, height, width))


def matrices(angle: jax.Array, along_rows: jax.Array, along_columns: jax.Array) -> jax.Array:
    """Computes the inverse of two shears and a rotation.

    The order is: a shear along rows, a shear along columns, a rotation.

    Args:
      angle: `(B,)` radians, counterclockwise on the screen.
      along_rows: `(B,)`, the shear that moves each row to the side.
      along_columns: `(B,)`, the shear that moves each column up or down.

    Returns:
      `(B, 2, 2)`, from new (row, column) to old.
    """
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    turn = [[cosine, sine], [-sine, cosine]]  # rows count downwards
    # undoing the columns' shear: row -= along_columns * column; then the rows': column -= along_rows * row
    first = [[turn[0][i] - along_columns * turn[1][i] for i in (0, 1)], turn[1]]
    second = [first[0], [first[1][i] - along_rows * first[0][i] for i in (0, 1)]]
    return jnp.stack([jnp.stack(row, -1) for row in second], -2)


def elastic(examples: Examples, alpha: float, sigma: float) -> Examples:
    """Moves pixels by a smooth random field (Simard et al. 2003).

    The field is noise in [-1, 1], smoothed by a Gaussian of `sigma` pixels, times `alpha` pixels.
    """
    height, width = examples.images.shape[1:3]
    noise = jax.vmap(lambda key: jax.random.uniform(key, (2, height, width), jnp.float32, -1, 1))(examples.keys)
    smooth = [_gaussian(size, sigma) for size in (height, width)]
    field = alpha * jnp.einsum("hi,bdij,wj->bdhw", smooth[0], noise, smooth[1], precision=lax.Precision.HIGHEST)
    rows = jnp.arange(height, dtype=jnp.float32)[None, :, None] + field[:, 0]
    columns = jnp.arange(width, dtype=jnp.float32)[None, None, :] + field[:, 1]
    return warped(examples, rows, columns)


def _gaussian(size: int, sigma: float) -> np.ndarray:
    """The matrix that smooths a row with zeros around it."""
    reach = math.ceil(6 * sigma)
    total = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2)).sum()
    distance = np.arange(size)[:, None] - np.arange(size)
    return (np.exp(-(distance**2) / (2 * sigma**2)) / total).astype(np.float32)
