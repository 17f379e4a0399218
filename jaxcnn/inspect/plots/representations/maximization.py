"""The images that excite units most, found or made."""

from collections.abc import Sequence

from jax.typing import ArrayLike
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxcnn.inspect.pixel_range import in_bytes
from jaxcnn.inspect.plots import style
from jaxcnn.inspect.plots.attribution.attributions import colored
from jaxcnn.inspect.representations.maximization import Exciting


def maximized(pictures: ArrayLike, captions: Sequence[str], *, title: str = "") -> Figure:
    """Draws images that were made to excite units.

    Args:
      pictures: `(N, H, W, C)` from 0 to 255, C = 1 or 3.
      captions: one per picture.
      title: title of the figure.

    Returns:
      The figure.
    """
    images = list(map(colored, in_bytes(pictures)))
    return style.tiles(images, captions, columns=min(10, len(images)), size=0.85, title=title)


def most_exciting(pictures: ArrayLike, exciting: Sequence[Exciting], rows: Sequence[str], *, title: str = "") -> Figure:
    """Draws for each unit the examples that excite it most.

    It also shows the part of each on which the unit depends.

    Args:
      pictures: `(N, H, W, C)` uint8, all examples that were searched.
      exciting: results of `inspect.most_exciting`, one for each unit, all with the same number of examples.
      rows: names of the units.
      title: title of the figure.

    Returns:
      The figure.
    """
    every = in_bytes(pictures)
    images = [colored(every[index]) for each in exciting for index in each.indices]
    captions = [f"{value:.2g}" for each in exciting for value in each.values]
    columns = len(exciting[0].indices)
    title = title or "the pictures that excite each unit most, its value, and what it looks at there (frame)"
    figure = style.tiles(images, captions, columns=columns, size=min(0.85, 8.2 / columns), title=title, rows=rows)
    boxes = [box for each in exciting for box in each.boxes]
    for axes, box in zip(figure.axes, boxes, strict=True):
        (top, bottom), (left, right) = box
        corner = (left - 0.5, top - 0.5)
        for color, width in ((style.PAPER, 2.6), (style.ACCENT, 1.4)):  # a light hem: seen on any picture
            frame = Rectangle(corner, right - left + 1, bottom - top + 1, fill=False, color=color, lw=width)
            axes.add_patch(frame)
    return figure
