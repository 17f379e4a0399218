"""Formats rows of the log as text."""

from typing import Any

from jaxcnn.training.tasks.task import METRICS


def epoch_line(row: dict[str, Any]) -> str:
    """Formats an epoch in one line, from its row's fields.

    Args:
      row: a row of the log of kind `epoch`.
    """
    parts = [
        f"epoch {row['epoch']:3d}",
        format_metrics(row),
        " ".join(filter(None, [row.get("eval_split"), format_metrics(row, "eval_", first=2)])),
        format_metrics(row, "eval_", skip=2, separator="  "),
        *(f"averaged {text}" for text in _averaged(row)),
        format_speed(row),
    ]
    return "  ".join(filter(None, parts))


def format_speed(row: dict[str, Any]) -> str:
    """Formats the images per second, or the steps per second.

    Steps count if no images were counted; the text is empty if no step was.
    """
    for unit in ("images", "steps"):
        value = row.get(f"{unit}_per_second")
        if value:
            return f"{value:,.0f} {unit}/s" if value >= 10 else f"{value:.2f} {unit}/s"
    return ""


def format_fields(row: dict[str, Any], formats: dict[str, str], separator: str = " ") -> str:
    """Formats the fields of `formats` that the row has."""
    return separator.join(text.format(row[key]) for key, text in formats.items() if row.get(key) is not None)


def format_metrics(
    row: dict[str, Any], prefix: str = "", *, first: int | None = None, skip: int = 0, separator: str = " "
) -> str:
    """Formats the loss and metrics of a row, with their titles.

    Args:
      row: a row of the log, or an evaluation.
      prefix: what the names of the fields begin with, as `"eval_"`.
      first: number of metrics after which to stop.
      skip: number of metrics to leave out at the start.
      separator: what stands between two of them.
    """
    there = [name for name in METRICS if row.get(prefix + name) is not None][skip:first]
    return separator.join(f"{METRICS[name].title} {METRICS[name].form.format(row[prefix + name])}" for name in there)


def _averaged(row: dict[str, Any]) -> list[str]:
    """Returns the first metric of the moving averages, if any.

    The list has one element or none.
    """
    there = [name for name in METRICS if name != "loss" and row.get(f"ema_{name}") is not None]
    return [METRICS[name].form.format(row[f"ema_{name}"]) for name in there[:1]]
