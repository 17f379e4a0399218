"""Examples, and what augmentation makes of them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxcnn.inspect.plots import style


def labelled_images(images: np.ndarray, captions: Sequence[str]) -> Figure:
    """Images in a grid, a caption above each.

    Args:
      images: `(N, H, W, C)` uint8, C = 1 or 3.
      captions: one for each, cut where it is too long.
    """
    return style.tiles(list(images), captions, size=1.0, levels=(0, 255))


def augmented(before: np.ndarray, after: np.ndarray, captions: Sequence[str]) -> Figure:
    """Pictures before and after augmentation, the first sixteen.

    Args:
      before: `(N, H, W, C)` from 0 to 255, C = 1 or 3; the upper row.
      after: `(N, h, w, C)` from 0 to 255; the lower row.
      captions: one for each.
    """
    shown = min(16, len(before))
    images = [np.rint(np.clip(image, 0, 255)).astype(np.uint8) for image in (*before[:shown], *after[:shown])]
    size = 0.8 if shown < 12 else 0.6
    return style.tiles(images, captions[:shown], columns=shown, size=size, levels=(0, 255), rows=("before", "after"))
