"""The value of white in pictures of bytes and of floats."""

import numpy as np
from jax.typing import ArrayLike


def white_of(pictures: ArrayLike) -> float:
    """Returns the value of white: 1 for floats, else 255.

    The floats are those from 0 to 1.
    """
    found = np.asarray(pictures)
    in_shares = np.issubdtype(found.dtype, np.floating) and found.size and 0 <= found.min() and found.max() <= 1
    return 1.0 if in_shares else 255.0


def in_bytes(pictures: ArrayLike) -> np.ndarray:
    """Scales pictures to the range from 0 to 255.

    Floats from 0 to 1 become bytes, others stay.
    """
    found = np.asarray(pictures)
    return found if white_of(found) == 255 else np.rint(255 * found).astype(np.uint8)
