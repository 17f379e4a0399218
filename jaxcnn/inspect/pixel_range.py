"""The value of white in pictures of bytes and of floats."""

import numpy as np
from jax.typing import ArrayLike


def white_of(pictures: ArrayLike) -> float:
    """Returns the value of white: 1 for floats, else 255.

    The floats are those from 0 to 1.
    """
    values = np.asarray(pictures)
    in_shares = np.issubdtype(values.dtype, np.floating) and values.size and 0 <= values.min() and values.max() <= 1
    return 1.0 if in_shares else 255.0


def in_bytes(pictures: ArrayLike) -> np.ndarray:
    """Scales pictures to the range from 0 to 255.

    Floats from 0 to 1 become bytes, others stay.
    """
    values = np.asarray(pictures)
    return values if white_of(values) == 255 else np.rint(255 * values).astype(np.uint8)
