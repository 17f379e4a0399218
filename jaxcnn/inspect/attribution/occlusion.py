"""Attribution by occlusion: how much covering a region lowers a score.

A part of the image is covered.
"""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.inspect.functions import Model
from jaxcnn.inspect.scores import expect_channel_axis, expected, logits_of, probabilities_of, taken_apart
from jaxcnn.ops.arrays import choice

Score = Literal["probability", "logit"]


def occlusion(
    model: Model,
    images: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    window: int | tuple[int, int] = 5,
    strides: int | tuple[int, int] = 2,
    fill: ArrayLike = 0.0,
    of: Score = "probability",
    batch_size: int = 128,
    channel_axis: int = -1,
) -> np.ndarray:
    """Computes how much a covering window lowers a class's score.

    The window covers a part of the image.

    Args:
      model: a network, or any function of images, as in `gradient`.
      images: scaled inputs of the network, `(N, H, W, C)`; or `(N, C, H, W)` with `channel_axis=1`.
      targets: a class, or `(N,)` classes; by default the predicted ones.
      window: size of the covered part.
      strides: steps of the window.
      fill: value in the covered part, in the scale of the network's inputs, one or one per channel; 0 is the mean of
        the training pictures.
      of: the score: `"probability"`, as in the paper, or `"logit"`.
      batch_size: covered images per call.
      channel_axis: the channel axis of the images.

    Returns:
      `(N, rows, columns)`, the score of the image minus that of the covered image, for every position of the window
      inside the image; positive where the covered part is evidence for the class. `spread_windows` converts it to the
      size of the image.

    Raises:
      TypeError: as in `gradient`.
      ValueError: if the images are not pictures, the window does not fit, or an option is unknown; and as in
        `gradient`.

    Source: Zeiler & Fergus 2014, section 4.2.
    """
    choice("of", of, ("probability", "logit"))
    apart, x, classes = expected(model, images, targets)
    if x.ndim != 4:
        raise ValueError(f"`images` must be pictures, (N, H, W, C); got shape {x.shape}.")
    channels = expect_channel_axis(channel_axis, x.ndim)
    whole = logits_of(*apart, x)
    last = np.moveaxis(np.asarray(x), channels, -1)
    covered = geometry.pool_window(last.shape, window, strides=strides, padding="VALID")
    places = zip(covered.output_shape(last.shape[1:3]), covered.strides, strict=True)
    rows, columns = (np.arange(n) * s for n, s in places)
    corners = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    size = min(geometry.integer(batch_size, "batch_size"), len(corners))
    padded = np.pad(corners, ((0, -len(corners) % size), (0, 0)), "edge").reshape(-1, size, 2)
    cover = np.broadcast_to(np.asarray(fill, x.dtype), (*covered.shape, last.shape[-1]))
    scores = np.asarray if of == "logit" else probabilities_of
    apart = taken_apart(model, jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype))
    answer = partial(_covered_logits, apart[0], channels - 1, apart[1])
    drops, before, left = [], None, np.empty(0)
    for image, target, row in zip(last, classes, scores(whole), strict=True):
        if before is None or not np.array_equal(image, before):  # one image may be asked for several classes
            left = np.concatenate([scores(answer(image, part, cover)) for part in padded])
            before = image
        drops.append(row[target] - left[: len(corners), target].reshape(len(rows), len(columns)))
    return np.reshape(drops, (len(x), len(rows), len(columns)))


@partial(jax.jit, static_argnums=(0, 1))
def _covered_logits(
    graph: Any, channels: int, state: Any, image: jax.Array, corners: jax.Array, cover: jax.Array
) -> jax.Array:
    """The logits of one image under a window at some corners.

    Its channels are last.
    """
    zero = jnp.zeros((), corners.dtype)
    place = jax.vmap(lambda corner: jax.lax.dynamic_update_slice(image, cover, (corner[0], corner[1], zero)))
    return logits_of(graph, state, jnp.moveaxis(place(corners), -1, 1 + channels))


def spread_windows(
    grids: ArrayLike, shape: tuple[int, int], window: int | tuple[int, int] = 5, strides: int | tuple[int, int] = 2
) -> np.ndarray:
    """Computes for every cell the mean over its windows.

    They are the windows that cover it.

    Args:
      grids: `(N, rows, columns)`, one value per position of the window.
      shape: spatial sizes of the image.
      window: size of the window.
      strides: steps of the window.

    Returns:
      `(N, *shape)`; 0 where no window covers the cell.
    """
    values = np.asarray(grids)
    (height, width), (down, right) = (geometry.per_axis(v, 2, "window") for v in (window, strides))
    total, count = np.zeros((len(values), *shape)), np.zeros(shape)
    for row, column in np.ndindex(*values.shape[1:]):
        cells = slice(row * down, row * down + height), slice(column * right, column * right + width)
        total[:, *cells] += values[:, row, column, None, None]
        count[cells] += 1
    return total / np.maximum(count, 1)
