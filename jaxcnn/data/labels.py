"""Checks of labels against the classes that they index."""

import unicodedata
from collections.abc import Sequence

import numpy as np

IGNORED = 255  # of a mask's pixels that do not count, as in PASCAL VOC and Cityscapes
_NAMED = 3


def check_kind(labels: np.ndarray, examples: int, title: str) -> None:
    """Refuses labels that are not numbers of classes.

    Targets of a regression are not, for instance.

    Args:
      labels: `(N,)`.
      examples: number N of examples.
      title: name of the data, for the message.

    Raises:
      ValueError: if the labels are not an array of integers with one entry per example.
    """
    check_array(labels, title)
    array = np.asarray(labels)
    if is_one_hot(array, examples):
        raise ValueError(
            f"`labels` of {title} must be one number for each of {examples:,} examples, as `labels.argmax(-1)` makes "
            f"of one-hot rows; got shape {array.shape}."
        )
    if _is_whole(array):
        raise ValueError(
            f"`labels` of {title} must be integers that number classes, as `labels.astype('int32')` makes of these; "
            f"got {array.dtype}."
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"`labels` of {title} must be whole numbers of classes, unless the task is 'regression'; got {array.dtype}."
        )
    if array.shape != (examples,):
        raise ValueError(f"`labels` of {title} must be one for each of {examples:,} examples; got shape {array.shape}.")


def check_labels(labels: np.ndarray, classes: int, title: str, what: str) -> None:
    """Refuses labels outside the classes, also -1 for unlabeled examples.

    Args:
      labels: `(N,)` integers.
      classes: number of classes.
      title: name of the data, for the message.
      what: what the classes are, for the message, as "outputs of the network".

    Raises:
      ValueError: if a label is not from 0 to `classes - 1`.
    """
    array = np.asarray(labels)
    outside = array[(array < 0) | (array >= classes)]
    if outside.size:
        left_out = ", with unlabeled examples left out (`dataset.pick(labels >= 0)`)" if array.min() < 0 else ""
        raise ValueError(
            f"`labels` of {title} must be from 0 to {classes - 1}, for the {classes} {what}{left_out}; "
            f"got {outside[0]}, and {outside.size:,} of {array.size:,} outside."
        )


def check_binary(labels: np.ndarray, title: str) -> None:
    """Refuses labels other than 0 and 1.

    Args:
      labels: an array of numbers or of bools.
      title: name of the data, for the message.

    Raises:
      ValueError: if an entry is neither 0 nor 1.
    """
    values = np.asarray(labels)
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        count = f"{wrong.sum():,} of {values.size:,}"
        raise ValueError(f"`labels` of {title} must be 0 or 1; {count} are not, the first is {values[wrong][0]}.")


def check_masks(labels: np.ndarray, examples: int, title: str, classes: int | None = None) -> None:
    """Refuses targets that are not masks of numbers of classes.

    Args:
      labels: `(N, H, W)` integers.
      examples: number N of examples.
      title: name of the data, for the message.
      classes: number of classes; None leaves it open.

    Raises:
      ValueError: if the targets are no such array, or a pixel is neither from 0 to `classes - 1` nor 255.
    """
    check_array(labels, title)
    if labels.ndim != 3 or len(labels) != examples:
        raise ValueError(
            f"`labels` of {title} must be masks, (N, H, W), one for each of {examples:,} examples; "
            f"got shape {labels.shape}."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"`labels` of {title} must be integers, a class for each pixel; got {labels.dtype}.")
    if classes is not None and labels.size:
        outside = (labels < 0) | ((labels >= classes) & (labels != IGNORED))
        if outside.any():
            raise ValueError(
                f"`labels` of {title} must be from 0 to {classes - 1}, or {IGNORED} for pixels that do not count; "
                f"got {labels[outside][0]}."
            )


def check_array(labels: np.ndarray, title: str) -> None:
    """Refuses labels that are not an array.

    They could not be indexed by the numbers of examples.

    Raises:
      ValueError: if they are a list or a tuple.
    """
    if isinstance(labels, list | tuple):
        kind = type(labels).__name__
        raise ValueError(f"`labels` of {title} must be an array, as `np.array(labels)` makes of these; got a {kind}.")


def is_one_hot(labels: np.ndarray, examples: int) -> bool:
    """Whether every row has a single 1 and else 0."""
    if labels.ndim != 2 or len(labels) != examples or labels.shape[1] < 2 or labels.dtype.kind not in "biuf":
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all())


def _is_whole(labels: np.ndarray) -> bool:
    """Whether these are numbers of classes in another dtype.

    It may be bool, or floats without a fraction.
    """
    return labels.dtype == bool or (labels.dtype.kind == "f" and bool((np.isfinite(labels) & (labels % 1 == 0)).all()))


def spelled(names: Sequence[str]) -> tuple[str, ...]:
    """Normalizes names for comparison (Unicode NFC).

    File systems may write an accented letter as two characters.
    """
    return tuple(unicodedata.normalize("NFC", name) if isinstance(name, str) else name for name in names)


def few(names: Sequence[str]) -> str:
    """Formats names of classes, only the first ones of many."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED + 1 else ""
    return ", ".join(names[:_NAMED] if more else names) + more
