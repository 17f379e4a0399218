"""Mistakes of a network, and the calibration of its probabilities."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxcnn import geometry


def misclassified(probabilities: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Finds the misclassified examples, the most confident mistake first.

    Args:
      probabilities: `(N, classes)`.
      labels: `(N,)` true classes.

    Returns:
      The numbers of the examples.

    Raises:
      ValueError: if the numbers of labels and examples differ.
    """
    shares, truth = np.asarray(probabilities), np.asarray(labels)
    _expect_labels(shares, truth)
    wrong = np.flatnonzero(shares.argmax(-1) != truth)
    return wrong[np.argsort(-shares[wrong].max(-1), kind="stable")]


class Calibration(NamedTuple):
    """Confidence and accuracy, in bins of confidence.

    Args:
      edges: `(bins + 1,)` edges of the bins.
      counts: `(bins,)` numbers of examples.
      confidence: `(bins,)` mean probabilities of the predicted class; NaN in an empty bin.
      accuracy: `(bins,)` shares of correct predictions; NaN in an empty bin.
      error: expected calibration error: the mean distance of confidence and accuracy, weighted by the counts.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float


def calibration(probabilities: ArrayLike, labels: ArrayLike, bins: int = 10) -> Calibration:
    """Compares the confidence of a network with its accuracy.

    Args:
      probabilities: `(N, classes)`.
      labels: `(N,)` true classes.
      bins: number of bins of equal width; a bin contains its upper edge.

    Returns:
      The results by bin, and the expected calibration error.

    Raises:
      ValueError: if there are no examples, no bins, or not as many labels.

    Source: Guo et al. 2017, equations 2 and 3; Naeini, Cooper & Hauskrecht 2015.
    """
    shares, truth = np.asarray(probabilities, np.float64), np.asarray(labels)
    geometry.integer(bins, "bins")
    _expect_labels(shares, truth)
    if not len(shares):
        raise ValueError(f"`labels` must be one for each of some examples; got {truth.shape}.")
    sure, right = shares.max(-1), shares.argmax(-1) == truth
    edges = np.linspace(0, 1, bins + 1)
    places = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    filled = np.where(counts > 0, counts, np.nan)
    confidence = np.bincount(places, sure, bins) / filled
    accuracy = np.bincount(places, right, bins) / filled
    error = np.nansum(counts * np.abs(confidence - accuracy)) / len(shares)
    return Calibration(edges, counts, confidence, accuracy, float(error))


def _expect_labels(probabilities: np.ndarray, labels: np.ndarray) -> None:
    if labels.shape != probabilities.shape[:1]:
        raise ValueError(f"`labels` must be one for each of {len(probabilities)} examples; got {labels.shape}.")
