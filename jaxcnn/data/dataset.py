"""Labelled examples in memory, and the scaling that networks are fed with."""

from typing import NamedTuple

import numpy as np


class Dataset(NamedTuple):
    """Labelled examples of one split.

    Shapes: `images` is `(N, H, W, C)` uint8; or `(N, T, C)` float32, features of sounds; or `(N, L)` int32, words that
    index `vocabulary`, 0 for padding. `labels` is `(N,)` int32 with values that index `classes`.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str
    split: str
    vocabulary: tuple[str, ...] = ()

    @property
    def features(self) -> int:
        """Channels of an example, or words of the vocabulary."""
        return len(self.vocabulary) or self.images.shape[-1]

    def take(self, count: int) -> "Dataset":
        """The first `count` examples."""
        return self._replace(images=self.images[:count], labels=self.labels[:count])


class Scaling(NamedTuple):
    """The affine map from an example to a network's input, `(value / unit - mean) / std`, one entry per channel.

    Without entries it leaves what it gets, for words.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    unit: float = 255.0  # 1 for features that are no bytes

    def __call__(self, images):
        """Maps `(..., C)` to float32; works on NumPy and on JAX arrays, and inside `jit`."""
        if not self.mean:
            return images
        scale = 1 / (np.float32(self.unit) * np.array(self.std, np.float32))
        shift = np.array(self.mean, np.float32) / np.array(self.std, np.float32)
        return images.astype(np.float32) * scale - shift


def measure_scaling(dataset: Dataset) -> Scaling:
    """The scaling that gives every channel of a data set mean 0 and variance 1; for words, none.

    Raises:
      ValueError: if the data set is empty.
    """
    if not len(dataset.images):
        raise ValueError(f"the {dataset.split} split of {dataset.name} must hold images; got none.")
    if dataset.vocabulary:
        return Scaling((), ())
    if dataset.images.dtype != np.uint8:
        axes = tuple(range(dataset.images.ndim - 1))
        mean, std = dataset.images.mean(axes, np.float64), dataset.images.std(axes, np.float64)
        return Scaling(tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist()), 1.0)
    # a histogram is exact, and needs no float copy of the images
    counts = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(dataset.images, -1, 0)])
    levels = np.arange(256) / 255
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ levels
    std = np.sqrt(np.maximum(share @ levels**2 - mean**2, 0))
    return Scaling(tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist()))


def symmetric_scaling(dataset: Dataset) -> Scaling:
    """The scaling that maps bytes to [-1, 1].

    Raises:
      ValueError: if the data set does not hold bytes.
    """
    if dataset.images.dtype != np.uint8:
        raise ValueError(f"`scaling` 'symmetric' needs pictures of bytes; got {dataset.images.dtype}.")
    half = (0.5,) * dataset.images.shape[-1]
    return Scaling(half, half)
