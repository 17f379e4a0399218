"""Computes IoU, precision and recall of every class of pixels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxcnn.training.tasks.segmentation import ious


class PixelReport(NamedTuple):
    """How well the pixels of each class are found.

    Args:
      classes: names of the classes.
      iou: `(K,)` pixels of a class in truth and prediction, over those in either; NaN for a class that is in neither.
      precision: `(K,)` shares of the pixels predicted as a class that are right; NaN for a class never predicted.
      recall: `(K,)` shares of a class's pixels that are predicted as it; NaN for a class without pixels.
      pixels: `(K,)` numbers of pixels.
      confusion: `(K, K)` numbers of pixels of a class (row) that are predicted as a class (column).
    """

    classes: tuple[str, ...]
    iou: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    pixels: np.ndarray
    confusion: np.ndarray

    def confused(self, count: int) -> list[tuple[int, int, int]]:
        """The most frequent confusions.

        Args:
          count: their largest number.

        Returns:
          True class, predicted class and number of pixels, the most frequent first.
        """
        wrong = self.confusion * (1 - np.eye(len(self.classes), dtype=int))
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        rows, columns = np.unravel_index(order, wrong.shape)
        entries = zip(rows.tolist(), columns.tolist(), wrong[rows, columns].tolist(), strict=True)
        return [entry for entry in entries if entry[2]]


def pixel_report(confusion: ArrayLike, classes: Sequence[str]) -> PixelReport:
    """Measures how well the pixels of each class are found.

    Args:
      confusion: `(K, K)` numbers of pixels by true and predicted class, as `training.evaluate(...).sums["confusion"]`.
      classes: names of the K classes.

    Returns:
      The report.

    Raises:
      ValueError: if the numbers are not for these classes.

    Example:
      >>> from jaxcnn import inspect
      >>> report = inspect.pixel_report([[6, 2], [1, 3]], ["ground", "cell"])
      >>> report.iou.round(3).tolist(), report.recall.tolist()
      ([0.667, 0.5], [0.75, 0.75])

    Source: Everingham et al. 2010, section 4.1.3; Long et al. 2015, section 5.
    """
    counts = np.asarray(confusion).astype(int)
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(f"`confusion` must be {len(classes)} by {len(classes)}, for the classes; got {counts.shape}.")
    right, predicted, true = np.diagonal(counts), counts.sum(0), counts.sum(1)
    precision, recall = (np.where(below > 0, right / np.maximum(below, 1), np.nan) for below in (predicted, true))
    return PixelReport(tuple(classes), ious(right, predicted, true), precision, recall, true, counts)
