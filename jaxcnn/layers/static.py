"""Static configuration of NNX modules: lists become tuples, which can be compared and hashed."""

from typing import Any


def frozen(value: Any) -> Any:
    """Turns lists into tuples, at every depth; other values stay as they are."""
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value
