"""The overlap of boxes in float64, as COCO's program computes it."""

import numpy as np


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Computes the intersection over union of all pairs, `(n, m)`."""
    a, b = np.asarray(first, np.float64)[:, None], np.asarray(second, np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inner = np.where((sides > 0).all(-1), sides.prod(-1), 0.0)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)
