"""What it sees: which examples are near each other in the space of a network's features."""

from typing import Literal, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxcnn.ops.arrays import choice


class Neighbours(NamedTuple):
    """The examples nearest to each query, the nearest first."""

    indices: np.ndarray  # (queries, count)
    distances: np.ndarray  # (queries, count)


def nearest(
    queries: ArrayLike, features: ArrayLike, count: int = 8, *, metric: Literal["l2", "cosine"] = "l2"
) -> Neighbours:
    """Finds the examples nearest to each query.

    Args:
      queries: `(Q, ...)` features of the queries.
      features: `(N, ...)` features of the examples to choose from; axes behind the first are flattened.
      count: how many for each query.
      metric: `"l2"`, the Euclidean distance, or `"cosine"`, 1 less the cosine of the angle.

    Raises:
      ValueError: if `count` is not from 1 to N, or the metric is unknown.

    Source: Krizhevsky, Sutskever & Hinton 2012, figure 4 (right).
    """
    choice("metric", metric, ("l2", "cosine"))
    asked, held = (np.asarray(a, np.float64).reshape(len(np.asarray(a)), -1) for a in (queries, features))
    if not 1 <= count <= len(held):
        raise ValueError(f"`count` must be from 1 to {len(held)}, the number of examples; got {count}.")
    if metric == "cosine":
        asked, held = (a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12) for a in (asked, held))
    squares = (asked**2).sum(1)[:, None] - 2 * asked @ held.T + (held**2).sum(1)
    indices = np.argsort(squares, 1, kind="stable")[:, :count]
    found = np.maximum(np.take_along_axis(squares, indices, 1), 0)
    return Neighbours(indices, found / 2 if metric == "cosine" else np.sqrt(found))


class Components(NamedTuple):
    """Examples in the directions in which they differ most."""

    projected: np.ndarray  # (N, count)
    shares: np.ndarray  # (count,) of the variance
    directions: np.ndarray  # (count, features)
    mean: np.ndarray  # (features,)


def principal_components(features: ArrayLike, count: int = 2) -> Components:
    """Projects examples on the directions of their largest variance.

    Args:
      features: `(N, ...)`; axes behind the first are flattened.
      count: number of directions; each has its largest entry positive.

    Raises:
      ValueError: if there are fewer examples, or features, than directions.

    Source: Pearson 1901.
    """
    values = np.asarray(features, np.float64).reshape(len(np.asarray(features)), -1)
    if not 1 <= count <= min(values.shape):
        raise ValueError(f"`count` must be from 1 to {min(values.shape)}, for features {values.shape}; got {count}.")
    mean = values.mean(0)
    left, sizes, right = np.linalg.svd(values - mean, full_matrices=False)
    signs = np.sign(np.take_along_axis(right, np.abs(right).argmax(1, keepdims=True), 1))
    projected = (left * sizes * signs[:, 0])[:, :count]
    total = max((sizes**2).sum(), np.finfo(np.float64).tiny)
    return Components(projected, sizes[:count] ** 2 / total, (signs * right)[:count], mean)
