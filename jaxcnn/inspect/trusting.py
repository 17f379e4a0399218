"""Where it is wrong, and how far its probabilities can be trusted."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxcnn import geometry


def misclassified(probabilities: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """The places of the wrong answers, the most confident first.

    Args:
      probabilities: `(N, classes)`.
      labels: `(N,)` true classes.

    Raises:
      ValueError: if there are not as many labels.
    """
    shares, truth = np.asarray(probabilities), np.asarray(labels)
    _expect_labels(shares, truth)
    wrong = np.flatnonzero(shares.argmax(-1) != truth)
    return wrong[np.argsort(-shares[wrong].max(-1), kind="stable")]


class Calibration(NamedTuple):
    """Confidence against accuracy, in bins of confidence."""

    edges: np.ndarray  # (bins + 1,)
    counts: np.ndarray  # (bins,) examples
    confidence: np.ndarray  # (bins,) mean probability of the predicted class; NaN in an empty bin
    accuracy: np.ndarray  # (bins,) share of right predictions; NaN in an empty bin
    error: float  # expected calibration error: mean distance of the two, weighted by the counts


def calibration(probabilities: ArrayLike, labels: ArrayLike, bins: int = 10) -> Calibration:
    """Compares how sure a network is with how often it is right.

    Args:
      probabilities: `(N, classes)`.
      labels: `(N,)` true classes.
      bins: number of bins of equal width; a bin holds its upper edge.

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
