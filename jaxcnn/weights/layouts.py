"""Where our layout of a parameter differs from PyTorch's, and the way between the two."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]


class Layout(NamedTuple):
    """One way of writing down a parameter."""

    read: Callable[[np.ndarray], np.ndarray]  # theirs to ours
    write: Callable[[np.ndarray], np.ndarray]  # ours to theirs
    shape: Callable[[Shape], Shape]  # of theirs, given ours


class Entry(NamedTuple):
    """One parameter or statistic, ours and theirs."""

    path: str  # in our network, as in `freeze`
    name: str  # in the file
    layout: Layout
    less: str | None = None  # their bias of the convolution before a normalization: its running mean holds it, ours not


SAME = Layout(lambda x: x, lambda x: x, lambda shape: shape)
DENSE = Layout(np.transpose, np.transpose, lambda shape: shape[::-1])
# theirs (O, I, *spatial), ours (*spatial, I, O); with groups, I counts the inputs of one group in both
CONV = Layout(
    lambda x: x.transpose(*range(2, x.ndim), 1, 0),
    lambda x: x.transpose(x.ndim - 1, x.ndim - 2, *range(x.ndim - 2)),
    lambda shape: (shape[-1], shape[-2], *shape[:-2]),
)


def flattened(spatial: Shape) -> Layout:
    """Of the dense layer that reads maps `(*spatial, C)`: theirs has the channels first, ours last."""
    cells, last = math.prod(spatial), len(spatial) + 1

    def read(theirs: np.ndarray) -> np.ndarray:
        x = theirs.reshape(len(theirs), -1, *spatial)
        return x.transpose(*range(2, last + 1), 1, 0).reshape(-1, len(theirs))

    def write(ours: np.ndarray) -> np.ndarray:
        x = ours.reshape(*spatial, len(ours) // cells, -1)
        return x.transpose(last, last - 1, *range(last - 1)).reshape(-1, len(ours))

    return Layout(read, write, lambda shape: shape[::-1])
