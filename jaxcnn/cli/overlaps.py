"""Pictures that are in two splits of one's own data."""

from collections.abc import Sequence

import numpy as np

from jaxcnn.data import Dataset, near_duplicates

_OWN = ("folder", "idx", "masks", "npz")  # the splits of published data sets are as they are
_SHOWN = 3


def overlaps(train: Dataset, others: Sequence[Dataset]) -> list[str]:
    """Reports splits with pictures that are near duplicates of training pictures.

    There is one sentence for each such split. Only the user's own data in memory are compared.
    """
    told = []
    for other in others:
        if train.name.partition(":")[0] not in _OWN or not all(map(comparable, (train, other))):
            continue
        pairs = near_duplicates(train.images, other.images)
        count = len(np.unique(pairs[:, 1]))
        if count:
            few = [f"{other.example(there)} and {train.example(here)}" for here, there in pairs[:_SHOWN].tolist()]
            more = ", ..." if len(pairs) > _SHOWN else ""
            one = (
                "picture nearly equals a training picture" if count == 1 else "pictures nearly equal training pictures"
            )
            text = f"{count:,} of {len(other.labels):,} {other.split} {one}, so the result will be too good"
            told.append(f"{text}: {', '.join(few)}{more}")
    return told


def comparable(examples: Dataset) -> bool:
    """Whether these are pictures in memory, whose pixels can be compared."""
    return isinstance(examples.images, np.ndarray) and examples.images.ndim == 4 and examples.images.dtype == np.uint8
