"""A network drawn from its summary."""

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from jaxcnn.inspect.arithmetic.counts import short
from jaxcnn.inspect.plots import style
from jaxcnn.models import LayerRow, Summary

_WIDTH, _STEP, _TALL, _LINE = 9.4, 0.66, 0.8, 0.107  # inches: the figure, a column, the largest block, a line of text
_FILLS = {"conv": ("#c9d3e4", ""), "pool": ("#e9eaec", "///"), "dense": ("#ecd3c3", "")}
_KINDS, _MOST = ("conv", "linear", "dense"), 12  # characters in a line
_SAYS = {"conv": "convolution", "pool": "pooling", "dense": "fully connected"}


def architecture(summary: Summary) -> Figure:
    """Draws the layers that change the shape or have kernels.

    They are in the order of their calls. The height of a block shows its spatial size, the width its channels, both on
    a square-root scale.

    Args:
      summary: the result of `models.summary`.

    Returns:
      The figure.
    """
    rows = [row for row in summary.rows if kind_of(row)]
    columns = int((_WIDTH - 0.2) / _STEP)
    count = math.ceil(len(rows) / columns)
    columns = math.ceil(len(rows) / count) if count else 1
    width = max(columns * _STEP + 0.2, 4.2)
    title = f"{len(rows)} layers, {short(summary.parameters)} parameters, {short(summary.multiply_adds)} multiply-adds"
    head = style.title_height(title, width)
    labels = ["\n".join([*_broken(row.name), *_shape(row)]) for row in rows]
    tallest = 0.35 + _TALL + _LINE * max((label.count("\n") + 1 for label in labels), default=0)
    height = head + count * tallest + 0.3
    figure = style.canvas(width, height, title, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.axis("off")
    sides = [_side(row) for row in rows]
    widths = [list(row.output_shape)[-1] for row in rows]
    options: dict[str, Any] = {"ha": "center", "va": "top", "linespacing": 1.15, **style.SMALL, "fontsize": 6.5}
    for place, (row, side, label) in enumerate(zip(rows, sides, labels, strict=True)):
        line, column = divmod(place, columns)
        x = 0.1 + (column + 0.5) * _STEP
        base = height - head - line * tallest - 0.12 - _TALL
        share = math.sqrt(widths[place] / max(widths))
        if len(row.output_shape) > 2:
            tall, wide = _TALL * math.sqrt(side / max(sides)), 0.06 + 0.3 * share
        else:
            tall, wide = 0.1 + 0.7 * _TALL * share, 0.09
        _block(axes, x, base + (_TALL - tall) / 2, max(tall, 0.06), wide, kind_of(row))
        axes.text(x, base - 0.06, label, **options)
    _legend(axes, {kind_of(row) for row in rows})
    return figure


def kind_of(row: LayerRow) -> str:
    """The kind of a layer that is drawn, or nothing."""
    name = row.kind.lower()
    if "pool" in name or name == "subsample":
        return "pool"
    if not row.multiply_adds:
        return ""
    return "conv" if len(row.output_shape) > 2 else "dense"


def _block(axes: Axes, x: float, y: float, tall: float, wide: float, kind: str) -> None:
    fill, hatch = _FILLS[kind]
    box = {"fc": fill, "ec": style.INK, "lw": 0.6}
    depth = 0.0 if kind == "dense" else min(0.09, 0.3 * tall)
    left = x - wide / 2 - depth / 2
    axes.add_patch(Rectangle((left, y), wide, tall, **box))
    if hatch:
        axes.add_patch(Rectangle((left, y), wide, tall, fill=False, lw=0, ec=style.FAINT, hatch=hatch))
    if depth:
        right, top = left + wide, y + tall
        behind = right + depth, top + depth
        axes.add_patch(Polygon([(left, top), (left + depth, top + depth), behind, (right, top)], **box))
        axes.add_patch(Polygon([(right, y), (right + depth, y + depth), behind, (right, top)], **box))


def _side(row: LayerRow) -> float:
    return max(row.output_shape[1:-1], default=1)


def _shape(row: LayerRow) -> list[str]:
    *spatial, channels = row.output_shape[1:]
    return ["x".join(map(str, spatial)), str(channels)] if spatial else [str(channels)]


def _broken(name: str) -> list[str]:
    """A path in lines of a column's width.

    A last part that only says the kind is left out.
    """
    parts = name.split("/")
    parts = parts[:-1] if len(parts) > 1 and parts[-1] in _KINDS else parts
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + 2 <= _MOST:
            lines[-1] += f"/{part}"
        else:
            lines[-1] += "/"
            lines.append(part)
    return [style.shortened(line, _STEP, 6.5) for line in lines]


def _legend(axes: Axes, kinds: set[str]) -> None:
    x = 0.1
    for kind in (kind for kind in _FILLS if kind in kinds):
        fill, hatch = _FILLS[kind]
        axes.add_patch(Rectangle((x, 0.1), 0.16, 0.12, fc=fill, ec=style.FAINT, hatch=hatch, lw=0.6))
        axes.text(x + 0.22, 0.16, _SAYS[kind], va="center", **style.SMALL)
        x += 0.45 + 0.075 * len(_SAYS[kind])
