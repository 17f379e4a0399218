"""Factors on the losses of classes, for data with rare classes."""

import math
from collections.abc import Sequence

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.labels import few, spelled

_FORMS = "`balanced`, or CLASS=FACTOR, or one factor for each class"


def check_weights(given: Sequence[str]) -> None:
    """Checks the form of the factors, before the classes are known.

    Raises:
      ValueError: if an entry has another form, or a factor is negative or not finite.
    """
    if list(given) == ["balanced"]:
        return
    named = ["=" in entry for entry in given]
    for entry in given:
        value = _number(entry.rpartition("=")[2])
        if not 0 <= value < math.inf or any(named) != all(named):
            raise ValueError(f"`class_weights` must be {_FORMS}, none negative; got {' '.join(given)}.")
    if given and all(_number(entry.rpartition("=")[2]) == 0 for entry in given) and not any(named):
        raise ValueError(f"`class_weights` must have a factor above 0; got {' '.join(given)}.")


def class_weights(given: Sequence[str], train: Dataset) -> tuple[float, ...]:
    """Finds the factor of every class.

    Balanced factors are `N / (K n)` for the `n` of all `N` examples that are in a class, where `K` is the number of
    classes that have examples; so the mean factor of an example is 1. A class without examples has 0.

    Args:
      given: as in `TrainConfig`.
      train: the training examples.

    Returns:
      A factor for each class; empty if none are given.

    Raises:
      ValueError: if a name is that of no class, or the number of factors is not that of the classes.

    Source: King & Zeng 2001, section 4, as in scikit-learn.
    """
    check_weights(given)
    classes = spelled(train.classes)
    if not given:
        return ()
    if list(given) == ["balanced"]:
        counts = np.bincount(train.labels, minlength=len(classes))
        there = counts > 0
        balanced = np.where(there, len(train.labels) / (there.sum() * np.maximum(counts, 1)), 0.0)
        return tuple(balanced.tolist())
    if "=" not in given[0]:
        if len(given) != len(classes):
            raise ValueError(f"`class_weights` must be one for each of the {len(classes)} classes; got {len(given)}.")
        return tuple(map(float, given))
    factors: dict[str, float] = {}
    for entry in given:
        name, _, value = entry.rpartition("=")
        (name,) = spelled([name])
        if name in factors:
            raise ValueError(f"`class_weights` must name each class once; got {name!r} twice.")
        if name not in classes:
            raise ValueError(f"`class_weights` must name classes, which are {few(train.classes)}; got {name!r}.")
        factors[name] = float(value)
    weights = tuple(factors.get(name, 1.0) for name in classes)
    if not any(weights):
        raise ValueError(f"`class_weights` must have a factor above 0; got {' '.join(given)}.")
    return weights


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
