"""How the prediction changes when the image is shifted."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.inspect.functions import Model
from jaxcnn.inspect.scores import expect_some, expected, in_batches, logits_of, probabilities_of, taken_apart
from jaxcnn.ops.arrays import choice

Border = Literal["wrap", "edge", "reflect"]


def shifted(images: ArrayLike, offset: tuple[int, int], border: Border = "wrap") -> np.ndarray:
    """Shifts images by whole cells.

    Args:
      images: `(N, H, W, C)`.
      offset: shift down and to the right, in cells.
      border: the values of the cells that enter: `"wrap"`, those that left on the other side; `"edge"`, those of the
        border cells; `"reflect"`, the mirrored image.

    Returns:
      An array of the same shape and dtype.

    Raises:
      ValueError: if the border is unknown, or a mirrored image is shifted by its size or more.
    """
    choice("border", border, ("wrap", "edge", "reflect"))
    moved = np.asarray(images)
    for axis, cells in zip((1, 2), offset, strict=True):
        size = moved.shape[axis]
        if border == "reflect" and abs(cells) >= size:
            raise ValueError(f"`offset` must be smaller than the image's {size} cells to reflect; got {cells}.")
        places = np.pad(np.arange(size), abs(cells), border)[abs(cells) - cells :][:size]
        moved = np.take(moved, places, axis)
    return moved


class ShiftCurve(NamedTuple):
    """Probabilities and predictions by offset.

    Args:
      offsets: `(offsets,)`, in cells.
      probabilities: `(N, offsets)`, the probability of each image's class.
      predictions: `(N, offsets)`, the predicted classes.
    """

    offsets: np.ndarray
    probabilities: np.ndarray
    predictions: np.ndarray


def shift_curve(
    model: Model,
    images: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    reach: int = 8,
    axis: Literal["down", "right"] = "right",
    border: Border = "wrap",
    batch_size: int = 64,
) -> ShiftCurve:
    """Computes a class's probability while the image is shifted.

    The shift is along one axis.

    Args:
      model: a network, or any function of images, channels last.
      images: scaled inputs of the network, `(N, H, W, C)`.
      targets: a class, or `(N,)` classes; by default the predicted ones.
      reach: largest offset in each direction, in cells.
      axis: the axis along which the images are shifted.
      border: as in `shifted`.
      batch_size: images per call.

    Returns:
      The probabilities and predictions by offset.

    Raises:
      TypeError: as in `gradient`.
      ValueError: if the images are not pictures, or an option is unknown; and as in `gradient`.

    Source: Azulay & Weiss 2019, figure 1.
    """
    choice("axis", axis, ("down", "right"))
    _, x, classes = expected(model, images, targets)
    _expect_pictures(x)
    geometry.integer(reach, "reach", minimum=0)
    offsets = np.arange(-reach, reach + 1)
    moves = [(int(d), 0) if axis == "down" else (0, int(d)) for d in offsets]
    answer = _in_batches_of(model, x, batch_size)
    everywhere = np.stack([shifted(x, move, border) for move in moves], 1)
    logits = in_batches(answer, everywhere.reshape(-1, *x.shape[1:]), batch_size)
    shares = probabilities_of(logits).reshape(len(x), len(moves), logits.shape[-1])
    held = np.take_along_axis(shares, classes[:, None, None], 2)[..., 0]
    return ShiftCurve(offsets, held, shares.argmax(-1))


def shift_consistency(
    model: Model,
    images: ArrayLike,
    *,
    reach: int = 8,
    pairs: int = 8,
    border: Border = "wrap",
    batch_size: int = 64,
    seed: int = 0,
) -> float:
    """Computes how often two shifts of an image agree.

    They agree if the network predicts the same class. The result is exactly 1 for convolutions with circular padding
    and stride 1, followed by the mean over space: a shifted image gives shifted maps, which have the same mean.

    Args:
      model: a network, or any function of images, channels last.
      images: scaled inputs of the network, `(N, H, W, C)`.
      reach: largest offset in each direction along both axes, in cells.
      pairs: number of pairs of random shifts; all images are shifted in the same way.
      border: as in `shifted`.
      batch_size: images per call.
      seed: seed of the shifts.

    Returns:
      The share of equal predictions, over all images and pairs.

    Raises:
      ValueError: if the images are not pictures, `pairs` is not positive, or the border is unknown.

    Source: Zhang 2019, section 4.
    """
    geometry.integer(pairs, "pairs")
    geometry.integer(reach, "reach", minimum=0)
    geometry.integer(seed, "seed", minimum=0)
    x = np.asarray(images)
    _expect_pictures(x)
    expect_some(x)
    answer = _in_batches_of(model, x, batch_size)

    def answers(offset: np.ndarray) -> np.ndarray:
        return in_batches(answer, shifted(x, (int(offset[0]), int(offset[1])), border), batch_size).argmax(-1)

    moves = np.random.default_rng(seed).integers(-reach, reach + 1, (pairs, 2, 2))
    return float(np.mean([answers(first) == answers(second) for first, second in moves]))


def _in_batches_of(model: Model, images: np.ndarray | jax.Array, size: int) -> Callable[..., jax.Array]:
    """A compiled function from batches of such images to logits."""
    kind = jax.ShapeDtypeStruct((geometry.integer(size, "batch_size"), *images.shape[1:]), images.dtype)
    return partial(logits_of, *taken_apart(model, kind))


def _expect_pictures(images: ArrayLike) -> None:
    if np.ndim(images) != 4:
        raise ValueError(f"`images` must be pictures, (N, H, W, C); got shape {np.shape(images)}.")
