"""Predicted against true values."""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from jaxcnn.inspect.plots import style

_COLUMNS = 3


def predicted_values(truth: ArrayLike, predicted: ArrayLike, names: Sequence[str] = ("value",)) -> Figure:
    """Draws the predictions of a regression over the true values.

    Each value has a panel.

    Args:
      truth: `(N, K)`.
      predicted: `(N, K)`, in the same units.
      names: K names.

    Returns:
      The figure, in which a perfect prediction lies on the dashed line.

    Raises:
      ValueError: if the shapes differ, or there is not one name for each value.
    """
    x, y = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if x.ndim != 2 or x.shape != y.shape or x.shape[1] != len(names):
        raise ValueError(
            f"`truth` and `predicted` must be (N, {len(names)}), for {len(names)} names; got {x.shape} and {y.shape}."
        )
    columns = min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = style.canvas(3.4 * columns, 3.3 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name, true, said in zip(panels, names, x.T, y.T, strict=False):
        ends = np.array([min(true.min(), said.min()), max(true.max(), said.max())]) if len(true) else np.zeros(2)
        axes.plot(ends, ends, color=style.INK, lw=0.8, ls="--")
        axes.plot(true, said, ls="", marker=".", ms=3, color=style.ACCENT)
        style.plain(axes, f"true {name}", f"predicted {name}")
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    return figure
