"""Figures of parameters and multiply-adds, and of what weight sharing saves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxcnn.inspect.arithmetic.counts import Cost, Shared, short
from jaxcnn.inspect.plots import style


def costs(layers: Sequence[Cost]) -> Figure:
    """Draws the parameters and multiply-adds of each layer, as bars.

    Args:
      layers: the result of `inspect.costs`.

    Returns:
      The figure.
    """
    totals = [sum(getattr(cost, kind) for cost in layers) for kind in ("parameters", "multiply_adds")]
    title = f"{totals[0]:,} parameters, {totals[1]:,} multiply-adds: where they are"
    figure = style.canvas(8, 0.19 * len(layers) + 0.75, title)
    panels = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(layers))[::-1]
    for axes, kind, color in zip(panels, ("parameters", "multiply_adds"), (style.INK, style.ACCENT), strict=True):
        values = [getattr(cost, kind) for cost in layers]
        axes.barh(places, values, 0.7, color=color)
        top = max([*values, 1])
        for place, value in zip(places, values, strict=True):
            axes.text(value + 0.015 * top, place, short(value), va="center", **style.SMALL)
        style.plain(axes)
        axes.set_xlim(0, 1.16 * top)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        style.heading(axes, kind.replace("_", "-"))
    panels[0].set_yticks(places, [cost.name for cost in layers], fontsize=7, parse_math=False)
    panels[1].tick_params(left=False)
    return figure


def shared_counts(shared: Sequence[Shared], most: int = 12) -> Figure:
    """Draws the parameters of convolutions and of layers without sharing.

    These would replace the convolutions.

    Args:
      shared: the result of `inspect.shared_counts`.
      most: largest number of convolutions; the first of each size are drawn.

    Returns:
      The figure.
    """
    sizes = {each[1:]: each for each in reversed(shared)}
    shown = [each for each in shared if sizes[each[1:]] is each][:most]
    more = f" ({len(shown)} of {len(shared)} convolutions)" if len(shared) > len(shown) else ""
    title = f"parameters, if weights were not shared, and if every output saw every input{more}"
    figure = style.canvas(8, 0.42 * len(shown) + 1.2, title)
    axes = figure.subplots()
    places = np.arange(len(shown))[::-1]
    kinds = (
        ("convolution", "convolution", style.INK, ""),
        ("local", "not shared", style.FAINT, ""),
        ("dense", "fully connected", "#ecd3c3", "///"),
    )
    tiny: dict[str, Any] = style.SMALL | {"fontsize": 6}
    for number, (kind, label, color, hatch) in enumerate(kinds):
        values = [getattr(each, kind) for each in shown]
        at = places + 0.27 * (1 - number)
        axes.barh(
            at, values, 0.25, color=color, hatch=hatch, edgecolor=style.ACCENT if hatch else color, lw=0, label=label
        )
        for place, value in zip(at, values, strict=True):
            axes.text(value * 1.15, place, short(value), va="center", **tiny)
    axes.set_xscale("log")
    top = max(each.dense for each in shown)
    axes.set_xlim(max(1, min(each.convolution for each in shown) / 3), top * 8)
    style.plain(axes, "each line is ten times more")
    axes.xaxis.grid(True, color="#e4e5e7", lw=0.6)
    axes.set_axisbelow(True)
    axes.minorticks_off()
    axes.set_yticks(places, [each.name for each in shown], fontsize=7, parse_math=False)
    figure.legend(frameon=False, fontsize=7, ncols=3, loc="outside lower left")
    return figure
