"""Converts parameters between our layouts and those of PyTorch."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]


class Layout(NamedTuple):
    """One layout of a parameter in another library."""

    read: Callable[[np.ndarray], np.ndarray]  # converts their array to ours
    write: Callable[[np.ndarray], np.ndarray]  # converts our array to theirs
    shape: Callable[[Shape], Shape]  # converts our shape to theirs


class Entry(NamedTuple):
    """One parameter or statistic in our network and in a file."""

    path: str  # in our network, as in `freeze`
    name: str  # in the file
    layout: Layout
    less: str | None = None  # name of a convolution's bias before a normalization, which their running mean includes


SAME = Layout(lambda x: x, lambda x: x, lambda shape: shape)
DENSE = Layout(np.transpose, np.transpose, lambda shape: shape[::-1])
# theirs (O, I, *spatial), ours (*spatial, I, O); with groups, I counts the inputs of one group in both
CONV = Layout(
    lambda x: x.transpose(*range(2, x.ndim), 1, 0),
    lambda x: x.transpose(x.ndim - 1, x.ndim - 2, *range(x.ndim - 2)),
    lambda shape: (shape[-1], shape[-2], *shape[:-2]),
)
# theirs (I, O, *spatial), ours (*spatial, I, O), which is not flipped as the kernel of a gradient is
CONV_TRANSPOSE = Layout(
    lambda x: np.flip(x.transpose(*range(2, x.ndim), 0, 1), tuple(range(x.ndim - 2))),
    lambda x: np.flip(x, tuple(range(x.ndim - 2))).transpose(x.ndim - 2, x.ndim - 1, *range(x.ndim - 2)),
    lambda shape: (shape[-2], shape[-1], *shape[:-2]),
)


def flattened(spatial: Shape) -> Layout:
    """Returns the layout of a dense layer that reads maps.

    The maps are `(*spatial, C)`; in PyTorch they have channels first.
    """
    cells, last = math.prod(spatial), len(spatial) + 1

    def read(theirs: np.ndarray) -> np.ndarray:
        x = theirs.reshape(len(theirs), -1, *spatial)
        return x.transpose(*range(2, last + 1), 1, 0).reshape(-1, len(theirs))

    def write(ours: np.ndarray) -> np.ndarray:
        x = ours.reshape(*spatial, len(ours) // cells, -1)
        return x.transpose(last, last - 1, *range(last - 1)).reshape(-1, len(ours))

    return Layout(read, write, lambda shape: shape[::-1])


def as_convolution(spatial: Shape) -> Layout:
    """Returns the layout of a dense layer stored as a convolution.

    The layer reads maps `(*spatial, C)`; in the other library it is a convolution over them.
    """

    def read(theirs: np.ndarray) -> np.ndarray:
        return CONV.read(theirs).reshape(-1, len(theirs))

    def write(ours: np.ndarray) -> np.ndarray:
        return CONV.write(ours.reshape(*spatial, -1, ours.shape[-1]))

    return Layout(read, write, lambda shape: (shape[1], shape[0] // math.prod(spatial), *spatial))
