"""What becomes of the answer when the image is shifted."""

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
    """Moves images by whole cells.

    Args:
      images: `(N, H, W, C)`.
      offset: cells down and to the right.
      border: what comes in: `"wrap"`, what left on the other side; `"edge"`, the border's cells again; `"reflect"`,
        the image mirrored there.

    Returns:
      An array of the same shape and dtype.

    Raises:
      ValueError: if the border is unknown, or a mirrored image is moved by more than its size.
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
    """Probabilities by offset."""

    offsets: np.ndarray  # (offsets,) in cells
    probabilities: np.ndarray  # (N, offsets) of each image's class
    predictions: np.ndarray  # (N, offsets)


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
    """The probability of a class while the image is moved along an axis.

    Args:
      model: a network, or any function of images, channels last.
      images: `(N, H, W, C)`, scaled as the network is fed.
      targets: a class, or `(N,)` classes; by default the predicted ones.
      reach: largest offset on either side, in cells.
      axis: along which the images are moved.
      border: as in `shifted`.
      batch_size: images per call.

    Raises:
      ValueError: if images are no pictures, or an option is unknown; and as in `gradient`.

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
    """How often a network gives two shifts of one image the same class.

    Exactly 1 for convolutions with circular padding and stride 1 that end with the mean over space, whatever their
    parameters: a shifted image has shifted maps, and the mean does not see that.

    Args:
      model: a network, or any function of images, channels last.
      images: `(N, H, W, C)`, scaled as the network is fed.
      reach: largest offset on either side along both axes, in cells.
      pairs: pairs of random shifts; all images are moved alike.
      border: as in `shifted`.
      batch_size: images per call.
      seed: of the shifts.

    Returns:
      The share of agreements among all images and pairs.

    Raises:
      ValueError: if images are no pictures, there is no pair, or the border is unknown.

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
    """The logits of as many such images."""
    kind = jax.ShapeDtypeStruct((geometry.integer(size, "batch_size"), *images.shape[1:]), images.dtype)
    return partial(logits_of, *taken_apart(model, kind))


def _expect_pictures(images: ArrayLike) -> None:
    if np.ndim(images) != 4:
        raise ValueError(f"`images` must be pictures, (N, H, W, C); got shape {np.shape(images)}.")
