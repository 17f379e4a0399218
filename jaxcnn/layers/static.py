"""Static configuration of NNX modules.

Lists become tuples, which can be compared and hashed.
"""

from typing import Any


def frozen(value: Any) -> Any:
    """Turns lists into tuples, at every depth.

    Other values stay as they are.
    """
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value
