"""Learning curves."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from jaxcnn.inspect.plots import style
from jaxcnn.training import METRICS


def learning_curves(
    rows: Sequence[dict[str, Any]], *, loss: str = "cross-entropy (nats)", metric: str = "accuracy"
) -> Figure:
    """Draws loss and error of training and held-out examples, by epoch.

    Args:
      rows: the epoch rows of a run's log.
      loss: what the loss is, in words.
      metric: name of the metric that is drawn beside it; the accuracy is drawn as error.

    Returns:
      The figure.
    """
    figure = style.canvas(8, 3)
    losses, metrics = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    held_out = next((row["eval_split"] for row in rows if "eval_split" in row), None)
    as_error = metric == "accuracy"

    def shown(name: str, value: float) -> float:
        if name == "loss" or not METRICS[name].share:
            return value
        return 100 * (1 - value if as_error else value)

    for axes, name in ((losses, "loss"), (metrics, metric)):
        styles = {"": ("training", style.INK, "-"), "eval_": (held_out, style.ACCENT, "--")}
        for prefix, (label, color, line) in styles.items():
            if rows and prefix + name in rows[0]:
                values = [shown(name, row[prefix + name]) for row in rows]
                axes.plot(epochs, values, color=color, label=label, ls=line, marker=".", ms=4)
        style.plain(axes, "epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, fontsize=8)
    if all(row.get(key, 1) > 0 for row in rows for key in ("loss", "eval_loss")):
        losses.set_yscale("log")
    style.heading(losses, loss)
    unit = " (%)" if METRICS[metric].share else ""
    style.heading(metrics, "error (%)" if as_error else METRICS[metric].title + unit)
    metrics.set_ylim(bottom=0)
    return figure
