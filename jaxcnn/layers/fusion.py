"""Switches off the fusion of operations, so that the values between them exist."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_APART = ContextVar("apart", default=False)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Keeps operations separate while a network is traced, instead of fusing them.

    The results are the same. But only inside this context is every module called, and does the output depend on the
    activations that a stage shows.

    Returns:
      A context manager.
    """
    token = _APART.set(True)
    try:
        yield
    finally:
        _APART.reset(token)


def is_apart() -> bool:
    """Whether the caller is inside `apart`."""
    return _APART.get()
