"""Examples to compare an image with."""

from typing import NamedTuple

import numpy as np

from jaxcnn.inspect.subject import Subject


class Examples(NamedTuple):
    """Labelled pictures in memory."""

    images: np.ndarray  # (N, H, W, C) uint8
    labels: np.ndarray  # (N,)
    classes: tuple[str, ...]
    split: str


def some_examples(subject: Subject, count: int) -> Examples | None:
    """Up to `count` examples, evenly from all, or None where there are none of the image's size."""
    every = subject.examples
    if every is None or not len(every.labels) or tuple(every.images.shape[1:]) != subject.picture.shape:
        return None
    places = np.linspace(0, len(every.labels) - 1, min(count, len(every.labels))).astype(int)
    return Examples(np.asarray(every.images[places]), np.asarray(every.labels)[places], every.classes, every.split)


def alike_size(subject: Subject, count: int = 2) -> np.ndarray:
    """Pictures `(n, H, W, C)` of examples, none where there are none."""
    some = some_examples(subject, count)
    return np.zeros((0, *subject.picture.shape), np.uint8) if some is None else some.images
