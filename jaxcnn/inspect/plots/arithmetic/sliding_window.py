"""The sliding window with the numbers in the cells.

It shows one step, several, or all as an animation.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxcnn.inspect.arithmetic.sliding_window import Slide
from jaxcnn.inspect.plots import cells, saving, style

_TOLD = 9  # products that are written out


def sliding_window(slide: Slide, step: int = 0) -> Figure:
    """Draws one step of a sliding window.

    It shows the cells that the window reads, the kernel, and the outputs so far.

    Args:
      slide: the result of `inspect.slide`.
      step: the output cell, counted in row-major order.

    Returns:
      The figure.

    Raises:
      ValueError: if there is no such step.
    """
    return sliding_steps(slide, [step])


def sliding_steps(slide: Slide, steps: Sequence[int] | None = None) -> Figure:
    """Draws several steps, one below the other.

    Args:
      slide: the result of `inspect.slide`.
      steps: output cells, counted in row-major order; by default the first three and the last.

    Returns:
      The figure.

    Raises:
      ValueError: if there is no such step.
    """
    if steps is None:
        steps = sorted({0, 1, 2, slide.steps - 1} & set(range(slide.steps)))
    if not steps or not all(0 <= step < slide.steps for step in steps):
        raise ValueError(f"`steps` must be from 0 to {slide.steps - 1}; got {list(steps)}.")
    figure, rows = _sheet(slide, len(steps))
    for row, step in zip(rows, steps, strict=True):
        _draw(row, slide, step)
    return figure


def sliding_animation(slide: Slide, *, rate: float = 1.5) -> saving.Animation:
    """Animates all steps, one after the other.

    Args:
      slide: the result of `inspect.slide`.
      rate: steps per second.

    Returns:
      The animation.
    """
    figure, (row,) = _sheet(slide, 1)

    def draw(step: int) -> None:
        for axes in row:  # `axes.clear` would make all ticks anew
            for artist in (*axes.images, *axes.patches, *axes.lines, *axes.texts):
                artist.remove()
        _draw(row, slide, step)

    draw(0)
    return saving.Animation(figure, draw, slide.steps, rate)


def _sheet(slide: Slide, count: int) -> tuple[Figure, list[list[Axes]]]:
    shapes = [cells.shape_of(array) for array in (slide.padded, slide.kernel, slide.output)]
    return cells.arrange([[shapes[0], "*", shapes[1], "=", shapes[2]]] * count, title=_title(slide), below=0.36)


def _title(slide: Slide) -> str:
    inner = int(slide.real.any(1).sum()), int(slide.real.any(0).sum())
    kind = "transposed convolution" if slide.transposed else "convolution"
    told = [f"{kind}: input {cells.size(inner)}, kernel {cells.size(slide.kernel.shape)}"]
    told += [f"stride {cells.size(slide.strides)}"] if max(slide.strides) > 1 else []
    told += [f"dilation {cells.size(slide.dilation)}"] if max(slide.dilation) > 1 else []
    return ", ".join([*told, f"output {cells.size(slide.output.shape)}"])


def _draw(row: list[Axes], slide: Slide, step: int) -> None:
    left, middle, right = row
    reads = slide.reads(step)
    name = "input, spread apart" if slide.spread else "input" if slide.real.all() else "input with padding"
    cells.draw(left, slide.padded, name, real=slide.real, marked=reads)
    cells.draw(middle, slide.kernel, "kernel")
    written = np.full(slide.output.shape, np.nan)
    written.flat[: step + 1] = slide.output.flat[: step + 1]
    cells.draw(right, written, "output", marked=[slide.place(step)])
    figure: Any = left.figure
    lowest = min(axes.get_position().y0 for axes in row)
    x, y = left.get_position().x0, lowest - 0.1 / figure.get_figheight()
    text = style.shortened(_sum(slide, step, reads), figure.get_figwidth() - 0.2, 8)
    left.text(x, y, text, va="top", transform=figure.transFigure, **style.TEXT)  # goes with the panel's other texts


def _sum(slide: Slide, step: int, reads: np.ndarray) -> str:
    """The sum of products that a step computes.

    Products with padding are left out.
    """
    pairs = [
        (float(slide.padded[tuple(cell)]), float(weight))
        for cell, weight in zip(reads, slide.kernel.flat, strict=True)
        if slide.real[tuple(cell)]
    ]
    told = [f"{_in_brackets(x)}·{_in_brackets(w)}" for x, w in pairs[:_TOLD]]
    more = " + …" if len(pairs) > _TOLD else ""
    row, column = slide.place(step)
    return f"output[{row}, {column}] = {' + '.join(told) or '0'}{more} = {slide.output[row, column] + 0.0:.3g}"


def _in_brackets(number: float) -> str:
    return f"({number:.3g})" if number < 0 else f"{number + 0.0:.3g}"
