"""Checks of integers: sizes, strides, dilations."""

import operator
from collections.abc import Iterable

Shape = tuple[int, ...]

MOST = 2**31  # from here on XLA counts wrongly


def integer(value: int, name: str, *, minimum: int = 1) -> int:
    """Checks an integer and its lower bound.

    Args:
      value: the number.
      name: name of the argument, for the message.
      minimum: the smallest number allowed.

    Returns:
      The number as an `int`.

    Raises:
      ValueError: if `value` is not an integer, or below `minimum`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"`{name}` must be an integer; got {value!r}.") from None
    if number < minimum:
        raise ValueError(f"`{name}` {_bound(minimum)}; got {value!r}.")
    return number


def _bound(minimum: int) -> str:
    return {0: "must not be negative", 1: "must be positive"}.get(minimum, f"must be at least {minimum}")


def per_axis(
    value: int | Iterable[int], rank: int, name: str, *, minimum: int = 1, axis: str = "spatial axis"
) -> Shape:
    """Repeats an integer for each axis, or checks a sequence.

    A sequence has one integer per axis.

    Args:
      value: an integer, or one integer per axis.
      rank: number of axes.
      name: name of the argument, for the message.
      minimum: the smallest integer allowed.
      axis: what an axis is called in the message.

    Returns:
      One integer per axis.

    Raises:
      ValueError: if `value` has another length, or an entry is not an integer, below `minimum`, or at least 2**31.
    """
    try:
        entries = tuple(map(operator.index, value)) if isinstance(value, Iterable) else (operator.index(value),) * rank
    except TypeError:
        raise ValueError(f"`{name}` must be an integer or one integer per {axis}; got {value!r}.") from None
    if len(entries) != rank:
        raise ValueError(f"`{name}` must have one entry per {axis}, here {rank}; got {value!r}.")
    if any(entry < minimum for entry in entries):
        raise ValueError(f"`{name}` {_bound(minimum)}; got {value!r}.")
    if any(entry >= MOST for entry in entries):
        raise ValueError(f"`{name}` must be below 2**31; got {value!r}.")
    return entries


def sizes(value: Iterable[int], name: str) -> Shape:
    """Checks a sequence of positive integers, of any length.

    Args:
      value: the sequence.
      name: name of the argument, for the message.

    Returns:
      The integers as a tuple.

    Raises:
      ValueError: if `value` is not a sequence of positive integers below 2**31.
    """
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise ValueError(f"`{name}` must be a sequence of positive integers; got {value!r}.")
    entries = tuple(value)
    return per_axis(entries, len(entries), name)
