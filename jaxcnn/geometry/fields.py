"""What one unit of a network sees of its input."""

from collections.abc import Iterable
from typing import NamedTuple

from jaxcnn.geometry.windows import Shape, Window


class ReceptiveField(NamedTuple):
    """What one output unit sees of the input; one entry per spatial axis, in input cells."""

    size: Shape  # cells seen
    jump: Shape  # distance between the fields of neighbouring units
    start: tuple[float, ...]  # centre of the first unit's field; cell 0 has its centre at 0


def receptive_field(windows: Iterable[Window], rank: int = 2) -> ReceptiveField:
    """What one unit after a chain of windows sees of the input.

    Args:
      windows: the chain, input first; input dilation is not supported, it has no single jump.
      rank: number of spatial axes, needed where the chain is empty.

    Raises:
      ValueError: if a window dilates its input or has another rank.
    """
    size, jump, start = [1] * rank, [1] * rank, [0.0] * rank
    for window in windows:
        if any(b != 1 for b in window.input_dilation):
            raise ValueError(f"`input_dilation` must be 1 in a receptive field; got {window.input_dilation}.")
        if len(window.shape) != rank:
            raise ValueError(f"every window must have {rank} spatial axes; got {window.shape}.")
        for axis, (extent, stride, (low, _)) in enumerate(
            zip(window.extent, window.strides, window.padding, strict=True)
        ):
            start[axis] += ((extent - 1) / 2 - low) * jump[axis]
            size[axis] += (extent - 1) * jump[axis]
            jump[axis] *= stride
    return ReceptiveField(tuple(size), tuple(jump), tuple(start))
