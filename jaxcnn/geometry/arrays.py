"""Checks that arrays have the shapes that an op reads.

A network may read them too.
"""

from collections.abc import Sequence

from jaxcnn.geometry.integers import integer, per_axis
from jaxcnn.geometry.windows import Padding, Window, resolve_window


def check_rank(shape: Sequence[int]) -> None:
    """Checks that `(N, *spatial, C)` has 1 to 3 spatial axes.

    Args:
      shape: shape of the array, with the batch and channel axes.

    Raises:
      ValueError: if the number of axes is not 3, 4 or 5.
    """
    if len(shape) not in (3, 4, 5):
        raise ValueError(f"`inputs` must be (N, *spatial, C) with 1 to 3 spatial axes; got shape {tuple(shape)}.")


def check_field(shape: Sequence[int]) -> None:
    """Checks that an array has 1 to 3 nonempty spatial axes.

    Args:
      shape: shape of the array, `(N, *spatial, C)`.

    Raises:
      ValueError: if the number of axes is not 3, 4 or 5, or a spatial axis has size 0.
    """
    check_rank(shape)
    if 0 in shape[1:-1]:
        raise ValueError(f"`inputs` must have no empty spatial axis; got shape {tuple(shape)}.")


def check_kernel(inputs_shape: Sequence[int], kernel_shape: Sequence[int]) -> None:
    """Checks that a kernel has as many axes as its inputs.

    Args:
      inputs_shape: shape of the inputs, `(N, *spatial, C)`.
      kernel_shape: shape of the kernel, `(*window, I, O)`.

    Raises:
      ValueError: if the numbers of axes differ, or `inputs` does not have 1 to 3 spatial axes.
    """
    check_rank(inputs_shape)
    if len(kernel_shape) != len(inputs_shape):
        raise ValueError(
            f"`kernel` must have as many axes as `inputs`, (*window, I, O); "
            f"got {tuple(kernel_shape)} for inputs {tuple(inputs_shape)}."
        )


def check_groups(channels: int, kernel_inputs: int, kernel_outputs: int, groups: int) -> None:
    """Checks that the number of groups fits channels and kernel.

    Args:
      channels: channels of the inputs.
      kernel_inputs: inputs per group of the kernel, the axis `I` of `(*window, I, O)`.
      kernel_outputs: outputs of the kernel, the axis `O`.
      groups: number of groups.

    Raises:
      ValueError: if `groups` does not divide the channels and the outputs, or `kernel_inputs` is not
        `channels / groups`.
    """
    integer(groups, "feature_group_count")
    if channels % groups or kernel_outputs % groups:
        raise ValueError(
            f"`feature_group_count` must divide the {channels} input channels and {kernel_outputs} outputs; "
            f"got {groups}."
        )
    if channels != kernel_inputs * groups:
        raise ValueError(
            f"`kernel` must have {channels} / {groups} = {channels // groups} inputs per group; got {kernel_inputs}."
        )


def conv_window(
    inputs_shape: Sequence[int],
    kernel_shape: Sequence[int],
    *,
    strides: int | Sequence[int],
    padding: Padding,
    input_dilation: int | Sequence[int],
    kernel_dilation: int | Sequence[int],
    feature_group_count: int,
    strict: bool = False,
) -> Window:
    """Checks the shapes of a convolution and returns its window.

    Args:
      inputs_shape: shape of the inputs, `(N, *spatial, C)`.
      kernel_shape: shape of the kernel, `(*window, C / feature_group_count, O)`.
      strides: steps of the window, in cells.
      padding: as in `resolve_padding`.
      input_dilation: spacing of the input's cells.
      kernel_dilation: spacing of the kernel's taps.
      feature_group_count: number of groups.
      strict: refuse strides that leave trailing cells unread.

    Returns:
      The window, resolved to integers.

    Raises:
      ValueError: if ranks, channels or groups disagree, or the window is refused by `resolve_window`.
    """
    inputs_shape, kernel_shape = tuple(inputs_shape), tuple(kernel_shape)
    check_kernel(inputs_shape, kernel_shape)
    check_groups(inputs_shape[-1], kernel_shape[-2], kernel_shape[-1], feature_group_count)
    return resolve_window(
        inputs_shape[1:-1],
        kernel_shape[:-2],
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        window_dilation=kernel_dilation,
        strict=strict,
    )


def local_window(
    inputs_shape: Sequence[int],
    kernel_shape: Sequence[int],
    *,
    strides: int | Sequence[int],
    padding: Padding,
    kernel_dilation: int | Sequence[int],
    strict: bool = False,
) -> Window:
    """Checks a locally connected layer's shapes, and returns its window.

    Args:
      inputs_shape: shape of the inputs, `(N, *spatial, C)`.
      kernel_shape: shape of the kernel, `(*output, *window, C, O)`.
      strides: steps of the window, in cells.
      padding: as in `resolve_padding`.
      kernel_dilation: spacing of the kernel's taps.
      strict: refuse strides that leave trailing cells unread.

    Returns:
      The window, resolved to integers.

    Raises:
      ValueError: if ranks, channels or output sizes disagree, or the window is refused by `resolve_window`.
    """
    check_rank(inputs_shape)
    rank, kernel_shape = len(inputs_shape) - 2, tuple(kernel_shape)
    if len(kernel_shape) != 2 * rank + 2:
        raise ValueError(f"`kernel` must be (*output, *window, C, O), {2 * rank + 2} axes; got shape {kernel_shape}.")
    sizes = tuple(inputs_shape[1:-1])
    window = resolve_window(
        sizes,
        kernel_shape[rank:-2],
        strides=strides,
        padding=padding,
        window_dilation=kernel_dilation,
        strict=strict,
    )
    expected = (*window.output_shape(sizes), *window.shape, inputs_shape[-1])
    if kernel_shape[:-1] != expected:
        raise ValueError(f"`kernel` must begin with (*output, *window, C) = {expected}; got shape {kernel_shape}.")
    return window


def pool_window(
    inputs_shape: Sequence[int],
    window_shape: int | Sequence[int],
    strides: int | Sequence[int] | None,
    padding: Padding,
    window_dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    strict: bool = False,
) -> Window:
    """Checks the shapes of a pooling and returns its window.

    Args:
      inputs_shape: shape of the inputs, `(N, *spatial, C)`.
      window_shape: sizes of the window, one for all axes or one per axis.
      strides: steps of the window, in cells; None means the window's shape.
      padding: as in `resolve_padding`.
      window_dilation: spacing of the window's taps.
      ceil_mode: as in `resolve_window`.
      strict: refuse strides that leave trailing cells unread.

    Returns:
      The window, resolved to integers.

    Raises:
      ValueError: if the rank is wrong or the window is refused by `resolve_window`.
    """
    inputs_shape = tuple(inputs_shape)
    check_rank(inputs_shape)
    window_shape = per_axis(window_shape, len(inputs_shape) - 2, "window_shape")
    return resolve_window(
        inputs_shape[1:-1],
        window_shape,
        strides=window_shape if strides is None else strides,
        padding=padding,
        window_dilation=window_dilation,
        ceil_mode=ceil_mode,
        strict=strict,
    )


def expect_images(shape: Sequence[int], expected: Sequence[int | None], network: str) -> None:
    """Checks the shape of a batch before a network reads it.

    Args:
      shape: shape of the batch, `(N, *spatial, C)`.
      expected: the sizes that the network expects after `N`; None allows any size.
      network: name of the network, for the message.

    Raises:
      ValueError: if rank, size or channels differ from what the network expects.
    """
    wrong_rank = len(shape) != len(expected) + 1
    if wrong_rank or any(e is not None and n != e for n, e in zip(shape[1:], expected, strict=True)):
        wanted = ", ".join("any" if e is None else str(e) for e in expected)
        raise ValueError(f"{network} expects images of shape (N, {wanted}); got {tuple(shape)}.")
