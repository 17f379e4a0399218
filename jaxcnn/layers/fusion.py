"""Whether operations that could be one are kept apart."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_APART = ContextVar("apart", default=False)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Keeps operations apart while a network is traced, so that what is between them can be asked about.

    What is computed is the same; but only so does it depend on the activations that a stage shows, and only so is every
    module called.
    """
    token = _APART.set(True)
    try:
        yield
    finally:
        _APART.reset(token)


def is_apart() -> bool:
    """Whether this is inside `apart`."""
    return _APART.get()
