"""Orders the examples of an epoch.

The order is a pure function of the seed and the epoch.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

Sampling = Literal["uniform", "balanced"]


def order_of_epochs(labels: np.ndarray, seed: int, sampling: Sampling = "uniform") -> Callable[[int], np.ndarray]:
    """Makes the function from an epoch to its examples' numbers.

    An epoch has as many numbers as there are examples.

    Args:
      labels: `(N,)` classes of the examples.
      seed: a non-negative seed.
      sampling: `"uniform"`, every example once; `"balanced"`, every class that has examples equally often, so that the
        examples of a rare class come several times, and of a frequent class only a part, another one in each epoch.

    Returns:
      The function; its values are `(N,)` int32.

    Raises:
      ValueError: if `sampling` is unknown.
    """
    if sampling not in get_args(Sampling):
        raise ValueError(f"`sampling` must be one of {', '.join(get_args(Sampling))}; got {sampling!r}.")
    return _Uniform(len(labels), seed) if sampling == "uniform" else _Balanced(labels, seed)


# not Grain's shuffle, whose order is another: a run would not resume; its batches of 28x28 take 17 times as long
@lru_cache(maxsize=2)
def _shuffled(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count).astype(np.int32)


class _Uniform:
    def __init__(self, count: int, seed: int):
        self._count, self._seed = count, seed

    def __call__(self, epoch: int) -> np.ndarray:
        return _shuffled(self._count, self._seed, epoch)


class _Balanced:
    def __init__(self, labels: np.ndarray, seed: int):
        self._labels, self._seed = np.asarray(labels), seed
        self._last: tuple[int, np.ndarray] | None = None  # the epoch of the step before is nearly always this one

    def __call__(self, epoch: int) -> np.ndarray:
        if self._last is None or self._last[0] != epoch:
            self._last = epoch, self._drawn(epoch)
        return self._last[1]

    def _drawn(self, epoch: int) -> np.ndarray:
        draw = np.random.default_rng([self._seed, epoch])
        members = [np.flatnonzero(self._labels == label) for label in np.unique(self._labels)]
        share, left = divmod(len(self._labels), len(members))
        more = draw.permutation(len(members)) < left  # the classes that come once more than the others
        chosen = []
        for places, one in zip(members, more, strict=True):
            count = share + int(one)
            rounds = [draw.permutation(places) for _ in range(-(-count // len(places)))]
            chosen.append(np.concatenate(rounds)[:count])
        return draw.permutation(np.concatenate(chosen)).astype(np.int32)
