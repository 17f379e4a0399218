"""Examples to compare an image with."""

from typing import NamedTuple

import numpy as np

from jaxcnn.data import Dataset


class Examples(NamedTuple):
    """Labeled pictures in memory."""

    images: np.ndarray  # (N, H, W, C) uint8
    labels: np.ndarray  # (N,)
    classes: tuple[str, ...]
    split: str


def some_examples(every: Dataset | None, shape: tuple[int, ...], count: int) -> Examples | None:
    """Selects up to `count` evenly spaced examples.

    None if there are none of this shape.
    """
    if every is None or not len(every.labels) or tuple(every.images.shape[1:]) != shape:
        return None
    places = np.linspace(0, len(every.labels) - 1, min(count, len(every.labels))).astype(int)
    return Examples(np.asarray(every.images[places]), np.asarray(every.labels)[places], every.classes, every.split)
