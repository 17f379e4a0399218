"""Figures of found boxes, and of maps of scores."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxcnn.inspect.detection.find import Found, ScoreMap
from jaxcnn.inspect.pixel_range import in_bytes
from jaxcnn.inspect.plots import style

_FEW = 12  # boxes with captions; more would hide the picture


def found_boxes(
    picture: np.ndarray,
    found: Found,
    truth: np.ndarray | None = None,
    *,
    classes: Sequence[str] = (),
    size: float = 4.0,
    title: str = "",
) -> Figure:
    """Draws a picture with the boxes that were found.

    Args:
      picture: `(H, W)` or `(H, W, C)` uint8, or floats from 0 to 1; C = 1 or 3.
      found: the result of `inspect.find`.
      truth: `(m, 4)`, true boxes, drawn dashed.
      classes: names of the classes, written above the boxes; without them only the score is written.
      size: width of the picture, in inches.
      title: title of the figure.

    Returns:
      The figure.
    """
    height, width = np.shape(picture)[:2]
    figure = style.canvas(size, size * height / width + style.title_height(title, size), title)
    axes = figure.subplots()
    style.show(axes, in_bytes(picture), levels=(0, 255))
    boxes: list[tuple[np.ndarray, str]] = [(box, "--") for box in ([] if truth is None else np.asarray(truth))]
    for (x1, y1, x2, y2), dash in [*boxes, *((box, "-") for box in found.boxes)]:
        place, sides = (x1 - 0.5, y1 - 0.5), (x2 - x1, y2 - y1)  # matplotlib has the center of pixel 0 at 0
        axes.add_patch(Rectangle(place, *sides, fill=False, ec=style.PAPER, lw=3))
        axes.add_patch(Rectangle(place, *sides, fill=False, ec=style.ACCENT, lw=1.5, ls=dash))
    if len(found.boxes) <= _FEW:
        for box, score, kind in zip(found.boxes, found.scores, found.classes, strict=True):
            name = f"{classes[int(kind)]} " if len(classes) else ""
            paper = {"facecolor": style.PAPER, "edgecolor": "none", "pad": 1}
            axes.text(box[0], max(box[1], 0), f"{name}{score:.2f}", va="bottom", bbox=paper, **style.SMALL)
    return figure


def score_maps(maps: Sequence[ScoreMap], target: int = 1, *, columns: int = 6, title: str = "") -> Figure:
    """Draws the scores of a class at every size.

    Args:
      maps: the result of `inspect.scan`.
      target: number of the class.
      columns: maps in a row.
      title: title of the figure.

    Returns:
      The figure: one map for each size, from 0 (white) to 1 (black); above it the size of the resized picture.

    Raises:
      ValueError: if there is no such class.
    """
    kinds = maps[0].scores.shape[-1]
    if target not in range(kinds):
        raise ValueError(f"`target` must be from 0 to {kinds - 1}; got {target}.")
    shown = [each.scores[..., target] for each in maps]
    captions = ["{}x{}".format(*each.shape) for each in maps]
    return style.tiles(shown, captions, columns=columns, size=1.1, levels=(0, 1), cmap=style.SEQUENTIAL, title=title)
