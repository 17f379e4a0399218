"""Receptive fields: the inputs on which one unit depends."""

import functools
from collections.abc import Iterable
from typing import NamedTuple

from jaxcnn.geometry.integers import Shape
from jaxcnn.geometry.windows import Window


class ReceptiveField(NamedTuple):
    """The part of the input on which one unit depends.

    It has one entry per spatial axis, in input cells.

    Args:
      size: number of cells in the field.
      jump: distance between the fields of neighboring units.
      start: center of the first unit's field; the center of cell 0 is 0.
    """

    size: Shape
    jump: Shape
    start: tuple[float, ...]

    def through(self, window: Window) -> "ReceptiveField":
        """Returns the field of a unit that reads through a window.

        It reads units of this field.

        Args:
          window: the window that the unit reads.

        Returns:
          The larger field, in cells of the same input.

        Raises:
          ValueError: if the window dilates its input, or has another rank.
        """
        if any(b != 1 for b in window.input_dilation):
            raise ValueError(f"`input_dilation` must be 1 in a receptive field; got {window.input_dilation}.")
        if len(window.shape) != len(self.size):
            raise ValueError(f"every window must have {len(self.size)} spatial axes; got {window.shape}.")
        lows = [low for low, _ in window.padding]
        return ReceptiveField(
            tuple(n + (k - 1) * j for n, k, j in zip(self.size, window.extent, self.jump, strict=True)),
            tuple(j * s for j, s in zip(self.jump, window.strides, strict=True)),
            tuple(
                c + ((k - 1) / 2 - low) * j
                for c, k, low, j in zip(self.start, window.extent, lows, self.jump, strict=True)
            ),
        )

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        """Returns the smallest field that covers this one and another.

        The sum of two units has this field, for instance.

        Args:
          other: the other field, of the same rank.

        Returns:
          The field that covers both.
        """
        sizes, starts = [], []
        for n, m, c, d in zip(self.size, other.size, self.start, other.start, strict=True):
            low = min(c - (n - 1) / 2, d - (m - 1) / 2)
            high = max(c + (n - 1) / 2, d + (m - 1) / 2)
            sizes.append(round(high - low) + 1)
            starts.append((low + high) / 2)
        return ReceptiveField(tuple(sizes), tuple(map(max, self.jump, other.jump)), tuple(starts))


def receptive_field(windows: Iterable[Window], rank: int = 2) -> ReceptiveField:
    """Computes a unit's receptive field after a chain of windows.

    Args:
      windows: the windows, in the order in which they read the input. None may dilate its input, because then units
        have no constant distance.
      rank: number of spatial axes.

    Returns:
      The field, in cells of the input.

    Raises:
      ValueError: if a window dilates its input or has another rank.
    """
    cell = ReceptiveField((1,) * rank, (1,) * rank, (0.0,) * rank)
    return functools.reduce(ReceptiveField.through, windows, cell)
