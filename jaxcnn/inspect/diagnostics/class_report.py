"""Computes precision, recall, F1 and AUC of every class, and confusions.

AUC is the area under the ROC curve; confusions tell which class is taken for which.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

_COLUMNS = ("precision", "recall", "f1", "auc")


class ClassReport(NamedTuple):
    """How well each class is found, class by class.

    Args:
      classes: names of the classes.
      precision: `(K,)` shares of the predictions of a class that are right; 0 for a class that is never predicted.
      recall: `(K,)` shares of the examples of a class that are predicted as it; NaN for a class without examples.
      f1: `(K,)` harmonic means of precision and recall; NaN for a class without examples.
      support: `(K,)` numbers of examples.
      auc: `(K,)` areas under the ROC curve of a class against all others; NaN if all or no examples are in the class.
      confusion: `(K, K)` numbers of examples of a class (row) that are predicted as a class (column).
    """

    classes: tuple[str, ...]
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    auc: np.ndarray
    confusion: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """Returns the confusion matrix as shares of each class's examples.

        The shares of a class without examples are NaN.
        """
        return _ratio(self.confusion, self.support[:, None], np.nan)

    def means(self) -> dict[str, float]:
        """Computes macro averages over the classes that have examples.

        In these means each class counts the same.
        """
        there = self.support > 0
        return {name: _mean(getattr(self, name)[there]) for name in _COLUMNS}

    def confused(self, count: int) -> list[tuple[int, int, int]]:
        """The most frequent confusions.

        Args:
          count: their largest number.

        Returns:
          True class, predicted class and number of examples, the most frequent first.
        """
        wrong = self.confusion * (1 - np.eye(len(self.classes), dtype=int))
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        rows, columns = np.unravel_index(order, wrong.shape)
        entries = zip(rows.tolist(), columns.tolist(), wrong[rows, columns].tolist(), strict=True)
        return [entry for entry in entries if entry[2]]


def class_report(probabilities: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> ClassReport:
    """Measures how well each class is found.

    Args:
      probabilities: `(N, K)`; the largest is the prediction.
      labels: `(N,)` true classes.
      classes: names of the K classes.

    Returns:
      The report.

    Raises:
      ValueError: if there are no examples, or the numbers of labels, examples or classes differ.

    Example:
      >>> from jaxcnn import inspect
      >>> report = inspect.class_report([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], [0, 1, 1], ["cat", "dog"])
      >>> report.precision.tolist(), report.recall.tolist(), report.auc.tolist()
      ([0.5, 1.0], [1.0, 0.5], [1.0, 1.0])

    Source: Fawcett 2006, An introduction to ROC analysis; the area is the share of pairs of an example of the class and
    one of another in which the first gets the larger probability, ties counting half.
    """
    shares, truth = np.asarray(probabilities), np.asarray(labels)
    if not truth.size or shares.shape != (len(truth), len(classes)):
        wanted = f"({len(truth)}, {len(classes)}) for {len(truth)} labels and {len(classes)} classes"
        raise ValueError(f"`probabilities` must be {wanted}, at least one; got {shares.shape}.")
    count = len(classes)
    confusion = np.zeros((count, count), int)
    np.add.at(confusion, (truth, shares.argmax(-1)), 1)
    right, support, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    return ClassReport(
        tuple(classes),
        _ratio(right, predicted, 0.0),
        _ratio(right, support, np.nan),
        np.where(support > 0, _ratio(2 * right, support + predicted, 0.0), np.nan),
        support,
        np.array([_area(shares[:, place], truth == place) for place in range(count)]),
        confusion,
    )


def _area(scores: np.ndarray, inside: np.ndarray) -> float:
    """Computes the area under the ROC curve from the scores' ranks."""
    from scipy.stats import rankdata

    ours, others = int(inside.sum()), int((~inside).sum())
    if not ours or not others:
        return float("nan")
    return float((rankdata(scores)[inside].sum() - ours * (ours + 1) / 2) / (ours * others))


def _ratio(above: np.ndarray, below: np.ndarray, otherwise: float) -> np.ndarray:
    return np.where(below > 0, above / np.maximum(below, 1), otherwise)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
