"""Learning curves."""

from collections.abc import Mapping, Sequence
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


def compared_curves(runs: Mapping[str, Sequence[dict[str, Any]]], *, metric: str = "accuracy") -> Figure:
    """Draws held-out loss and metric of several runs, by epoch.

    Args:
      runs: by name, the epoch rows of a run's log. A run without held-out examples is drawn with those of the training.
      metric: name of the metric, which only runs that have it show.

    Returns:
      The figure.
    """
    height = 3 + 0.17 * len(runs)
    figure = style.canvas(8, height)
    losses, metrics = figure.subplots(1, 2)
    unit = 100 if METRICS[metric].share else 1
    for place, (name, rows) in enumerate(runs.items()):
        turn, series = divmod(place, len(style.SERIES))
        dash = style.DASHES[(series + turn) % len(style.DASHES)]
        label = style.shortened(name if _held_out(rows) else f"{name} (training)", 7.0, 8)
        look = {"color": style.SERIES[series], "ls": dash, "marker": ".", "ms": 4, "label": label}
        prefix = "eval_" if _held_out(rows) else ""
        for axes, key, scale in ((losses, f"{prefix}loss", 1), (metrics, prefix + metric, unit)):
            there = [row for row in rows if key in row]
            if there or axes is losses:
                axes.plot([row["epoch"] for row in there], [scale * row[key] for row in there], **look)
    for axes in (losses, metrics):
        style.plain(axes, "epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    style.heading(losses, "held-out loss")
    style.heading(metrics, f"held-out {METRICS[metric].title}{' (%)' if METRICS[metric].share else ''}")
    handles, labels = losses.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", frameon=False, fontsize=8, handlelength=3.5)
    return figure


def _held_out(rows: Sequence[dict[str, Any]]) -> bool:
    return any("eval_loss" in row for row in rows)
