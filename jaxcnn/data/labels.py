"""Labels held against the classes that they number."""

from collections.abc import Sequence

import numpy as np

_NAMED = 3


def check_kind(labels: np.ndarray, examples: int, title: str) -> None:
    """Refuses labels that are no numbers of classes, targets of a regression for instance.

    Args:
      labels: `(N,)`.
      examples: how many there are, N.
      title: what the labels are of.

    Raises:
      ValueError: if labels are no integers, or not one for each example.
    """
    found = np.asarray(labels)
    if not np.issubdtype(found.dtype, np.integer):
        raise ValueError(
            f"`labels` of {title} must be whole numbers of classes, as regression is not supported; got {found.dtype}."
        )
    if found.shape != (examples,):
        raise ValueError(f"`labels` of {title} must be one for each of {examples:,} examples; got shape {found.shape}.")


def check_labels(labels: np.ndarray, classes: int, title: str, what: str) -> None:
    """Refuses labels that number no class: a loss would be 0 for them, and nothing would be learned.

    Args:
      labels: `(N,)` integers.
      classes: how many there are.
      title: what the labels are of.
      what: the classes are, as in "outputs of the network".

    Raises:
      ValueError: if a label is not from 0 to `classes - 1`.
    """
    found = np.asarray(labels)
    outside = found[(found < 0) | (found >= classes)]
    if outside.size:
        raise ValueError(
            f"`labels` of {title} must be from 0 to {classes - 1}, for the {classes} {what}; "
            f"got {outside[0]}, and {outside.size:,} of {found.size:,} outside."
        )


def few(names: Sequence[str]) -> str:
    """Names of classes in words, the first ones of many."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED + 1 else ""
    return ", ".join(names[:_NAMED] if more else names) + more
