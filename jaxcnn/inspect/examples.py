"""Examples to compare an image with."""

import numpy as np

from jaxcnn.data import Dataset
from jaxcnn.inspect.subject import Subject


def some_examples(subject: Subject, count: int) -> Dataset | None:
    """Up to `count` examples, evenly from all, or None where there are none of the image's size."""
    every = subject.examples
    if every is None or not len(every.labels) or tuple(every.images.shape[1:]) != subject.picture.shape:
        return None
    places = np.linspace(0, len(every.labels) - 1, min(count, len(every.labels))).astype(int)
    return every._replace(images=np.asarray(every.images[places]), labels=np.asarray(every.labels)[places])


def alike_size(subject: Subject, count: int = 2) -> np.ndarray:
    """Pictures `(n, H, W, C)` of examples, none where there are none."""
    some = some_examples(subject, count)
    return np.zeros((0, *subject.picture.shape), np.uint8) if some is None else np.asarray(some.images)
