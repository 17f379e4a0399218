"""Windows that slide over an array.

They have paddings, output sizes, and the windows of the gradients.

The letters, per spatial axis: input size `n`, window `k`, stride `s`, padding `(lo, hi)`, input dilation `b`,
window dilation `d`. A dilated size is `(n - 1) b + 1`, and::

    output = floor((dilated(n, b) + lo + hi - dilated(k, d)) / s) + 1        (Dumoulin & Visin 2016, relation 15)
"""

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from jaxcnn.geometry.integers import MOST, Shape, per_axis

Padding = str | int | Sequence[int | tuple[int, int]]

PADDING_NAMES = ("SAME", "VALID", "LECTURE")

_MOST_CELLS = 2**40  # beyond this XLA ends the process, before memory runs out


class Window(NamedTuple):
    """A sliding window, resolved to integers; one entry per spatial axis.

    Args:
      shape: number of taps.
      strides: steps, in cells.
      padding: `(low, high)` cells added before and after the input; negative amounts crop.
      input_dilation: spacing of the input's cells.
      dilation: spacing of the window's taps.
    """

    shape: Shape
    strides: Shape
    padding: tuple[tuple[int, int], ...]
    input_dilation: Shape
    dilation: Shape

    @property
    def extent(self) -> Shape:
        """The cells from the first to the last tap.

        They are `(k - 1) d + 1` per axis.
        """
        return tuple([(k - 1) * d + 1 if k else 0 for k, d in zip(self.shape, self.dilation, strict=True)])

    def along(self, first: int, last: int | None = None) -> "Window":
        """Selects some axes of the window.

        Args:
          first: the first axis.
          last: the axis after the last one; None selects `first` alone.

        Returns:
          The window of these axes.
        """
        fields: list[Any] = [field[first : first + 1 if last is None else last] for field in self]
        return Window(*fields)

    def only_along(self, axis: int) -> "Window":
        """Returns the window that slides along one axis only.

        It has one cell along the others.

        Args:
          axis: the axis.

        Returns:
          A window of the same rank.
        """
        fields: list[Any] = []
        for own, still in zip(self, STILL, strict=True):
            fields.append((*still * axis, own[axis], *still * (len(own) - axis - 1)))
        return Window(*fields)

    def padded_shape(self, input_shape: Shape) -> Shape:
        """Computes the input's spatial shape after input dilation and padding.

        Args:
          input_shape: spatial sizes of the input.

        Returns:
          The spatial sizes.
        """
        axes = zip(input_shape, self.input_dilation, self.padding, strict=True)
        return tuple([((n - 1) * b + 1 if n else 0) + low + high for n, b, (low, high) in axes])

    def output_shape(self, input_shape: Shape) -> Shape:
        """Computes the output's spatial shape.

        Args:
          input_shape: spatial sizes of the input.

        Returns:
          The spatial sizes; 0 along an axis into which the window does not fit, as in lax.
        """
        sizes = []  # the other properties written out: every trace of an op asks for this
        for n, (low, high), b, k, d, s in zip(
            input_shape, self.padding, self.input_dilation, self.shape, self.dilation, self.strides, strict=True
        ):
            dilated, extent = ((n - 1) * b + 1 if n else 0), ((k - 1) * d + 1 if k else 0)
            sizes.append(max(0, (dilated + low + high - extent) // s + 1))
        return tuple(sizes)

    def lax_options(self) -> dict:
        """Returns the window as arguments of `lax.reduce_window`.

        The array is `(N, *spatial, C)`.

        Returns:
          The arguments, by name.
        """
        return {
            "window_dimensions": (1, *self.shape, 1),
            "window_strides": (1, *self.strides, 1),
            "padding": ((0, 0), *self.padding, (0, 0)),
            "base_dilation": (1, *self.input_dilation, 1),
            "window_dilation": (1, *self.dilation, 1),
        }

    def remainder(self, input_shape: Shape) -> Shape:
        """Counts the trailing cells that no window reaches.

        They are `(n + lo + hi - k) mod s` per axis.

        Args:
          input_shape: spatial sizes of the input.

        Returns:
          The number of cells per axis.
        """
        return tuple(
            (size - extent) % stride
            for size, extent, stride in zip(self.padded_shape(input_shape), self.extent, self.strides, strict=True)
        )


STILL = Window((1,), (1,), ((0, 0),), (1,), (1,))  # along one axis: each cell by itself


def dilated_size(size: int, dilation: int) -> int:
    """Computes the size after dilation, with gaps between neighbors.

    There are `dilation - 1` of them.

    Args:
      size: number of cells.
      dilation: spacing of the cells.

    Returns:
      `(size - 1) * dilation + 1`, or 0 where `size` is 0.
    """
    return (size - 1) * dilation + 1 if size else 0


def resolve_padding(
    padding: Padding,
    input_shape: Shape,
    window_shape: Shape,
    *,
    strides: int | Sequence[int] = 1,
    input_dilation: int | Sequence[int] = 1,
    window_dilation: int | Sequence[int] = 1,
) -> tuple[tuple[int, int], ...]:
    """Turns padding of any form into `(low, high)` pairs, per axis.

    Args:
      padding: `"SAME"` (output `ceil(n / s)`, the extra cell of an odd total at the end), `"VALID"` (none),
        `"LECTURE"` (`k - 1` cells in total, the extra cell of an odd total at the start), an integer for every side,
        or per axis an integer or a `(low, high)` pair. Negative amounts crop.
      input_shape: spatial sizes of the input.
      window_shape: spatial sizes of the window.
      strides: steps of the window.
      input_dilation: spacing of the input's cells.
      window_dilation: spacing of the window's taps.

    Returns:
      One `(low, high)` pair per axis.

    Raises:
      ValueError: if `padding` has none of these forms, or an amount is 2**31 or more.
    """
    rank = len(window_shape)
    strides = per_axis(strides, rank, "strides")
    sizes = map(dilated_size, input_shape, per_axis(input_dilation, rank, "input_dilation"))
    extents = tuple(map(dilated_size, window_shape, per_axis(window_dilation, rank, "window_dilation")))
    if isinstance(padding, str):
        if padding == "VALID":
            return ((0, 0),) * rank
        if padding == "LECTURE":
            return tuple(((k - 1) - (k - 1) // 2, (k - 1) // 2) for k in extents)
        if padding == "SAME":
            totals = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(sizes, extents, strides, strict=True)]
            return tuple((total // 2, total - total // 2) for total in totals)
        raise ValueError(f"`padding` must be one of {', '.join(PADDING_NAMES)}, or integers; got {padding!r}.")
    try:
        entries = tuple(padding) if isinstance(padding, Iterable) else (operator.index(padding),) * rank
        pairs = tuple(tuple(map(operator.index, e if isinstance(e, Iterable) else (e, e))) for e in entries)
    except TypeError:
        pairs = ()
    if len(pairs) != rank or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            f"`padding` must be a name, an integer, or for each of the {rank} spatial axes an integer or a (low, high) "
            f"pair; got {padding!r}."
        )
    if any(abs(amount) >= MOST for pair in pairs for amount in pair):
        raise ValueError(f"`padding` must be below 2**31; got {padding!r}.")
    return tuple((low, high) for low, high in pairs)


def check_extent(window: Window, input_shape: Shape) -> None:
    """Checks that the padded input has fewer than 2**40 cells.

    Beyond that XLA may end the process.

    Args:
      window: the window.
      input_shape: spatial sizes of the input.

    Raises:
      ValueError: if the padded input has 2**40 cells or more.
    """
    padded = window.padded_shape(input_shape)
    known = [max(0, size) for size in padded if isinstance(size, int)]  # a size may be left open, for export
    if math.prod(known) >= _MOST_CELLS:
        raise ValueError(f"the padded input must have fewer than 2**40 cells; got {padded}.")


def resolve_window(
    input_shape: Shape,
    window_shape: int | Sequence[int],
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "VALID",
    input_dilation: int | Sequence[int] = 1,
    window_dilation: int | Sequence[int] = 1,
    strict: bool = False,
    ceil_mode: bool = False,
) -> Window:
    """Checks a window against the input that it slides over.

    Args:
      input_shape: spatial sizes of the input.
      window_shape: spatial sizes of the window.
      strides: steps of the window.
      padding: as in `resolve_padding`.
      input_dilation: spacing of the input's cells.
      window_dilation: spacing of the window's taps.
      strict: refuse a stride that leaves trailing cells unread; by default these cells are ignored, as in every
        framework.
      ceil_mode: add high padding for one more window that reads these cells, if that window begins inside the input
        or in the low padding (PyTorch's rule).

    Returns:
      The window, resolved to integers.

    Raises:
      ValueError: if an argument is malformed, the window does not fit, the padded input has 2**40 cells or more, or
        `strict` finds a remainder.
    """
    rank = len(input_shape)
    shape = per_axis(window_shape, rank, "window_shape")
    steps = per_axis(strides, rank, "strides")
    spacing = per_axis(input_dilation, rank, "input_dilation")
    taps = per_axis(window_dilation, rank, "window_dilation")
    pads = resolve_padding(padding, input_shape, shape, strides=steps, input_dilation=spacing, window_dilation=taps)
    window = Window(shape, steps, pads, spacing, taps)
    window = _rounded_up(window, input_shape) if ceil_mode else window
    check_extent(window, input_shape)
    padded = window.padded_shape(input_shape)
    if any(n and size < k for n, size, k in zip(input_shape, padded, window.extent, strict=True)):
        raise ValueError(f"the window must fit into the padded input, {padded}; got a window of {window.extent}.")
    if strict and any(window.remainder(input_shape)):
        raise ValueError(f"`strides` must divide padded input minus window, {padded} - {window.extent}; got {steps}.")
    return window


def _rounded_up(window: Window, input_shape: Shape) -> Window:
    """Adds high padding for one more output per axis.

    It does so where cells are left and that window begins before the end.
    """
    padding = []
    axes = zip(
        input_shape, window.padded_shape(input_shape), window.extent, window.strides, window.padding, strict=True
    )
    for n, size, k, s, (low, high) in axes:
        start = -((k - size) // s) * s  # of the last window, if the outputs are counted upwards
        missing = start + k - size
        padding.append((low, high + (missing if n and 0 <= start < size - high and missing > 0 else 0)))
    return window._replace(padding=tuple(padding))


def output_shape(input_shape: Sequence[int], window_shape: int | Sequence[int], **options) -> Shape:
    """Computes the spatial shape of the output of a window.

    Args:
      input_shape: spatial sizes of the input.
      window_shape: spatial sizes of the window.
      **options: as in `resolve_window`.

    Returns:
      The spatial sizes of the output.

    Raises:
      ValueError: as in `resolve_window`.
    """
    sizes = tuple(input_shape)
    return resolve_window(sizes, window_shape, **options).output_shape(sizes)
