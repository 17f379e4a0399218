"""Labelled images in memory, and the scaling that networks are fed with."""

from typing import NamedTuple

import numpy as np


class Dataset(NamedTuple):
    """Labelled images of one split.

    Shapes: `images` is `(N, H, W, C)` uint8, `labels` is `(N,)` int32 with values that index `classes`.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str
    split: str

    def take(self, count: int) -> "Dataset":
        """The first `count` examples."""
        return self._replace(images=self.images[:count], labels=self.labels[:count])


class Scaling(NamedTuple):
    """The affine map from bytes to a network's input, `(byte / 255 - mean) / std`, one entry per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images):
        """Maps `(..., C)` bytes to float32; works on NumPy and on JAX arrays, and inside `jit`."""
        scale = 1 / (255 * np.array(self.std, np.float32))
        shift = np.array(self.mean, np.float32) / np.array(self.std, np.float32)
        return images.astype(np.float32) * scale - shift


def measure_scaling(dataset: Dataset) -> Scaling:
    """The scaling that gives every channel of a data set mean 0 and variance 1.

    Raises:
      ValueError: if the data set is empty.
    """
    if not len(dataset.images):
        raise ValueError(f"the {dataset.split} split of {dataset.name} must hold images; got none.")
    # a histogram is exact, and needs no float copy of the images
    counts = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(dataset.images, -1, 0)])
    levels = np.arange(256) / 255
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ levels
    std = np.sqrt(np.maximum(share @ levels**2 - mean**2, 0))
    return Scaling(tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist()))
