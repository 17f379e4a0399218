"""The reliability diagram."""

import numpy as np
from matplotlib.figure import Figure

from jaxcnn.inspect.diagnostics.calibration import Calibration
from jaxcnn.inspect.plots import style


def calibration(reliability: Calibration, *, title: str = "") -> Figure:
    """Draws the reliability diagram: accuracy over confidence.

    Args:
      reliability: the result of `inspect.calibration`.
      title: title of the figure.

    Returns:
      The figure.
    """
    told = f"accuracy by confidence; expected calibration error {100 * reliability.error:.1f} %"
    figure = style.canvas(4.6, 4.4, title or told)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    width = np.diff(reliability.edges)
    upper.bar(
        reliability.edges[:-1], reliability.accuracy, width, align="edge", color="#c9cdd3", edgecolor=style.INK, lw=0.8
    )
    upper.plot([0, 1], [0, 1], color=style.INK, lw=0.8, ls="--", label="as sure as right")
    upper.plot(
        reliability.confidence, reliability.accuracy, color=style.ACCENT, marker="o", ms=4, lw=1.2, label="this network"
    )
    upper.set_ylim(0, 1.04)
    upper.set_xlim(0, 1)
    style.plain(upper, "", "share of right answers")
    upper.legend(loc="upper left", frameon=False, fontsize=8)
    lower.bar(
        reliability.edges[:-1], reliability.counts, width, align="edge", color="#7d8fa9", edgecolor=style.INK, lw=0.8
    )
    style.plain(lower, "probability of the predicted class", "examples")
    return figure
