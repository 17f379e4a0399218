"""Figures of receptive fields and of effective receptive fields."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxcnn.geometry import ReceptiveField
from jaxcnn.inspect.plots import style
from jaxcnn.inspect.stages import EffectiveField


def receptive_fields(image: ArrayLike, fields: Mapping[str, ReceptiveField]) -> Figure:
    """Draws receptive fields on an image, and their sizes by stage.

    They are those of the middle units.

    Args:
      image: `(H, W, C)`, C = 1 or 3.
      fields: by stage, of `inspect.receptive_fields`.

    Returns:
      The figure.
    """
    image = np.asarray(image)
    height, width = image.shape[:2]
    tall = max(2.6, 0.2 * len(fields) + 0.7)
    figure = style.canvas(7.6, tall, "receptive fields: the input cells that one unit of each stage depends on")
    seen, bars = figure.subplots(1, 2, width_ratios=(1, 1.6))
    style.show(seen, image)
    names = list(fields)
    middle = (height - 1) / 2, (width - 1) / 2
    for number, field in enumerate(fields.values()):
        _outline(seen, middle, field.size, number)
    style.heading(seen, "in the middle of an image")
    sizes = [max(field.size) for field in fields.values()]
    places = np.arange(len(names))[::-1]
    bars.barh(places, sizes, 0.7, color=[_color(number) for number in range(len(names))])
    side = max(height, width)
    behind = {"fc": style.PAPER, "ec": "none", "pad": 0.5}  # over the dotted line
    bars.axvline(side, color=style.INK, lw=0.8, ls=":")
    for place, size in zip(places, sizes, strict=True):
        bars.text(size + 0.01 * max(*sizes, side), place, f" {size}", va="center", bbox=behind, **style.SMALL)
    style.plain(bars, f"cells across; dotted: the image, {side}")
    bars.set_yticks(places, names, fontsize=7, parse_math=False)
    bars.set_xlim(0, 1.12 * max(*sizes, side))
    return figure


def effective_fields(fields: Mapping[str, EffectiveField], *, columns: int = 5) -> Figure:
    """Draws how strongly a stage's middle unit depends on each cell.

    The cells are those of the input; the receptive field is outlined.

    Args:
      fields: by stage, of `inspect.effective_fields`.
      columns: stages in a row, at most.

    Returns:
      The figure.
    """
    captions = [f"{name}\ncould: {max(each.field.size)}, does: {each.width:.0f}" for name, each in fields.items()]
    title = "effective receptive fields: mean magnitude of the middle unit's gradient; outlined, all that it could see"
    strengths = [each.strength for each in fields.values()]
    columns = math.ceil(len(captions) / math.ceil(len(captions) / columns))
    figure = style.tiles(
        strengths, captions, columns=columns, size=1.55, levels=(0, 1), cmap=style.SEQUENTIAL, title=title
    )
    for axes, each in zip(figure.axes, fields.values(), strict=True):
        _outline(axes, each.center, each.field.size, 1)
    return figure


def _outline(axes: Axes, center: tuple[float, ...], size: tuple[int, ...], number: int) -> None:
    low, left = (c - n / 2 for c, n in zip(center, size, strict=True))
    box: dict[str, Any] = {"fill": False, "lw": 1.3, "clip_on": True}
    under: dict[str, Any] = box | {"lw": 2.4}
    axes.add_patch(Rectangle((left, low), size[1], size[0], ec="white", **under))
    axes.add_patch(Rectangle((left, low), size[1], size[0], ec=_color(number), **box))


def _color(number: int) -> str:
    return style.SERIES[number % len(style.SERIES)]
