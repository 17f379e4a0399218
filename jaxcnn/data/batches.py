"""Batches as a pure function of seed and step: nothing to save but the step, nothing to replay."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from jaxcnn.data.dataset import Dataset


class Batch(NamedTuple):
    """Shapes: `images` `(B, H, W, C)` uint8, `labels` `(B,)` int32, `weights` `(B,)` float32, 0 for filling."""

    images: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def steps_per_epoch(count: int, batch_size: int) -> int:
    """How many whole batches an epoch has; the examples left over differ from epoch to epoch.

    Raises:
      ValueError: if there is not even one batch.
    """
    if not 1 <= batch_size <= count:
        raise ValueError(f"`batch_size` must be between 1 and the {count} training examples; got {batch_size}.")
    return count // batch_size


@lru_cache(maxsize=2)
def _epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def train_batch(dataset: Dataset, batch_size: int, seed: int, step: int) -> Batch:
    """The batch of one training step.

    Args:
      dataset: the training split.
      batch_size: examples per batch.
      seed: a non-negative seed; every epoch has an order of its own, drawn from (seed, epoch).
      step: steps done before, counted over all epochs.
    """
    count = len(dataset.labels)
    epoch, position = divmod(step, steps_per_epoch(count, batch_size))
    chosen = _epoch_order(count, seed, epoch)[position * batch_size : (position + 1) * batch_size]
    return Batch(dataset.images[chosen], dataset.labels[chosen], np.ones(batch_size, np.float32))


def eval_batches(dataset: Dataset, batch_size: int) -> Iterator[Batch]:
    """Every example once, in order; the last batch is filled up with blank images of weight 0.

    Batches of one shape compile once, and weights make the evaluation exact.
    """
    for start in range(0, len(dataset.labels), batch_size):
        images, labels = dataset.images[start : start + batch_size], dataset.labels[start : start + batch_size]
        missing = batch_size - len(labels)
        yield Batch(
            np.pad(images, [(0, missing), *[(0, 0)] * (images.ndim - 1)]),
            np.pad(labels, (0, missing)),
            np.pad(np.ones(len(labels), np.float32), (0, missing)),
        )
