"""Batches as a pure function of seed and step.

So a run saves only the step to continue.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.prefetch import decoded_ahead, in_background
from jaxcnn.data.sampling import Sampling, order_of_epochs
from jaxcnn.data.streams import Stream, cores

_ALL = slice(None)


class Batch(NamedTuple):
    """Examples that a network processes together.

    The last batch of an evaluation is filled up to full size.

    Args:
      images: `(B, H, W, C)` uint8, or as in `Dataset`.
      labels: `(B,)` int32, or as in `Dataset`.
      weights: `(B,)` float32, 1 for an example and 0 for filling.
      ids: `(B,)` int32, the numbers of the examples in their split, -1 for filling.
    """

    images: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    ids: np.ndarray


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Computes the number of full batches in an epoch.

    The remaining examples differ from epoch to epoch.

    Args:
      count: number of training examples.
      batch_size: examples per batch.

    Returns:
      The number of batches.

    Raises:
      ValueError: if `batch_size` is not from 1 to `count`.
    """
    if not 1 <= batch_size <= count:
        raise ValueError(f"`batch_size` must be between 1 and the {count} training examples; got {batch_size}.")
    return count // batch_size


@dataclasses.dataclass(frozen=True)
class _Order:
    """A function from a step to the numbers of its examples.

    Each worker process gets a copy.
    """

    count: int
    batch_size: int
    epochs: Callable[[int], np.ndarray]  # the order of an epoch
    rows: slice | np.ndarray

    def __call__(self, step: int) -> np.ndarray:
        epoch, position = divmod(step, steps_per_epoch(self.count, self.batch_size))
        order = self.epochs(epoch)
        return order[position * self.batch_size : (position + 1) * self.batch_size][self.rows]


def train_batch(dataset: Dataset, batch_size: int, seed: int, step: int, *, sampling: Sampling = "uniform") -> Batch:
    """Makes the batch of one training step.

    Args:
      dataset: the training split.
      batch_size: examples per batch.
      seed: a non-negative seed; each epoch has its own order, drawn from `(seed, epoch)`.
      step: number of the steps before this one, over all epochs.
      sampling: `"uniform"`, every example once in an epoch; `"balanced"`, every class equally often.

    Returns:
      The batch.
    """
    chosen = _Order(len(dataset.labels), batch_size, order_of_epochs(dataset.labels, seed, sampling), _ALL)(step)
    return _batch(dataset, dataset.images[chosen], chosen)


def _batch(dataset: Dataset, images: np.ndarray, ids: np.ndarray) -> Batch:
    return Batch(images, dataset.labels[ids], np.ones(len(ids), np.float32), ids)


@contextlib.contextmanager
def batches_ahead(
    dataset: Dataset,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    *,
    rows: slice | np.ndarray = _ALL,
    workers: int | None = None,
    ahead: int = 2,
    sampling: Sampling = "uniform",
) -> Iterator[Iterator[Batch]]:
    """Makes the batches of steps `start` to `stop - 1` ahead.

    They are made in the background, before they are needed. They equal those of `train_batch`, for any number of
    workers, and for pictures in memory or in a stream.

    Args:
      dataset: the training split.
      batch_size: examples per batch, over all processes.
      seed: as in `train_batch`.
      start: the first step, counted over all epochs.
      stop: the step after the last.
      rows: the part of every batch that this process needs, a slice or indices.
      workers: number of processes that decode a stream; 0 decodes in threads. By default threads on up to 16 cores, and
        beyond that one process per four cores.
      ahead: number of batches that are made in advance.
      sampling: as in `train_batch`.

    Returns:
      A context manager that gives an iterator over the batches; on exit it ends threads and processes.

    Raises:
      FileNotFoundError: from the iterator, if a picture no longer exists.
      ModuleNotFoundError: from the iterator, if Grain is needed and not installed.
      ValueError: if `batch_size` is not from 1 to the number of examples, or a number is negative; from the iterator,
        if a picture is damaged.
    """
    steps_per_epoch(len(dataset.labels), batch_size)
    workers = default_workers() if workers is None else workers
    for name, value in (("workers", workers), ("start", start)):
        if value < 0:
            raise ValueError(f"`{name}` must not be negative; got {value}.")
    order = _Order(len(dataset.labels), batch_size, order_of_epochs(dataset.labels, seed, sampling), rows)

    def make() -> Generator[Batch, None, None]:
        if not isinstance(dataset.images, Stream):
            for step in range(start, stop):
                ids = order(step)
                yield _batch(dataset, dataset.images[ids], ids)
            return
        with contextlib.closing(decoded_ahead(dataset.images, order, start, stop, workers, 1)) as decoded:
            for step, images in zip(range(start, stop), decoded, strict=True):
                yield _batch(dataset, images, order(step))

    with in_background(make(), ahead) as batches:
        yield batches


def default_workers() -> int:
    """The default number of processes that decode a stream.

    It is 0 up to 16 cores, where threads suffice, then one per 4 cores.
    """
    return cores() // 4 if cores() > 16 else 0


@dataclasses.dataclass(frozen=True)
class _InOrder:
    """The numbers of an evaluation batch's examples, -1 for filling."""

    count: int
    batch_size: int
    rows: slice | np.ndarray

    def __call__(self, place: int) -> np.ndarray:
        numbers = np.arange(place * self.batch_size, (place + 1) * self.batch_size, dtype=np.int32)
        return np.where(numbers < self.count, numbers, -1).astype(np.int32)[self.rows]


@dataclasses.dataclass(frozen=True)
class _Filled:
    """The same without filling."""

    numbers: _InOrder

    def __call__(self, place: int) -> np.ndarray:
        numbers = self.numbers(place)
        return numbers[numbers >= 0]


def eval_batches(dataset: Dataset, batch_size: int, *, rows: slice | np.ndarray = _ALL) -> Iterator[Batch]:
    """Makes batches of every example once, in order.

    The last batch is filled up with blank images of weight 0. So all batches have one shape, and compile once, and the
    weights make the evaluation exact. Streams are decoded in advance, in threads.

    Args:
      dataset: the examples.
      batch_size: examples per batch, over all processes.
      rows: the part of every batch that this process needs, a slice or indices.

    Returns:
      An iterator over the batches.
    """
    numbers = _InOrder(len(dataset.labels), batch_size, rows)
    some = _Filled(numbers)
    count = -(-len(dataset.labels) // batch_size)

    def filled(place: int, images: np.ndarray) -> Batch:
        ids, missing = numbers(place), len(numbers(place)) - len(images)
        return Batch(
            np.pad(images, [(0, missing), *[(0, 0)] * (images.ndim - 1)]),
            np.pad(dataset.labels[ids[ids >= 0]], [(0, missing), *[(0, 0)] * (dataset.labels.ndim - 1)]),
            (ids >= 0).astype(np.float32),
            ids,
        )

    def make() -> Generator[Batch, None, None]:
        assert isinstance(dataset.images, Stream)
        with contextlib.closing(decoded_ahead(dataset.images, some, 0, count, 0, 1)) as decoded:
            for place, images in enumerate(decoded):
                yield filled(place, images)

    if not isinstance(dataset.images, Stream):
        yield from (filled(place, dataset.images[some(place)]) for place in range(count))
        return
    with in_background(make(), 1) as batches:
        yield from batches
