"""Simple classifiers on features, which tell how much these say of the classes; all by scikit-learn."""

import dataclasses
import math
import warnings
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

Kind = Literal["knn", "svm", "logistic"]


@dataclasses.dataclass(frozen=True)
class Probe:
    """A classifier's result on features that it has not seen."""

    kind: Kind
    accuracy: float  # share of the test examples classified correctly
    predictions: np.ndarray  # `(N,)` labels
    converged: bool = True  # whether its optimizer came to an end


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
      train_features: `(N, D)`; anything behind the first axis is flattened.
      train_labels: `(N,)`.
      test_features: `(M, D)`.
      test_labels: `(M,)`.
      kind: `"knn"`, the most frequent label among the nearest by L2 distance; `"svm"`, linear, one against the rest,
        squared hinge loss; `"logistic"`, multinomial regression. The last two see standardized features.
      neighbors: how many of them vote.
      strength: the weight C of the examples against the L2 penalty, for the last two.
      max_iterations: of their optimizers.
      seed: of the SVM's.

    Returns:
      The accuracy and what was predicted.

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
    from sklearn.svm import LinearSVC

    if kind == "knn":
        return KNeighborsClassifier(neighbors)
    if kind == "svm":
        linear = LinearSVC(C=strength, dual="auto", max_iter=max_iterations, random_state=seed)
    else:
        linear = LogisticRegression(C=strength, max_iter=max_iterations)
    return make_pipeline(StandardScaler(), linear)


class Neighbors(NamedTuple):
    """The nearest rows of a set for every query, nearest first."""

    places: np.ndarray  # `(M, count)` numbers of the rows
    distances: np.ndarray  # `(M, count)`


def neighbors(features: np.ndarray, queries: np.ndarray, count: int = 5) -> Neighbors:
    """The rows that are nearest to each query by L2 distance.

    Args:
      features: `(N, D)`; anything behind the first axis is flattened.
      queries: `(M, D)`.
      count: how many for each.

    Raises:
      ValueError: if there are not so many rows, or the columns differ.
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
    """The directions in which features vary most; called, it projects others on them."""

    mean: np.ndarray  # `(D,)`
    directions: np.ndarray  # `(components, D)`, orthonormal
    explained: np.ndarray  # `(components,)`, the share of the variance along each

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Maps `(N, D)` to `(N, components)`."""
        return (as_rows(features, "features") - self.mean) @ self.directions.T


def pca(features: np.ndarray, components: int = 2) -> PCA:
    """Principal components of features.

    Args:
      features: `(N, D)`; anything behind the first axis is flattened.
      components: how many directions, at most N and D.

    Raises:
      ValueError: if there are not so many.
    """
    from sklearn import decomposition

    rows = as_rows(features, "features")
    if not 1 <= components <= min(rows.shape):
        raise ValueError(f"`components` must be between 1 and {min(rows.shape)}, as features are; got {components}.")
    found = decomposition.PCA(components, svd_solver="full" if min(rows.shape) <= 500 else "auto", random_state=0)
    found.fit(rows)
    return PCA(*map(np.asarray, (found.mean_, found.components_, found.explained_variance_ratio_)))


def as_rows(values: np.ndarray, name: str) -> np.ndarray:
    """Features, or images of bytes, as rows of floating-point numbers.

    Raises:
      ValueError: if there is no axis of examples.
    """
    values = np.asarray(values)
    if values.ndim < 2:
        raise ValueError(f"`{name}` must be rows, (N, D); got shape {values.shape}.")
    rows = values.reshape(len(values), math.prod(values.shape[1:]))
    return rows if np.issubdtype(rows.dtype, np.floating) else rows.astype(np.float32)
