"""The log of a run: one JSON object per line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Reads the rows of a log.

    Ignores an incomplete last line, as a killed process or a full disk leaves it.

    Args:
      path: the file `metrics.jsonl`; a missing file has no rows.

    Yields:
      The rows.

    Raises:
      ValueError: if another line is not a row, which is an object with `kind` and `step`.
    """
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode())
        except UnicodeDecodeError as error:
            raise _wrong(path, number, f"must be UTF-8; {error.reason} at byte {error.start + 1}") from None
        except json.JSONDecodeError as error:
            if number == len(lines):
                return
            raise _wrong(path, number, f"must be JSON; {error}") from None
        except RecursionError:
            raise _wrong(path, number, "must be JSON; it is nested too deeply") from None
        if not _is_row(row):
            shown = line.decode()
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            raise _wrong(path, number, f"must be a row, which has a `kind` and a `step`; got {shown}")
        yield row


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("kind"), str):
        return False
    return isinstance(row.get("step"), int) and not isinstance(row["step"], bool)


def _wrong(path: Path, number: int, text: str) -> ValueError:
    return ValueError(f"line {number} of {path} {text}.")
