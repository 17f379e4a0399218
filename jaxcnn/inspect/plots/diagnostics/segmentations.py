"""Pictures with their true and predicted masks."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from jaxcnn.data.labels import IGNORED
from jaxcnn.data.mask_colors import mask_colors
from jaxcnn.inspect.pixel_range import in_bytes
from jaxcnn.inspect.plots import style

_SIZE = 1.15  # inches of a picture
_ROWS = ("picture", "true", "predicted")
_LINE = 0.19  # inches of a line of the legend
_LONGEST = 60  # classes in the legend


def segmentations(
    images: np.ndarray,
    true: np.ndarray,
    predicted: np.ndarray | None,
    classes: Sequence[str],
    captions: Sequence[str] = (),
) -> Figure:
    """Draws pictures, and below each its true and its predicted mask.

    A legend names the colors of the classes that are there.

    Args:
      images: `(N, H, W, C)` uint8, or floats from 0 to 1; C = 1 or 3.
      true: `(N, H, W)` integers, a class for each pixel; 255 is for pixels that do not count.
      predicted: `(N, H, W)` integers; None leaves that row out.
      classes: names of the classes.
      captions: one above each picture.

    Returns:
      The figure.

    Raises:
      ValueError: if the shapes differ.
    """
    masks = [np.asarray(mask) for mask in (true, predicted) if mask is not None]
    if any(mask.shape != images.shape[:3] for mask in masks) or not len(images):
        shapes = " and ".join(str(mask.shape) for mask in masks)
        raise ValueError(
            f"`true` and `predicted` must be masks of one or more `images`, (N, H, W); got {shapes} for {images.shape}."
        )
    count, height, width = images.shape[:3]
    there = np.unique(np.stack(masks)).tolist()
    named = [place for place in there if place < len(classes)][:_LONGEST]
    handles = [Patch(facecolor=tuple(mask_colors()[place] / 255), edgecolor=style.FAINT, lw=0.5) for place in named]
    names = [style.shortened(str(classes[place]), 1.6) for place in named]
    if IGNORED in there:
        handles.append(Patch(facecolor="white", edgecolor=style.FAINT, lw=0.5))
        names.append("does not count")
    margin, step, head = 0.75, _SIZE + 0.06, 0.2
    tall = _SIZE * min(height / width, 1.6)
    wide = margin + count * step + 0.05
    columns = max(1, int(wide / 1.5))
    lines = -(-len(names) // columns)
    high = head + (1 + len(masks)) * (tall + 0.06) + lines * _LINE + 0.12
    figure = style.canvas(wide, high, layout=None)
    colored = [mask_colors()[mask] for mask in masks]
    for row, pictures in enumerate((in_bytes(images), *colored)):
        bottom = high - head - (row + 1) * tall - row * 0.06
        for place, picture in enumerate(pictures):
            axes = figure.add_axes(((margin + place * step) / wide, bottom / high, _SIZE / wide, tall / high))
            style.show(axes, picture, levels=(0, 255))
            if not row and place < len(captions):
                axes.set_title(style.shortened(captions[place], step - 0.04), pad=2, **style.SMALL)
            if not place:
                axes.set_ylabel(_ROWS[row], rotation=0, ha="right", va="center", labelpad=4, **style.SMALL)
    legend = {"loc": "lower left", "bbox_to_anchor": (margin / wide - 0.01, 0), "frameon": False, "ncols": columns}
    shown = figure.legend(
        handles, names, fontsize=7, labelcolor=style.INK, handlelength=1.2, borderaxespad=0.2, **legend
    )
    for text in shown.get_texts():
        text.set_parse_math(False)
    return figure
