"""Figures of examples, of their augmentations, and of a prediction."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxcnn.inspect.pixel_range import in_bytes
from jaxcnn.inspect.plots import style


def labeled_images(images: np.ndarray, captions: Sequence[str]) -> Figure:
    """Draws images in a grid, with a caption above each.

    Args:
      images: `(N, H, W, C)` uint8, or floats from 0 to 1; C = 1 or 3.
      captions: one per image; a caption that is too long is cut.

    Returns:
      The figure.
    """
    return style.tiles(list(in_bytes(images)), captions, size=1.0, levels=(0, 255))


def augmented(before: np.ndarray, after: np.ndarray, captions: Sequence[str]) -> Figure:
    """Draws the first sixteen pictures before and after augmentation.

    Args:
      before: `(N, H, W, C)` from 0 to 255, or floats from 0 to 1, C = 1 or 3; the upper row.
      after: `(N, h, w, C)`, likewise; the lower row.
      captions: one for each.

    Returns:
      The figure.
    """
    shown = min(16, len(before))
    upper, lower = in_bytes(before[:shown]), in_bytes(after[:shown])
    images = [np.rint(np.clip(image, 0, 255)).astype(np.uint8) for image in (*upper, *lower)]
    size = 0.8 if shown < 12 else 0.6
    return style.tiles(images, captions[:shown], columns=shown, size=size, levels=(0, 255), rows=("before", "after"))


def prediction(picture: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], *, top: int = 5) -> Figure:
    """Draws an image beside its most probable classes.

    Args:
      picture: `(H, W, C)` uint8, or floats from 0 to 1; C = 1 or 3.
      probabilities: `(classes,)`.
      classes: their names.
      top: how many are shown.

    Returns:
      The figure.
    """
    ranked = np.argsort(-probabilities, kind="stable")[:top]
    figure = style.canvas(6.4, 2.3)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    style.show(left, in_bytes(picture), levels=(0, 255))
    places = np.arange(len(ranked))[::-1]
    shares = 100 * probabilities[ranked]
    right.barh(places, shares, 0.7, color=[style.ACCENT, *[style.FAINT] * (len(ranked) - 1)])
    for place, share in zip(places, shares, strict=True):
        right.text(share + 1.5, place, f"{share:.1f} %", va="center", **style.SMALL)
    style.plain(right)
    right.set_yticks(places, [style.shortened(classes[int(i)], 1.4) for i in ranked], fontsize=8, parse_math=False)
    right.set_xlim(0, 118)
    right.set_xticks([0, 25, 50, 75, 100])
    style.heading(right, "probability (%)")
    return figure
