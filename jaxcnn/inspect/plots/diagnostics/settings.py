"""Parallel coordinates of settings and their results."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from jaxcnn.inspect.plots import style
from jaxcnn.training import METRICS

_GOOD = LinearSegmentedColormap.from_list("good", ["#d5d8dc", "#7d8fa9", style.ACCENT])  # the best is darkest
_WIDEST = 1.15  # inches of a tick's text


def parallel_settings(
    names: Sequence[str],
    settings: Sequence[Sequence[Any]],
    results: Sequence[float | None],
    *,
    metric: str = "accuracy",
    logarithmic: Collection[str] = (),
) -> Figure:
    """Draws settings as lines over parallel axes (Inselberg 1985).

    Each option has an axis, and the last axis is the result. Lines are gray for the worst results and red-brown
    for the best; the best line is thick. Settings without a result are dotted, and end before the last axis.

    Args:
      names: names of the options.
      settings: the values of each setting, in the order of `names`.
      results: the result of each setting; None if it has none.
      metric: name of the metric of the results.
      logarithmic: names of options with a logarithmic axis.

    Returns:
      The figure.

    Raises:
      ValueError: if there is no setting, or not one result for each.

    Example:
      >>> from jaxcnn.inspect import plots
      >>> figure = plots.parallel_settings(["learning-rate"], [[0.1], [0.01]], [0.91, 0.97])
      >>> len(figure.axes)
      1
    """
    if not settings or len(settings) != len(results):
        raise ValueError(f"`results` must have one for each of the settings; got {len(results)} for {len(settings)}.")
    figure = style.canvas(max(4.0, 1.9 * (len(names) + 1)), 3.6)
    axes = figure.subplots()
    axes.axis("off")
    heights = [
        _placed([setting[place] for setting in settings], name in logarithmic) for place, name in enumerate(names)
    ]
    finite = [value if value is not None and math.isfinite(value) else math.nan for value in results]
    rises, unit = METRICS[metric].rises, METRICS[metric].form
    last, ticks = _of_results(finite, unit)
    columns = [*heights, (last, ticks)]
    for place, (name, (_, marks)) in enumerate(zip([*names, METRICS[metric].title], columns, strict=True)):
        axes.plot([place, place], [0, 1], color=style.FAINT, lw=0.8, zorder=1)
        weight: dict[str, Any] = {"fontweight": "bold"} if place == len(names) else {}
        axes.text(place, 1.09, style.shortened(name, 1.8, 8), ha="center", **(style.TEXT | weight))
        for height, text in marks:
            axes.plot([place - 0.015, place + 0.015], [height, height], color=style.INK, lw=0.8, zorder=3)
            told = style.shortened(text, _WIDEST)
            axes.text(place + 0.03, height, told, va="center", zorder=4, bbox=_PAPER, **style.SMALL)
    goodness = _goodness(last, rises)
    for place in np.argsort(np.nan_to_num(goodness, nan=-1.0), kind="stable"):  # the best is on top
        line = [column[place] for column, _ in columns]
        good = goodness[place]
        best = good == 1.0
        look: dict[str, Any] = {"ls": ":", "color": style.FAINT} if np.isnan(good) else {"color": _GOOD(good)}
        axes.plot(range(len(line)), line, lw=2.4 if best else 1.1, zorder=2.5 if best else 2, **look)
    axes.set(xlim=(-0.3, len(names) + 0.55), ylim=(-0.06, 1.2))
    return figure


_PAPER = {"facecolor": style.PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.6}


def _goodness(heights: np.ndarray, rises: bool) -> np.ndarray:
    """The rank of every result, 1 for the best.

    It is NaN where there is no result.
    """
    good = heights if rises else 1 - heights
    there = np.flatnonzero(~np.isnan(good))
    ranks = np.full(len(good), np.nan)
    for rank, place in enumerate(there[np.argsort(good[there], kind="stable")], 1):
        ranks[place] = rank / len(there)
    return ranks


def _of_results(values: Sequence[float], form: str) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """The heights of results, and the ticks of their axis."""
    array = np.array(values, float)
    there = array[~np.isnan(array)]
    if not len(there):
        return array, []
    low, high = float(there.min()), float(there.max())
    if low == high:
        return np.where(np.isnan(array), np.nan, 0.5), [(0.5, form.format(low))]
    ends = np.linspace(low, high, 5)
    return (array - low) / (high - low), [((end - low) / (high - low), form.format(end)) for end in ends]


def _placed(values: Sequence[Any], logarithmic: bool) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """The heights of values, and the ticks of their axis.

    Numbers have their place, if they are many or the axis is logarithmic; other values are evenly spread.
    """
    distinct = sorted({str(value): value for value in values}.items(), key=lambda item: _key(item[1]))
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for _, value in distinct)
    if numbers and (logarithmic or len(distinct) > 6) and len(distinct) > 1:
        scale = np.log if logarithmic and min(value for _, value in distinct) > 0 else np.asarray
        array = scale(np.array(values, float))
        low, high = float(array.min()), float(array.max())
        ends = np.linspace(low, high, 5)
        told = np.exp(ends) if scale is np.log else ends
        marks = [((end - low) / (high - low), f"{value:.3g}") for end, value in zip(ends, told, strict=True)]
        return (array - low) / (high - low), marks
    spots = np.linspace(0, 1, len(distinct)) if len(distinct) > 1 else np.array([0.5])
    at = {text: float(spot) for (text, _), spot in zip(distinct, spots, strict=True)}
    return np.array([at[str(value)] for value in values]), [(spot, text) for text, spot in at.items()]


def _key(value: Any) -> tuple[int, float, str]:
    """Sorts numbers by size, before words."""
    try:
        return 0, float(value), ""
    except (TypeError, ValueError):
        return 1, 0.0, str(value)
