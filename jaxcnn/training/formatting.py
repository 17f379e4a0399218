"""Formats rows of the log as text."""

from typing import Any


def epoch_line(row: dict[str, Any]) -> str:
    """Formats an epoch in one line, from its row's fields.

    Args:
      row: a row of the log of kind `epoch`.
    """
    parts = [
        f"epoch {row['epoch']:3d}",
        format_fields(row, {"loss": "loss {:.4f}", "accuracy": "accuracy {:.2%}"}),
        format_fields(row, {"eval_split": "{}", "eval_loss": "loss {:.4f}", "eval_accuracy": "accuracy {:.2%}"}),
        format_fields(row, {"eval_top5_accuracy": "top-5 {:.2%}", "ema_accuracy": "averaged {:.2%}"}, "  "),
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
