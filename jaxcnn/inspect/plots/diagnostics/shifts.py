"""Figures of the effect of shifts on predictions."""

from collections.abc import Mapping, Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from jaxcnn.inspect.diagnostics.shifts import ShiftCurve
from jaxcnn.inspect.pixel_range import in_bytes
from jaxcnn.inspect.plots import style
from jaxcnn.inspect.plots.attribution.attributions import colored


def shift_curves(curves: Mapping[str, ShiftCurve], *, direction: str = "to the right", title: str = "") -> Figure:
    """Draws the probability of the class over the image's offset.

    Args:
      curves: results of `inspect.shift_curve`, by name; for several images the mean is drawn, with the range of the
        middle 90 %.
      direction: direction of the shift, for the label.
      title: title of the figure.

    Returns:
      The figure.
    """
    figure = style.canvas(7.0, 3.2, title or "probability of the class while the picture is shifted")
    axes = figure.subplots()
    offsets = [offset for curve in curves.values() for offset in curve.offsets]
    for number, (name, curve) in enumerate(curves.items()):
        color, dashes = (many[number % len(many)] for many in (style.SERIES, style.DASHES))
        if len(curve.probabilities) > 1:
            low, high = np.quantile(curve.probabilities, (0.05, 0.95), axis=0)
            axes.fill_between(curve.offsets, low, high, color=color, alpha=0.15, lw=0)
        mean = curve.probabilities.mean(0)
        axes.plot(curve.offsets, mean, color=color, ls=dashes, marker=".", ms=5, label=name)
    axes.set_ylim(-0.02, 1.04)
    axes.axvline(0, color=style.FAINT, lw=0.6)
    axes.set_xticks(np.unique(np.rint(np.linspace(min(offsets), max(offsets), 9))))
    style.plain(axes, f"offset {direction}, in cells", "probability")
    legend = axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8, handlelength=3)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def shifted_pictures(pictures: ArrayLike, captions: Sequence[str], *, title: str = "") -> Figure:
    """Draws several shifts of one picture, with the prediction above each.

    Args:
      pictures: `(N, H, W, C)` uint8.
      captions: one per picture.
      title: title of the figure.

    Returns:
      The figure.
    """
    images = list(map(colored, in_bytes(pictures)))
    return style.tiles(images, captions, columns=min(9, len(images)), size=0.9, title=title)


def shift_consistencies(shares: Mapping[str, float], *, title: str = "") -> Figure:
    """Draws as bars how often two shifts get the same class.

    Args:
      shares: results of `inspect.shift_consistency`, by name.
      title: title of the figure.

    Returns:
      The figure.
    """
    names = list(shares)
    figure = style.canvas(6.4, 0.3 * len(names) + 1.1, title or "pairs of shifts that get the same class (%)")
    axes = figure.subplots()
    places = np.arange(len(names))[::-1]
    values = [100 * shares[name] for name in names]
    axes.barh(places, values, 0.7, color="#7d8fa9", edgecolor=style.INK, lw=0.6)
    for place, value in zip(places, values, strict=True):
        axes.text(value + 0.6, place, f"{value:.1f}" if value < 100 else "100", va="center", **style.TEXT)
    axes.set_xlim(0, 108)
    style.plain(axes)
    axes.set_yticks(places, names, fontsize=8, parse_math=False)
    axes.set_xticks(range(0, 101, 20))
    return figure
