"""What one unit of a network sees of its input."""

import functools
from collections.abc import Iterable
from typing import NamedTuple

from jaxcnn.geometry.windows import Shape, Window


class ReceptiveField(NamedTuple):
    """What one output unit sees of the input; one entry per spatial axis, in input cells."""

    size: Shape  # cells seen
    jump: Shape  # distance between the fields of neighboring units
    start: tuple[float, ...]  # center of the first unit's field; cell 0 has its center at 0

    def through(self, window: Window) -> "ReceptiveField":
        """The field of a unit that looks at units of this field through a window.

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
        """The smallest field that covers both, as of a sum of two units."""
        sizes, starts = [], []
        for n, m, c, d in zip(self.size, other.size, self.start, other.start, strict=True):
            low = min(c - (n - 1) / 2, d - (m - 1) / 2)
            high = max(c + (n - 1) / 2, d + (m - 1) / 2)
            sizes.append(round(high - low) + 1)
            starts.append((low + high) / 2)
        return ReceptiveField(tuple(sizes), tuple(map(max, self.jump, other.jump)), tuple(starts))


def receptive_field(windows: Iterable[Window], rank: int = 2) -> ReceptiveField:
    """What one unit after a chain of windows sees of the input.

    Args:
      windows: the chain, input first; input dilation is not supported, it has no single jump.
      rank: number of spatial axes, needed where the chain is empty.

    Raises:
      ValueError: if a window dilates its input or has another rank.
    """
    cell = ReceptiveField((1,) * rank, (1,) * rank, (0.0,) * rank)
    return functools.reduce(ReceptiveField.through, windows, cell)
