"""Convolution and pooling as matrices.

They have one row for each output cell, one column for each input cell. The layer is `y = W x`, and its input gradient
is `W^T g`.
"""

import math
from typing import TYPE_CHECKING, Literal

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcnn import geometry, ops
from jaxcnn.geometry import Padding, Shape, Window
from jaxcnn.ops import reference

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def cells_read(window: Window, input_shape: Shape) -> np.ndarray:
    """Computes which input cell each tap of each window reads.

    Args:
      window: the window.
      input_shape: spatial sizes of the input.

    Returns:
      `(outputs, taps)` int, numbers of input cells in row-major order; -1 where a tap reads padding or a gap.
    """
    read = np.zeros((1, 1), int)
    sizes = window.output_shape(input_shape)
    for n, outputs, k, s, d, b, (low, _) in zip(
        input_shape,
        sizes,
        window.shape,
        window.strides,
        window.dilation,
        window.input_dilation,
        window.padding,
        strict=True,
    ):
        place = s * np.arange(outputs)[:, None] + d * np.arange(k) - low
        cell = np.where((place >= 0) & (place <= (n - 1) * b) & (place % b == 0), place // b, -1)
        both = read[:, None, :, None] * n + cell[None, :, None, :]
        both = np.where((read[:, None, :, None] < 0) | (cell[None, :, None, :] < 0), -1, both)
        read = both.reshape(read.shape[0] * outputs, read.shape[1] * k)
    return read


def convolution_matrix(
    kernel: ArrayLike,
    input_shape: tuple[int, ...],
    *,
    strides: int | tuple[int, ...] = 1,
    padding: Padding = "SAME",
    input_dilation: int | tuple[int, ...] = 1,
    kernel_dilation: int | tuple[int, ...] = 1,
    feature_group_count: int = 1,
    flip_kernel: bool = False,
) -> "csr_array":
    """Makes the sparse matrix W of a convolution.

    The result `conv(x)` is `W x`, and its input gradient is `W^T g`.

    Args:
      kernel: `(*window, C / feature_group_count, O)`, with 1 to 3 spatial axes.
      input_shape: `(*spatial, C)`, the shape of one example.
      strides: steps of the window, as in `ops.conv`.
      padding: as in `ops.conv`.
      input_dilation: spacing of the input's cells; above 1 this is a transposed convolution.
      kernel_dilation: spacing of the kernel's taps.
      feature_group_count: number of groups.
      flip_kernel: reverse the kernel along its spatial axes.

    Returns:
      A SciPy sparse array; row `(*output, O)`, column `(*spatial, C)`, both in row-major order. Taps on padding have no
      entry; a weight of zero has one.

    Raises:
      ValueError: if shapes disagree or the window does not fit.

    Source: Dumoulin & Visin 2016, section 4.1.
    """
    from scipy.sparse import coo_array

    kernel = np.asarray(kernel)
    groups = feature_group_count
    window = geometry.conv_window(
        (1, *input_shape),
        kernel.shape,
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
        feature_group_count=groups,
    )
    *spatial, channels = input_shape
    own, maps = kernel.shape[-2:]
    taps = np.flip(kernel, tuple(range(len(spatial)))) if flip_kernel else kernel
    taps = taps.reshape(-1, own, maps)
    read = cells_read(window, tuple(spatial))
    outputs, tap = np.nonzero(read >= 0)
    cell = read[outputs, tap]
    first = np.arange(maps) // (maps // groups) * own  # the first channel that each map sees
    shape = (len(cell), own, maps)
    rows = np.broadcast_to((outputs * maps)[:, None, None] + np.arange(maps), shape)
    columns = np.broadcast_to((cell * channels)[:, None, None] + np.arange(own)[:, None] + first, shape)
    entries = (taps[tap].ravel(), (rows.ravel(), columns.ravel()))
    return coo_array(entries, shape=(len(read) * maps, math.prod(input_shape))).tocsr()


def pool_matrix(
    inputs: ArrayLike,
    window_shape: int | tuple[int, ...],
    *,
    kind: Literal["max", "average"] = "max",
    strides: int | tuple[int, ...] | None = None,
    padding: Padding = "VALID",
    window_dilation: int | tuple[int, ...] = 1,
) -> "csr_array":
    """Makes the sparse matrix G of a pool, given its input.

    The result is `y = G x`, and its input gradient is `G^T g`. For the mean, G is constant. For the maximum, each row
    has a single 1, at the winner. So G depends on the input, and must be kept for the gradient.

    Args:
      inputs: `(*spatial, C)`, one example.
      window_shape: size of the window, one for all axes or one per axis.
      kind: `"max"` or `"average"`.
      strides: steps of the window; the default is the window's shape.
      padding: as in `ops.max_pool`.
      window_dilation: spacing of the window's taps.

    Returns:
      A SciPy sparse array; row `(*output, C)`, column `(*spatial, C)`, both in row-major order. A window with only
      padding has an empty row.

    Raises:
      ValueError: if shapes disagree, the window does not fit, or `kind` is unknown.
    """
    from scipy.sparse import coo_array

    if kind not in ("max", "average"):
        raise ValueError(f"`kind` must be 'max' or 'average'; got {kind!r}.")
    inputs = jnp.asarray(inputs)
    options = {"strides": strides, "padding": padding, "window_dilation": window_dilation}
    window = geometry.pool_window((1, *inputs.shape), window_shape, **options)
    *spatial, channels = inputs.shape
    read = cells_read(window, tuple(spatial))
    if kind == "average":
        outputs, tap = np.nonzero(read >= 0)
        cell, channel = read[outputs, tap][:, None], np.arange(channels)
        rows, columns = outputs[:, None] * channels + channel, cell * channels + channel
        weight = 1 / math.prod(window.shape)
    else:
        _, switches = ops.max_pool_with_switches(inputs[None], window_shape, **options)
        winners = np.asarray(switches, int).reshape(len(read), channels)
        real = winners < math.prod(window.shape)  # others tell of windows that lie wholly in the padding
        outputs, channel = np.nonzero(real)
        rows = outputs * channels + channel
        columns = read[outputs, winners[real]] * channels + channel
        weight = 1.0
    values = np.full(rows.size, weight, inputs.dtype)
    entries = (values, (rows.ravel(), columns.ravel()))
    return coo_array(entries, shape=(len(read) * channels, inputs.size)).tocsr()


def im2col(
    inputs: ArrayLike,
    window_shape: int | tuple[int, ...],
    *,
    strides: int | tuple[int, ...] = 1,
    padding: Padding = "SAME",
    input_dilation: int | tuple[int, ...] = 1,
    kernel_dilation: int | tuple[int, ...] = 1,
) -> np.ndarray:
    """Writes every window of an example as a row.

    The product with the kernel as a matrix is the convolution.

    Args:
      inputs: `(*spatial, C)`, one example.
      window_shape: size of the window, one for all axes or one per axis.
      strides: steps of the window, as in `ops.conv`.
      padding: as in `ops.conv`.
      input_dilation: spacing of the input's cells.
      kernel_dilation: spacing of the kernel's taps.

    Returns:
      `(outputs, taps C)`; its product with `kernel.reshape(taps C, O)` is `(outputs, O)`.

    Raises:
      ValueError: if shapes disagree or the window does not fit.
    """
    inputs = jnp.asarray(inputs)
    window = geometry.resolve_window(
        inputs.shape[:-1],
        window_shape,
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        window_dilation=kernel_dilation,
    )
    columns = np.asarray(reference.plain_im2col(inputs[None], window))[0]
    return columns.reshape(math.prod(columns.shape[:-2]), -1)


def pooled_shape(input_shape: Shape, window_shape: int | tuple[int, ...], **options) -> Shape:
    """Computes the spatial shape after a pool.

    Options and errors as in `pool_matrix`.
    """
    given = {"strides": None, "padding": "VALID"} | options
    return geometry.pool_window((1, *input_shape, 1), window_shape, **given).output_shape(input_shape)
