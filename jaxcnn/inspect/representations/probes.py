"""Probes: simple classifiers on features, by scikit-learn.

They measure how well the features separate the classes.
"""

import dataclasses
import math
import warnings
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

Kind = Literal["knn", "svm", "logistic", "rbf"]


@dataclasses.dataclass(frozen=True)
class Probe:
    """The result of a classifier on test features.

    Args:
      kind: kind of the classifier.
      accuracy: share of the test examples classified correctly.
      predictions: `(M,)` predicted labels.
      converged: whether its optimizer converged.
    """

    kind: Kind
    accuracy: float
    predictions: np.ndarray
    converged: bool = True


def probe(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    kind: Kind = "knn",
    *,
    neighbors: int = 5,
    strength: float = 1.0,
    max_iterations: int = 1000,
    seed: int = 0,
) -> Probe:
    """Fits a classifier to features, and tests it.

    Args:
      train_features: `(N, D)`; axes after the first are flattened.
      train_labels: `(N,)`.
      test_features: `(M, D)`.
      test_labels: `(M,)`.
      kind: `"knn"`, the most frequent label among the nearest neighbors by L2 distance; `"svm"`, a linear one, one
        against the rest, with squared hinge loss; `"logistic"`, multinomial regression; `"rbf"`, an SVM with the
        Gaussian kernel `exp(-|x - y|^2 / (D v))`, v the variance of all features. All but the first standardize the
        features.
      neighbors: number of neighbors, for `"knn"`.
      strength: weight C of the examples relative to the L2 penalty, for all but `"knn"`.
      max_iterations: largest number of iterations of the optimizer, for `"svm"` and `"logistic"`.
      seed: seed of the optimizer, for `"svm"`.

    Returns:
      The accuracy and the predictions.

    Raises:
      ValueError: if `kind` is unknown, arrays do not fit together, or there are fewer examples than `neighbors`.
    """
    train, test = as_rows(train_features, "train_features"), as_rows(test_features, "test_features")
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    if kind not in get_args(Kind):
        raise ValueError(f"`kind` must be one of {', '.join(get_args(Kind))}; got {kind!r}.")
    if train.shape[1] != test.shape[1]:
        raise ValueError(f"`test_features` must have {train.shape[1]} columns, as in training; got {test.shape[1]}.")
    for name, rows, labels in (("train_labels", train, train_labels), ("test_labels", test, test_labels)):
        if labels.shape != (len(rows),):
            raise ValueError(f"`{name}` must be one for each of the {len(rows)} rows; got shape {labels.shape}.")
        if not len(rows):
            raise ValueError(f"`{name}` must hold examples; got none.")
    if kind == "knn" and not 1 <= neighbors <= len(train):
        raise ValueError(f"`neighbors` must be between 1 and the {len(train)} examples; got {neighbors}.")
    if kind != "knn" and len(np.unique(train_labels)) < 2:
        raise ValueError(f"`train_labels` must be of two classes or more; all are {train_labels[0]}.")
    classifier = _classifier(kind, neighbors, strength, max_iterations, seed)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        predictions = classifier.fit(train, train_labels).predict(test)
    converged = not any("converge" in str(warning.message) for warning in told)
    return Probe(kind, float(np.mean(predictions == test_labels)), predictions, converged)


def _classifier(kind: Kind, neighbors: int, strength: float, max_iterations: int, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, LinearSVC

    if kind == "knn":
        return KNeighborsClassifier(neighbors)
    if kind == "svm":
        classifier = LinearSVC(C=strength, dual="auto", max_iter=max_iterations, random_state=seed)
    elif kind == "rbf":
        classifier = SVC(C=strength)
    else:
        classifier = LogisticRegression(C=strength, max_iter=max_iterations)
    return make_pipeline(StandardScaler(), classifier)


class Neighbors(NamedTuple):
    """The nearest rows for every query, the nearest first.

    Args:
      places: `(M, count)` numbers of the rows.
      distances: `(M, count)` L2 distances.
    """

    places: np.ndarray
    distances: np.ndarray


def neighbors(features: np.ndarray, queries: np.ndarray, count: int = 5) -> Neighbors:
    """Finds each query's nearest rows by L2 distance.

    Args:
      features: `(N, D)`; axes after the first are flattened.
      queries: `(M, D)`.
      count: number of rows per query.

    Returns:
      The rows and their distances.

    Raises:
      ValueError: if `count` is not from 1 to N, or the numbers of columns differ.
    """
    from sklearn.neighbors import NearestNeighbors

    rows, asked = as_rows(features, "features"), as_rows(queries, "queries")
    if not 1 <= count <= len(rows):
        raise ValueError(f"`count` must be between 1 and the {len(rows)} rows; got {count}.")
    if rows.shape[1] != asked.shape[1]:
        raise ValueError(f"`queries` must have {rows.shape[1]} columns, as the features; got {asked.shape[1]}.")
    distances, places = NearestNeighbors(n_neighbors=count).fit(rows).kneighbors(asked)
    return Neighbors(places, distances)


class PCA(NamedTuple):
    """The principal components of features.

    Call it to project other features on them.

    Args:
      mean: `(D,)`.
      directions: `(components, D)`, orthonormal.
      explained: `(components,)`, the share of the variance along each direction.
    """

    mean: np.ndarray
    directions: np.ndarray
    explained: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Projects features `(N, D)` to `(N, components)`."""
        return (as_rows(features, "features") - self.mean) @ self.directions.T


def pca(features: np.ndarray, components: int = 2) -> PCA:
    """Computes the principal components of features.

    Args:
      features: `(N, D)`; axes after the first are flattened.
      components: number of directions, at most N and D.

    Returns:
      The mean, the directions, and the share of the variance along each.

    Raises:
      ValueError: if `components` is out of range.
    """
    from sklearn import decomposition

    rows = as_rows(features, "features")
    if not 1 <= components <= min(rows.shape):
        raise ValueError(f"`components` must be between 1 and {min(rows.shape)}; got {components}.")
    fitted = decomposition.PCA(components, svd_solver="full" if min(rows.shape) <= 500 else "auto", random_state=0)
    fitted.fit(rows)
    return PCA(*map(np.asarray, (fitted.mean_, fitted.components_, fitted.explained_variance_ratio_)))


def as_rows(values: np.ndarray, name: str) -> np.ndarray:
    """Converts features, or images of bytes, to rows of floats.

    Raises:
      ValueError: if there is no axis of examples.
    """
    values = np.asarray(values)
    if values.ndim < 2:
        raise ValueError(f"`{name}` must be rows, (N, D); got shape {values.shape}.")
    rows = values.reshape(len(values), math.prod(values.shape[1:]))
    return rows if np.issubdtype(rows.dtype, np.floating) else rows.astype(np.float32)
