"""Figures of filters and their results on a picture."""

import math
from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from jaxcnn.inspect.arithmetic import classic_filters
from jaxcnn.inspect.plots import style


def filtered_pictures(filtered: Sequence[classic_filters.Filtered], *, columns: int = 5, size: float = 1.75) -> Figure:
    """Draws a picture through several filters, each with its kernel below.

    Filters whose taps sum to zero give signed results, drawn with zero in the middle of the color map.

    Args:
      filtered: the result of `inspect.apply_filters`.
      columns: number of pictures in a row.
      size: side of a picture, in inches.

    Returns:
      The figure.
    """
    columns = min(columns, len(filtered))
    rows = math.ceil(len(filtered) / columns)
    tall = size * filtered[0].result.shape[0] / filtered[0].result.shape[1]
    small = 0.42 * size
    title = f"a picture under {len(filtered)} filters, and their kernels; edges: {style.SIGNED_SAYS}"
    width = columns * (size + 0.1) + 0.1
    head = style.title_height(title, width) + 0.05
    step = tall + small + 0.4
    height = head + rows * step
    figure = style.canvas(width, height, title, layout=None)
    for place, (name, kernel, result) in enumerate(filtered):
        row, column = divmod(place, columns)
        left, top = 0.1 + column * (size + 0.1), height - head - row * step - 0.2
        axes = figure.add_axes((left / width, (top - tall) / height, size / width, tall / height))
        signed = is_signed(kernel)
        levels = None if signed else (0.0, 1.0)
        style.show(axes, _stretched(result) if signed else result, signed=signed, levels=levels)
        style.heading(axes, name)
        below = figure.add_axes((left / width, (top - tall - 0.06 - small) / height, small / width, small / height))
        image = style.show(below, kernel, signed=True)
        if max(kernel.shape) <= 3:
            part = _denominator(kernel)
            style.numbers(below, part * kernel, None, size=6)
            for text, value in zip(below.texts, kernel.flat, strict=True):
                text.set_color(style.ink_on(image.cmap(image.norm(value))))
            if part > 1:
                beside = {"va": "center", **style.SMALL}
                figure.text(
                    (left + small + 0.06) / width, (top - tall - 0.06 - small / 2) / height, f"/ {part}", **beside
                )
    return figure


def correlation_and_convolution(picture: ArrayLike, kernel: ArrayLike) -> Figure:
    """Draws the effect of a flipped kernel.

    It is shown on a single bright cell, which gives the kernel, and on a picture.

    Args:
      picture: `(H, W)`.
      kernel: `(kh, kw)`; the results differ only if it is not symmetric.

    Returns:
      The figure.
    """
    kernel = np.asarray(kernel, float)
    impulse = np.zeros([2 * k + 1 - k % 2 * 2 + 2 for k in kernel.shape])
    impulse[tuple(n // 2 for n in impulse.shape)] = 1
    title = (
        "correlation, as networks compute it, beside convolution, which flips the kernel; "
        f"{style.SIGNED_SAYS}; a single 1 comes out as the kernel only from the convolution"
    )
    figure = style.canvas(7.6, 5.4, title)
    grid = figure.subplots(2, 3)
    for row, image in zip(grid, (impulse, np.asarray(picture)), strict=True):
        (straight,), (flipped,) = (
            classic_filters.apply_filters(image, {"": kernel}, flip_kernel=flip) for flip in (False, True)
        )
        reach = style.reach([straight.result, flipped.result])
        style.show(row[0], image)
        for axes, result in ((row[1], straight.result), (row[2], flipped.result)):
            drawn = style.show(axes, result, signed=True, levels=(-reach, reach))
            if image is impulse:
                style.numbers(axes, result, drawn)
    style.numbers(grid[0, 0], impulse, grid[0, 0].images[0])
    for axes, name in zip(grid.flat, ("a single 1", "correlation", "convolution", "picture", "", ""), strict=True):
        style.heading(axes, name)
    return figure


def _denominator(kernel: np.ndarray) -> int:
    """Finds the least power of two that makes a filter whole.

    Their product has whole numbers only. The power is at most 256; without one, it is 1.
    """
    return next(
        (part for part in (2**power for power in range(9)) if np.all(part * kernel == np.rint(part * kernel))), 1
    )


def is_signed(kernel: np.ndarray) -> bool:
    """Whether a filter's taps sum to zero.

    Flat fields then come out as zero.
    """
    return bool(abs(kernel.sum()) < 1e-6 * np.abs(kernel).sum())


def _stretched(result: np.ndarray) -> np.ndarray:
    """Values cut at the largest percent of magnitudes.

    So one edge does not darken all others.
    """
    top = np.quantile(np.abs(result), 0.99) or 1.0
    return np.clip(result, -top, top)
