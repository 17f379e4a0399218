"""Finds objects in a picture, with a network that slides."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import geometry, ops
from jaxcnn.data import Scaling
from jaxcnn.inspect.detection.overlaps import overlaps
from jaxcnn.inspect.detection.pyramid import as_picture, pyramid
from jaxcnn.inspect.scores import in_batches, logits_of, taken_apart
from jaxcnn.models import Network, Sliding

_CELLS, _TILES = 32, 8  # cells of a tile's side, tiles in a batch


class Found(NamedTuple):
    """Objects that were found in one picture, the surest first.

    Args:
      boxes: `(n, 4)` float32, `(x1, y1, x2, y2)` in edges of the picture's pixels, as in `ops.box_iou`.
      scores: `(n,)` float32, from 0 to 1.
      classes: `(n,)` int32.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


class ScoreMap(NamedTuple):
    """The scores of all windows at one size of a picture.

    Args:
      scores: `(rows, columns, classes)` float32, from 0 to 1.
      boxes: `(rows, columns, 4)` float32, each window in the picture, as in `Found`.
      shape: height and width of the resized picture.
    """

    scores: np.ndarray
    boxes: np.ndarray
    shape: tuple[int, int]


def scan(
    network: Network, picture: np.ndarray, scaling: Scaling, *, step: float = 2**0.25, first: float = 1.0
) -> list[ScoreMap]:
    """Computes a network's scores for all windows, at all sizes.

    Args:
      network: a network that `models.fully_convolutional` returned.
      picture: `(H, W)` or `(H, W, C)` uint8, with the channels of the network.
      scaling: the scaling with which the network was trained.
      step: as in `pyramid`.
      first: as in `pyramid`.

    Returns:
      A map for each level of the pyramid. The scores are probabilities: the softmax of the logits; of a single logit,
      its sigmoid, as probabilities of the first class and of the second.

    Raises:
      TypeError: if `network` is not such a network, or the picture is not bytes.
      ValueError: if the picture has other channels, or is smaller than the window.
    """
    sliding = network.sliding if isinstance(network, Network) else None
    if sliding is None:
        kind = type(network).__name__
        raise TypeError(f"`network` must come from `models.fully_convolutional`; got {kind}.")
    pixels = as_picture(picture)
    if len(sliding.window) != 2 or pixels.shape[-1] != network.input_shape[-1]:
        wanted = network.input_shape[-1]
        raise ValueError(f"`picture` must have the {wanted} channels of the network; got shape {np.shape(picture)}.")
    levels = pyramid(pixels, sliding.window, step=step, first=first)
    if not levels:
        raise ValueError(f"the window, {sliding.window}, must fit into the picture; got {pixels.shape}.")
    apart = taken_apart(network)

    def answer(images: np.ndarray) -> jax.Array:
        return _probabilities(*apart, scaling(images))

    every = [level.pixels for level in levels]
    every = _in_tiles(answer, every, sliding) if sliding.exact else [np.asarray(answer(p[None]))[0] for p in every]
    maps = []
    for level, scores in zip(levels, every, strict=True):
        boxes = sliding.boxes(scores.shape[:2]) * np.tile(level.scale, 2)
        rows, columns = level.pixels.shape[:2]
        maps.append(ScoreMap(scores, boxes.astype(np.float32), (rows, columns)))
    return maps


def _in_tiles(
    answer: Callable[[np.ndarray], jax.Array], pictures: Sequence[np.ndarray], sliding: Sliding
) -> list[np.ndarray]:
    """Computes the maps of pictures from tiles of one size.

    So one program is compiled for pictures of all sizes. Tiles overlap, such that no window is cut.
    """
    steps = [_CELLS * stride for stride in sliding.strides]
    sides = [(_CELLS - 1) * stride + window for stride, window in zip(sliding.strides, sliding.window, strict=True)]
    tiles, grids, shapes = [], [], []
    for picture in pictures:
        axes = zip(picture.shape, sliding.window, sliding.strides, strict=False)
        shapes.append([(n - window) // stride + 1 for n, window, stride in axes])
        grids.append([-(-cells // _CELLS) for cells in shapes[-1]])
        reach = [(g - 1) * step + side for g, step, side in zip(grids[-1], steps, sides, strict=True)]
        more = [(0, max(0, r - n)) for r, n in zip(reach, picture.shape, strict=False)]
        padded = np.pad(picture, [*more, (0, 0)])
        for row, column in np.ndindex(*grids[-1]):
            top, left = row * steps[0], column * steps[1]
            tiles.append(padded[top : top + sides[0], left : left + sides[1]])
    answers = in_batches(answer, np.stack(tiles), _TILES)
    ends = np.cumsum([rows * columns for rows, columns in grids])[:-1]
    maps = []
    for part, (rows, columns), cells in zip(np.split(answers, ends), grids, shapes, strict=True):
        whole = part.reshape(rows, columns, _CELLS, _CELLS, -1).swapaxes(1, 2)
        maps.append(whole.reshape(rows * _CELLS, columns * _CELLS, -1)[: cells[0], : cells[1]])
    return maps


@partial(jax.jit, static_argnums=0)
def _probabilities(graph: object, state: object, images: jax.Array) -> jax.Array:
    logits = logits_of(graph, state, images)
    if logits.shape[-1] > 1:
        return jax.nn.softmax(logits)
    return jnp.concatenate([jax.nn.sigmoid(-logits), jax.nn.sigmoid(logits)], -1)


def find(
    network: Network,
    picture: np.ndarray,
    scaling: Scaling,
    *,
    targets: Sequence[int] | None = None,
    threshold: float = 0.5,
    overlap: float = 0.3,
    votes: int = 1,
    step: float = 2**0.25,
    first: float = 1.0,
    most: int = 100,
) -> Found:
    """Finds objects of every size in a picture.

    The network slides over a pyramid of sizes. Windows with a high score are boxes, and of overlapping boxes the best
    is kept.

    Args:
      network: a network that `models.fully_convolutional` returned.
      picture: `(H, W)` or `(H, W, C)` uint8, with the channels of the network.
      scaling: the scaling with which the network was trained.
      targets: numbers of the classes to find; others are background. With a single logit the default is the second
        class; with several logits they must be given.
      threshold: lowest score of a box, from 0 to 1.
      overlap: the largest intersection over union of two boxes of one class.
      votes: number of windows above the threshold, itself included, that must overlap a box by more than `overlap`. An
        object usually has several, because neighboring windows and sizes see it too; a false alarm often has one.
      step: as in `pyramid`.
      first: as in `pyramid`.
      most: the largest number of boxes.

    Returns:
      The boxes by falling score.

    Raises:
      TypeError: as in `scan`.
      ValueError: as in `scan`; or if `targets` is missing or no class of the network, or an option is out of range.

    Source: Rowley, Baluja & Kanade 1998, "Neural network-based face detection".
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"`threshold` must be from 0 to 1; got {threshold!r}.")
    votes = geometry.integer(votes, "votes")
    maps = scan(network, picture, scaling, step=step, first=first)
    wanted = _targets(targets, maps[0].scores.shape[-1])
    boxes = np.concatenate([each.boxes.reshape(-1, 4) for each in maps])
    scores = np.concatenate([each.scores.reshape(-1, each.scores.shape[-1]) for each in maps])[:, wanted]
    places, kinds = np.nonzero(scores >= threshold)
    boxes, scores, classes = boxes[places], scores[places, kinds], np.array(wanted, np.int32)[kinds]
    size = 1 << max(6, (len(boxes) - 1).bit_length())  # few sizes, so that few programs are compiled
    more = size - len(boxes)
    selected = ops.non_maximum_suppression(
        np.pad(boxes, ((0, more), (0, 0))),
        np.pad(scores, (0, more), constant_values=-np.inf),
        np.pad(classes, (0, more)),
        threshold=overlap,
        most=size if votes > 1 else most,
    )
    kept = np.asarray(selected)
    kept = kept[kept >= 0]
    if votes > 1:
        near = (overlaps(boxes[kept], boxes) > overlap) & (classes[kept][:, None] == classes)
        near[np.arange(len(kept)), kept] = True  # also a box without area
        kept = kept[near.sum(1) >= votes][: geometry.integer(most, "most")]
    return Found(boxes[kept], scores[kept], classes[kept])


def _targets(targets: Sequence[int] | None, classes: int) -> list[int]:
    """The classes to find.

    Raises:
      ValueError: if they are missing, or are not classes.
    """
    if targets is None:
        if classes != 2:
            raise ValueError(f"`targets` must name the classes to find among {classes}; got none.")
        return [1]
    wanted = [geometry.integer(target, "targets", minimum=0) for target in targets]
    if not wanted or max(wanted) >= classes:
        raise ValueError(f"`targets` must be classes from 0 to {classes - 1}; got {list(targets)}.")
    return wanted
