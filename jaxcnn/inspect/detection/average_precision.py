"""Average precision of detections, as the challenge of COCO defines it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.inspect.detection.find import Found
from jaxcnn.inspect.detection.overlaps import overlaps

_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
_RECALLS = np.linspace(0, 1, 101)
_CLOSE = 1 - 1e-10  # COCO's largest threshold: two equal boxes reach it, whatever is rounded


class Truth(NamedTuple):
    """The objects of one picture.

    Args:
      boxes: `(m, 4)`, `(x1, y1, x2, y2)` as in `ops.box_iou`.
      classes: `(m,)` integers.
    """

    boxes: ArrayLike
    classes: ArrayLike


class AveragePrecision(NamedTuple):
    """How well detections agree with the true boxes.

    Args:
      value: the mean over classes and thresholds: COCO's AP. NaN if there is no true box.
      by_threshold: `{threshold: mean over classes}`.
      by_class: `{class: mean over thresholds}`, of the classes with a true box.
      recall: the share of true boxes that were found, the mean over classes and thresholds: COCO's AR.
    """

    value: float
    by_threshold: dict[float, float]
    by_class: dict[int, float]
    recall: float


def average_precision(
    found: Sequence[Found],
    truth: Sequence[Truth | tuple[ArrayLike, ArrayLike]],
    *,
    thresholds: Sequence[float] = _THRESHOLDS,
    most: int = 100,
) -> AveragePrecision:
    """Computes COCO's average precision of detections.

    For each class and each threshold, the detections of all pictures are taken by falling score. A detection is right
    if the best of the true boxes that are still free overlaps it by at least the threshold; that box is then taken.
    The precision at each of 101 recalls, 0 to 1, is the highest one at this recall or above. Their mean is the average
    precision.

    Args:
      found: the detections of each picture, as `find` returns them.
      truth: the true boxes and classes of each picture, in the same order.
      thresholds: of the intersection over union, by default 0.50, 0.55, ... 0.95.
      most: detections of a class that count in one picture, those with the highest scores.

    Returns:
      The average precision, also by threshold and by class. Classes without a true box are left out, as in COCO.

    Raises:
      ValueError: if there are not as many pictures in both, shapes disagree, a number is NaN, or an option is out of
        range.

    Example:
      >>> import numpy as np
      >>> from jaxcnn import inspect
      >>> true = inspect.Truth([[0, 0, 10, 10], [20, 20, 30, 30]], [0, 0])
      >>> found = inspect.Found(np.array([[0.0, 0, 10, 10]]), np.array([0.9]), np.array([0]))
      >>> round(inspect.average_precision([found], [true]).value, 4)  # 51 of the recalls 0, 0.01, ... 1
      0.505

    Source: Lin et al. 2014, "Microsoft COCO"; its program, pycocotools.
    """
    most = geometry.integer(most, "most")
    if len(found) != len(truth):
        raise ValueError(f"`found` and `truth` must have as many pictures; got {len(found)} and {len(truth)}.")
    levels = np.array(thresholds, np.float64)
    if levels.ndim != 1 or not len(levels) or not ((levels > 0) & (levels <= 1)).all():
        raise ValueError(f"`thresholds` must be numbers above 0 and up to 1; got {thresholds!r}.")
    detections = [_arrays(*each, name="found", place=place) for place, each in enumerate(found)]
    objects = [
        _arrays(boxes, np.zeros(np.shape(classes)), classes, name="truth", place=place)
        for place, (boxes, classes) in enumerate(truth)
    ]
    every = np.unique(np.concatenate([np.zeros(0, np.int64), *(classes for *_, classes in objects)]))
    precisions, recalls = np.empty((len(every), len(levels))), np.empty((len(every), len(levels)))
    for row, kind in enumerate(every.tolist()):
        scores, right, count = [], [], 0
        for (boxes, certainty, classes), (true, _, true_classes) in zip(detections, objects, strict=True):
            own, true = np.flatnonzero(classes == kind), true[true_classes == kind]
            best = own[np.argsort(-certainty[own], kind="stable")][:most]
            scores.append(certainty[best])
            right.append(_matched(overlaps(boxes[best], true), levels))
            count += len(true)
        order = np.argsort(-np.concatenate(scores), kind="stable")
        precisions[row], recalls[row] = _areas(np.concatenate(right)[order], count)
    if not len(every):
        return AveragePrecision(np.nan, dict.fromkeys(levels.tolist(), np.nan), {}, np.nan)
    return AveragePrecision(
        float(precisions.mean()),
        dict(zip(levels.tolist(), precisions.mean(0).tolist(), strict=True)),
        dict(zip(every.tolist(), precisions.mean(1).tolist(), strict=True)),
        float(recalls.mean()),
    )


def _arrays(
    boxes: ArrayLike, scores: ArrayLike, classes: ArrayLike, *, name: str, place: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The boxes `(n, 4)`, scores and classes of one picture.

    Raises:
      ValueError: if shapes disagree, classes are not integers, or a number is NaN.
    """
    boxes, scores, classes = np.asarray(boxes, np.float64), np.asarray(scores, np.float64), np.asarray(classes)
    boxes = boxes.reshape(0, 4) if not boxes.size else boxes
    classes = classes.astype(np.int64) if not classes.size else classes
    if boxes.shape != (*scores.shape, 4) or scores.shape != classes.shape or boxes.ndim != 2:
        shapes = f"{boxes.shape}, {scores.shape} and {classes.shape}"
        raise ValueError(f"`{name}` must have boxes (n, 4), with a score and a class each; got {shapes} at [{place}].")
    if not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"the classes of `{name}` must be integers; got {classes.dtype} at [{place}].")
    if np.isnan(boxes).any() or np.isnan(scores).any():
        raise ValueError(f"`{name}` must not hold NaN; got it at [{place}].")
    return boxes, scores, classes


def _matched(overlap: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Whether each detection is right, `(n, thresholds)`.

    The detections are rows by falling score. Of equal overlaps the last true box counts, as in COCO's program.
    """
    right = np.zeros((len(overlap), len(levels)), bool)
    for column, level in enumerate(np.minimum(levels, _CLOSE)):
        free = np.ones(overlap.shape[1], bool)
        for row, values in enumerate(overlap):
            near = np.flatnonzero(free & (values >= level))
            if len(near):
                best = near[::-1][np.argmax(values[near][::-1])]
                free[best], right[row, column] = False, True
    return right


def _areas(right: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and highest recall of sorted detections.

    There is one for each threshold.
    """
    hits = np.cumsum(right, 0, dtype=np.float64)
    ranks = np.arange(1, len(right) + 1, dtype=np.float64)[:, None]
    recall, precision = hits / count, hits / ranks
    above = np.maximum.accumulate(precision[::-1], 0)[::-1]
    area = np.zeros(right.shape[1])
    for column in range(right.shape[1]):
        at = np.searchsorted(recall[:, column], _RECALLS, side="left")
        area[column] = np.append(above[:, column], 0.0)[at].mean()
    return area, recall[-1] if len(recall) else np.zeros(right.shape[1])
