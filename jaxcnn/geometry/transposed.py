"""The windows of gradients and of transposed convolutions.

Letters as in `geometry.windows`.
"""

from collections.abc import Sequence

from jaxcnn.geometry.integers import Shape, per_axis
from jaxcnn.geometry.windows import Padding, Window, dilated_size, resolve_padding


def transposed_output_shape(
    input_shape: Sequence[int],
    window_shape: int | Sequence[int],
    *,
    strides: int | Sequence[int] = 1,
    padding: int | Sequence[int | tuple[int, int]] = 0,
    window_dilation: int | Sequence[int] = 1,
    remainder: int | Sequence[int] = 0,
) -> Shape:
    """Computes the spatial shape of a transposed convolution.

    It is `s (i - 1) + a + k - lo - hi`. The remainder is `a = (n + lo + hi - k) mod s` of the convolution that is
    transposed. With it, the result is exactly that convolution's input shape `n`.

    Args:
      input_shape: spatial sizes `i` of the input.
      window_shape: sizes `k` of the window.
      strides: steps `s` of the convolution that is transposed.
      padding: padding `(lo, hi)` of the convolution that is transposed, in integers.
      window_dilation: spacing of the window's taps.
      remainder: cells `a` added at the end. Each must be below the stride or below the dilation, as in PyTorch.

    Returns:
      The spatial sizes of the output.

    Raises:
      ValueError: if an argument is malformed, or a remainder is below neither its stride nor its dilation.

    Source: Dumoulin & Visin 2016, relation 14.
    """
    sizes = tuple(input_shape)
    rank = len(sizes)
    steps = per_axis(strides, rank, "strides")
    shape = per_axis(window_shape, rank, "window_shape")
    if isinstance(padding, str):
        raise ValueError(f"`padding` of a transposed size must be integers; got {padding!r}.")
    pads = transposed_padding(sizes, shape, steps, padding, remainder, window_dilation)
    window = Window(shape, (1,) * rank, pads, steps, per_axis(window_dilation, rank, "window_dilation"))
    return window.output_shape(sizes)


def transposed_window(window: Window, input_shape: Sequence[int]) -> Window:
    """Returns the window of the input gradient.

    It goes from output cells back to the input cells that they read. Strides and input dilation change places, and `lo'
    = d (k - 1) - lo` for a window dilation d. The high padding is chosen so that the output shape is exactly
    `input_shape`.

    Args:
      window: the window of the forward operation.
      input_shape: spatial sizes of its input.

    Returns:
      The window of the input gradient.
    """
    errors = map(dilated_size, window.output_shape(tuple(input_shape)), window.strides)
    sizes = map(dilated_size, input_shape, window.input_dilation)
    low = [k - 1 - p for k, (p, _) in zip(window.extent, window.padding, strict=True)]
    high = [n + k - 1 - e - p for n, k, e, p in zip(sizes, window.extent, errors, low, strict=True)]
    return window._replace(
        strides=window.input_dilation, padding=tuple(zip(low, high, strict=True)), input_dilation=window.strides
    )


def tap_window(window: Window, input_shape: Sequence[int]) -> Window:
    """Returns the window of the kernel gradient.

    It is a correlation of input and errors, with one output cell per tap.

    Strides and window dilation change places. The high padding is chosen so that the output shape is exactly
    `window.shape`.

    Args:
      window: the window of the forward operation.
      input_shape: spatial sizes of its input.

    Returns:
      The window of the kernel gradient.
    """
    output = window.output_shape(tuple(input_shape))
    errors = map(dilated_size, output, window.strides)
    sizes = map(dilated_size, input_shape, window.input_dilation)
    low = [p for p, _ in window.padding]
    high = [k - 1 + e - n - p for k, e, n, p in zip(window.extent, errors, sizes, low, strict=True)]
    return Window(output, window.dilation, tuple(zip(low, high, strict=True)), window.input_dilation, window.strides)


def transposed_padding(
    input_shape: Sequence[int],
    window_shape: Sequence[int],
    strides: int | Sequence[int],
    padding: Padding,
    remainder: int | Sequence[int],
    window_dilation: int | Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """Computes the padding around the dilated input of a transposed convolution.

    Args:
      input_shape: spatial sizes of the input.
      window_shape: spatial sizes of the window.
      strides: steps of the convolution that is transposed.
      padding: its padding in integers, or `"SAME"` or `"VALID"` with the meaning of `lax.conv_transpose`.
      remainder: cells added at the end; must be 0 where `padding` is a name.
      window_dilation: spacing of the window's taps.

    Returns:
      One `(low, high)` pair per axis.

    Raises:
      ValueError: if an argument is malformed, or a remainder is below neither its stride nor its dilation.
    """
    rank = len(window_shape)
    steps = per_axis(strides, rank, "strides")
    extra = per_axis(remainder, rank, "remainder", minimum=0)
    taps = per_axis(window_dilation, rank, "window_dilation")
    extents = tuple(map(dilated_size, window_shape, taps))
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise ValueError(f"`padding` must be SAME, VALID, or integers; got {padding!r}.")
        if any(extra):
            raise ValueError(f"`remainder` needs integers as `padding`; got {extra} with {padding!r}.")
        if padding == "VALID":
            return tuple((k - 1, k - 1 + max(s - k, 0)) for s, k in zip(steps, extents, strict=True))
        totals = [k + s - 2 for s, k in zip(steps, extents, strict=True)]
        lows = [k - 1 if s > k - 1 else -(-total // 2) for s, k, total in zip(steps, extents, totals, strict=True)]
        return tuple((low, total - low) for low, total in zip(lows, totals, strict=True))
    if any(a >= max(s, d) for a, s, d in zip(extra, steps, taps, strict=True)):
        raise ValueError(f"`remainder` must be below the stride, {steps}, or the dilation, {taps}; got {extra}.")
    pads = resolve_padding(padding, tuple(input_shape), tuple(window_shape))
    return tuple((k - 1 - low, k - 1 - high + a) for k, (low, high), a in zip(extents, pads, extra, strict=True))
