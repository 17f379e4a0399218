"""One convolution step by step.

It tells the cells that the window reads, and the cell that it writes.
"""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.geometry import Padding, Window
from jaxcnn.inspect.arithmetic.matrices import cells_read


class Slide(NamedTuple):
    """A convolution of one map with one kernel.

    With one spatial axis, the arrays have a single row.

    Args:
      padded: `(H, W)`, the input after dilation and padding.
      real: `(H, W)` bool, the cells that come from the input.
      kernel: `(kh, kw)`, in the order in which it is multiplied with the input.
      output: `(h, w)`.
      strides: steps of the window.
      dilation: spacing of the kernel's taps.
      transposed: whether this is a transposed convolution.
      spread: whether there are zeros between the input's cells.
    """

    padded: np.ndarray
    real: np.ndarray
    kernel: np.ndarray
    output: np.ndarray
    strides: tuple[int, int]
    dilation: tuple[int, int]
    transposed: bool
    spread: bool

    @property
    def steps(self) -> int:
        """The number of positions of the window."""
        return self.output.size

    def place(self, step: int) -> tuple[int, int]:
        """Returns the output cell that a step writes.

        Args:
          step: number of the output cell, in row-major order.

        Returns:
          Row and column.
        """
        row, column = divmod(step, self.output.shape[1])
        return row, column

    def reads(self, step: int) -> np.ndarray:
        """Returns the cells of the padded input that are read.

        They are those that the taps read in a step.

        Args:
          step: number of the output cell, in row-major order.

        Returns:
          `(taps, 2)`, row and column of each, in row-major order of the taps.
        """
        taps = np.indices(self.kernel.shape).reshape(2, -1).T
        return np.array(self.place(step)) * self.strides + taps * self.dilation


def slide(
    inputs: ArrayLike,
    kernel: ArrayLike,
    *,
    strides: int | tuple[int, ...] = 1,
    padding: Padding = "VALID",
    input_dilation: int | tuple[int, ...] = 1,
    kernel_dilation: int | tuple[int, ...] = 1,
    flip_kernel: bool = False,
    transposed: bool = False,
) -> Slide:
    """Splits a convolution into the steps of its window.

    Args:
      inputs: `(H, W)`, or `(L,)`.
      kernel: `(kh, kw)`, or `(k,)`.
      strides: steps of the window, as in `ops.conv`.
      padding: as in `ops.conv`; if `transposed`, as in `ops.conv_transpose`.
      input_dilation: spacing of the input's cells.
      kernel_dilation: spacing of the kernel's taps.
      flip_kernel: reverse the kernel, for the convolution of signal processing.
      transposed: show `ops.conv_transpose`, whose strides dilate the input.

    Returns:
      The steps.

    Raises:
      ValueError: if ranks disagree or are neither 1 nor 2, or the window does not fit.
    """
    inputs, kernel = np.asarray(inputs), np.asarray(kernel)
    if inputs.ndim not in (1, 2) or kernel.ndim != inputs.ndim:
        raise ValueError(
            f"`inputs` and `kernel` must both have 1 or both 2 axes; got shapes {inputs.shape} and {kernel.shape}."
        )
    if transposed:
        padding = geometry.transposed_padding(inputs.shape, kernel.shape, strides, padding, 0, kernel_dilation)
        strides, input_dilation = 1, strides
    window = geometry.resolve_window(
        inputs.shape,
        kernel.shape,
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        window_dilation=kernel_dilation,
    )
    kernel = np.flip(kernel) if flip_kernel else kernel
    read = cells_read(window, inputs.shape)
    output = (np.where(read >= 0, inputs.ravel()[read], 0) * kernel.ravel()).sum(1)
    size, padded = window.padded_shape(inputs.shape), _alone(window)
    place = cells_read(padded, inputs.shape).reshape(size)
    real = place >= 0
    return Slide(
        padded=_plane(np.where(real, inputs.ravel()[place], 0)),
        real=_plane(real),
        kernel=_plane(kernel),
        output=_plane(output.reshape(window.output_shape(inputs.shape))),
        strides=_pair(window.strides),
        dilation=_pair(window.dilation),
        transposed=transposed,
        spread=max(window.input_dilation) > 1,
    )


def _alone(window: Window) -> Window:
    """A window of one cell, which reads the padded input itself."""
    ones = (1,) * len(window.shape)
    return window._replace(shape=ones, strides=ones, dilation=ones)


def _plane(array: np.ndarray) -> np.ndarray:
    return array if array.ndim == 2 else array[None]


def _pair(entries: tuple[int, ...]) -> tuple[int, int]:
    return (1, *entries)[-2:]  # pyright: ignore[reportReturnType]
