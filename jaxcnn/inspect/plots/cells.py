"""Small arrays as cells with their numbers, arranged like a formula."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxcnn.inspect.plots import style

CELL = 0.36  # inches
_MARGIN, _GAP, _HEAD = 0.1, 0.22, 0.24
_READABLE = 0.19  # the smallest cell with a number in it


def arrange(
    rows: Sequence[Sequence[tuple[int, int] | str]],
    *,
    title: str = "",
    cell: float = CELL,
    below: float = 0.1,
    headed: Sequence[str] = (),
) -> tuple[Figure, list[list[Axes]]]:
    """An empty figure with rows of panels, and signs between them.

    The cells of all panels have one size.

    Args:
      rows: the panels' shapes, and between them signs such as `"="`.
      title: title of the figure.
      cell: side of a cell, in inches.
      below: room under each row, in inches.
      headed: a line above each row.

    Returns:
      The figure, and the panels of each row.
    """

    def wide(item: tuple[int, int] | str) -> float:
        return 0.2 if isinstance(item, str) else max(item[1] * cell, 0.45)

    width = max([4.2, *(2 * _MARGIN + sum(map(wide, row)) + _GAP * (len(row) - 1) for row in rows)])
    tall = [max(item[0] for item in row if not isinstance(item, str)) * cell for row in rows]
    line = 0.28 if headed else 0.0
    height = style.title_height(title, width) + sum(tall) + len(rows) * (_HEAD + below + line) + 0.05
    figure = style.canvas(width, height, title, layout=None)
    top = height - style.title_height(title, width)
    panels = []
    for number, row in enumerate(rows):
        if headed:
            text = {"ha": "left", "va": "top", **style.TEXT}
            figure.text(_MARGIN / width, (top - 0.1) / height, headed[number], weight="bold", **text)
        top -= line + _HEAD
        middle, left, placed = top - tall[number] / 2, _MARGIN, []
        for item in row:
            if isinstance(item, str):
                options: dict[str, Any] = style.TEXT | {"fontsize": 11}
                figure.text((left + 0.1) / width, middle / height, item, ha="center", va="center", **options)
            else:
                high = item[0] * cell
                box = (left / width, (middle - high / 2) / height, item[1] * cell / width, high / height)
                placed.append(figure.add_axes(box))
            left += wide(item) + _GAP
        panels.append(placed)
        top -= tall[number] + below
    return figure, panels


def draw(
    axes: Axes,
    values: Any,
    title: str = "",
    *,
    real: np.ndarray | None = None,
    marked: Any = (),
    marks: Sequence[str] = (style.ACCENT,),
) -> None:
    """Fills a panel with cells tinted by sign, zero white.

    Their numbers are shown where these can be read.

    Args:
      axes: a panel of `arrange`.
      values: `(H, W)`; what is NaN stays empty.
      title: of the panel.
      real: `(H, W)` bool; the other cells are hatched, as padding.
      marked: cells `(n, 2)` to outline.
      marks: the outlines' colors, taken in turn.
    """
    values = np.asarray(values, float)
    height, width = values.shape
    figure: Any = axes.figure
    tint = np.ma.masked_invalid(values if real is None else np.where(real, values, np.nan))
    reach = style.reach([tint.compressed()])
    style.show(axes, tint, levels=(-reach, reach), cmap=style.PALE)
    if real is not None:
        for y, x in np.argwhere(~real):
            box = Rectangle((x - 0.5, y - 0.5), 1, 1, fc="#f4f4f2", ec="#dcdedf", lw=0, hatch="///", zorder=1)
            axes.add_patch(box)
    side = axes.get_position().width * figure.get_figwidth() / width
    if side >= _READABLE:
        size = 7 if side > 0.3 else 6
        style.numbers(axes, values, size=size, most=int(72 * side / (0.64 * size)))  # a digit is 0.64 as wide
    if side > 0.08:
        for edge in range(1, width):
            axes.axvline(edge - 0.5, color=style.FAINT, lw=0.5, zorder=2)
        for edge in range(1, height):
            axes.axhline(edge - 0.5, color=style.FAINT, lw=0.5, zorder=2)
    for number, (y, x) in enumerate(marked):
        color = marks[number % len(marks)]
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, ec=color, lw=1.8, zorder=3, clip_on=False))
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    style.heading(axes, title)


def shape_of(array: Any) -> tuple[int, int]:
    """The shape of a panel for an array."""
    height, width = np.shape(array)
    return height, width


def size(shape: Sequence[int]) -> str:
    """A shape in words, as 4x4."""
    return "x".join(map(str, shape))
