"""Configuration that NNX keeps as static: lists become tuples, which compare and hash."""

from typing import Any


def frozen(value: Any) -> Any:
    """Turns lists into tuples, at every depth; leaves anything else alone."""
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value
