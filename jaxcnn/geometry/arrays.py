"""Checks that arrays have the shapes that an op or a network reads."""

from collections.abc import Sequence

from jaxcnn.geometry.windows import Padding, Window, integer, per_axis, resolve_window


def check_rank(shape: Sequence[int]) -> None:
    """Checks that `(N, *spatial, C)` has 1 to 3 spatial axes.

    Raises:
      ValueError: if it has not.
    """
    if len(shape) not in (3, 4, 5):
        raise ValueError(f"`inputs` must be (N, *spatial, C) with 1 to 3 spatial axes; got shape {tuple(shape)}.")


def check_field(shape: Sequence[int]) -> None:
    """Checks that `(N, *spatial, C)` has 1 to 3 spatial axes and that none is empty.

    Raises:
      ValueError: if it is otherwise.
    """
    check_rank(shape)
    if 0 in shape[1:-1]:
        raise ValueError(f"`inputs` must have no empty spatial axis; got shape {tuple(shape)}.")


def check_kernel(inputs_shape: Sequence[int], kernel_shape: Sequence[int]) -> None:
    """Checks that a kernel `(*window, I, O)` has the rank of `inputs`.

    Raises:
      ValueError: if it has not.
    """
    check_rank(inputs_shape)
    if len(kernel_shape) != len(inputs_shape):
        raise ValueError(
            f"`kernel` must have as many axes as `inputs`, (*window, I, O); "
            f"got {tuple(kernel_shape)} for inputs {tuple(inputs_shape)}."
        )


def check_groups(channels: int, kernel_inputs: int, kernel_outputs: int, groups: int) -> None:
    """Checks that `groups` divides the channels and that the kernel has `channels / groups` inputs.

    Raises:
      ValueError: if it does not.
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
    """Checks the shapes of a convolution, `(N, *spatial, C)` with `(*window, I, O)`.

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
    """Checks the shapes of a locally connected layer, `(N, *spatial, C)` with `(*output, *window, C, O)`.

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
    """Checks the shapes of a pooling of `(N, *spatial, C)`; `strides=None` means the window's shape.

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
    """Checks a batch `(N, *expected)` before a network reads it; `None` stands for any size.

    Raises:
      ValueError: if rank, size or channels differ from what the network expects.
    """
    wrong_rank = len(shape) != len(expected) + 1
    if wrong_rank or any(e is not None and n != e for n, e in zip(shape[1:], expected, strict=True)):
        wanted = ", ".join("any" if e is None else str(e) for e in expected)
        raise ValueError(f"{network} expects images of shape (N, {wanted}); got {tuple(shape)}.")
