"""The picture of a learning-rate range result."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from jaxcnn.inspect.plots import style
from jaxcnn.training import RateRange


def rate_range(result: RateRange) -> Figure:
    """Draws the losses of a range test over their learning rates.

    A line marks the suggested rate.

    Args:
      result: the result of `training.find_learning_rate`.

    Returns:
      The figure.
    """
    figure = style.canvas(6.4, 3.2)
    axes = figure.subplots()
    axes.plot(result.rates, result.losses, color=style.FAINT, lw=0.8, label="loss of a batch")
    axes.plot(result.rates, result.smooth, color=style.INK, label="moving mean")
    axes.axvline(result.suggested, color=style.ACCENT, ls="--", label=f"steepest fall, {result.suggested:g}")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    low, high = float(result.smooth.min()), float(result.smooth[: np.argmin(result.smooth) + 1].max())
    axes.set_ylim(max(0.0, low - 0.2 * (high - low)), high + 0.6 * (high - low))  # where it diverges says nothing more
    style.plain(axes, "learning rate")
    style.heading(axes, "loss")
    axes.legend(frameon=False, fontsize=8)
    return figure
