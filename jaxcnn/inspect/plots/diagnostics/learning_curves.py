"""Learning curves."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from jaxcnn.inspect.plots import style


def learning_curves(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draws loss and error of training and held-out examples, by epoch.

    Args:
      rows: the epoch rows of a run's log.

    Returns:
      The figure.
    """
    figure = style.canvas(8, 3)
    losses, errors = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    held_out = next((row["eval_split"] for row in rows if "eval_split" in row), None)
    for axes, name, transform in ((losses, "loss", float), (errors, "accuracy", lambda a: 100 * (1 - a))):
        axes.plot(epochs, [transform(row[name]) for row in rows], color=style.INK, label="training", marker=".", ms=4)
        if held_out:
            values = [transform(row[f"eval_{name}"]) for row in rows]
            axes.plot(epochs, values, color=style.ACCENT, ls="--", label=held_out, marker=".", ms=4)
        style.plain(axes, "epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, fontsize=8)
    losses.set_yscale("log")
    style.heading(losses, "cross-entropy (nats)")
    style.heading(errors, "error (%)")
    errors.set_ylim(bottom=0)
    return figure
