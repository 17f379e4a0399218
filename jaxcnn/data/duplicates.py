"""Finds pictures that occur twice, exactly or nearly.

The pictures may be in one set or in two, such as two splits of a data set.
"""

from typing import Any

import numpy as np

from jaxcnn.data.streams import cores

_SIDE = 8  # of the thumbnails by which candidates are found
_ALIKE = 0.985  # least correlation of near duplicates; below 0.98 they are often other pictures, of one kind
_NEAR = 0.17  # largest distance of the thumbnails of a candidate, as unit vectors: about the same correlation
_DIRECTIONS = 8  # principal components of the thumbnails in which it is measured
_COPIES = 8  # candidates of a picture that are looked at
_FLAT = 4.0  # standard deviation, in levels of gray, below which a picture shows nothing to compare


def near_duplicates(first: Any, second: Any = None) -> np.ndarray:
    """Finds pairs of pictures that are equal or nearly so.

    Near duplicates differ in compression, size, contrast or color only. Two pictures are near duplicates if their gray
    values have a correlation of 0.985 or more. Candidates are the eight pictures with the nearest thumbnails of 8x8
    cells. Flat pictures, with a standard deviation below 4 of 255 levels, are not compared.

    Args:
      first: pictures `(N, H, W, C)` uint8.
      second: other pictures `(M, H, W, C)` uint8, of the same size; by default the pairs are within `first`.

    Returns:
      `(pairs, 2)` numbers of pictures in `first` and in `second`, in order; within one set, each pair once.

    Raises:
      ValueError: if these are not pictures in bytes, of one size.

    Example:
      >>> import numpy as np
      >>> from jaxcnn import data
      >>> pictures = data.load("digits", "test").images
      >>> brighter = np.clip(pictures[3:4].astype(int) + 1, 0, 255).astype(np.uint8)
      >>> data.near_duplicates(pictures[:9], brighter).tolist()
      [[3, 0]]
    """
    own = second is None
    second = first if own else second
    for name, pictures in (("first", first), ("second", second)):
        if pictures.ndim != 4 or pictures.dtype != np.uint8:
            raise ValueError(f"`{name}` must be pictures, (N, H, W, C) uint8; got {pictures.dtype} {pictures.shape}.")
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(f"`second` must have pictures of {first.shape[1:]}, as `first`; got {second.shape[1:]}.")
    small, spread = _thumbnails(first)
    others, other_spread = (small, spread) if own else _thumbnails(second)
    here, there = (np.flatnonzero(values >= _FLAT) for values in (spread, other_spread))
    pairs = _nearest(small[here], others[there], _COPIES + own)
    pairs = np.stack([here[pairs[:, 0]], there[pairs[:, 1]]], -1)
    if own:  # a pair may be found from one side only
        pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    return pairs[_close(first, second, pairs)]


def _nearest(rows: np.ndarray, others: np.ndarray, count: int) -> np.ndarray:
    """Finds pairs of unit vectors within `_NEAR` of each other.

    Each row is paired with at most `count` of the others.
    """
    from scipy.spatial import KDTree

    if not (len(rows) and len(others)):
        return np.zeros((0, 2), np.int64)
    # distances in a few directions are never above those in all, and a tree is fast in few
    _, directions = np.linalg.eigh(others.T @ others)
    few = directions[:, -_DIRECTIONS:]
    count = min(count, len(others))
    _, places = KDTree(others @ few).query(rows @ few, count, distance_upper_bound=_NEAR, workers=cores())
    places = places.reshape(len(rows), count)
    at, column = np.nonzero(places < len(others))  # where fewer are near, the rest has this number
    return np.stack([at, places[at, column]], -1)


def _close(first: Any, second: Any, pairs: np.ndarray) -> np.ndarray:
    """Which pairs are alike at full size."""
    close = np.zeros(len(pairs), bool)
    step = max(1, 2**23 // int(np.prod(first.shape[1:])))
    for start in range(0, len(pairs), step):
        some = pairs[start : start + step]
        here, there = _unit(_gray(first[some[:, 0]])), _unit(_gray(second[some[:, 1]]))
        close[start : start + step] = (here * there).sum(-1) >= _ALIKE
    return close


def _unit(pictures: np.ndarray) -> np.ndarray:
    """Returns pictures as rows of mean 0 and length 1.

    Products of such rows are correlations.
    """
    rows = pictures.reshape(len(pictures), -1)
    rows = rows - rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _gray(pictures: np.ndarray) -> np.ndarray:
    return pictures[..., 0].astype(np.float32) if pictures.shape[-1] == 1 else pictures.mean(-1, dtype=np.float32)


def _thumbnails(pictures: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns thumbnails as rows, and the gray pictures' standard deviations.

    The rows have length 1 and mean 0.
    """
    height, width = pictures.shape[1:3]
    tall, wide = (np.unique(np.linspace(0, side, min(side, _SIDE) + 1)[:-1].astype(int)) for side in (height, width))
    cells = np.outer(np.diff([*tall, height]), np.diff([*wide, width]))
    rows, spreads = [], []
    for start in range(0, len(pictures), 1024):
        gray = _gray(np.asarray(pictures[start : start + 1024]))
        sums = np.add.reduceat(np.add.reduceat(gray, tall, 1), wide, 2) / cells
        rows.append(sums.reshape(len(gray), -1))
        spreads.append(gray.std((1, 2)))
    if not rows:
        return np.zeros((0, cells.size), np.float32), np.zeros(0, np.float32)
    return _unit(np.concatenate(rows)), np.concatenate(spreads)
