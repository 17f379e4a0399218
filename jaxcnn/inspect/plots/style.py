"""The one style of all figures: sizes, inks, color maps, tiles.

Figures are matplotlib's own objects, made without pyplot: nothing opens, nothing stays open, no display is needed.
"""

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from jaxcnn.inspect.plots import saving

INK, FAINT, PAPER = "#30343b", "#a6abb3", "#ffffff"
ACCENT = "#b3541e"  # a red-brown that stays apart from the ink in print
SERIES = ("#30343b", "#b3541e", "#7d8fa9", "#d9a441", "#4f7a5b", "#8c6bb1")  # with DASHES, told apart in gray
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
GRAY = "gray"  # of pictures: 0 is black
SEQUENTIAL = "Greys"  # of counts and shares: 0 is the paper

# zero is a middle gray, and the lightness grows all the way: in print, dark is negative and light positive
SIGNED = LinearSegmentedColormap.from_list("signed", ["#07265c", "#4a6fa5", "#898989", "#dfa458", "#ffe9b5"])
PALE = LinearSegmentedColormap.from_list("pale", ["#9db3d6", "#ffffff", "#f0c48a"])  # under numbers
SIGNED_SAYS = "below zero dark blue, zero gray, above zero light orange"

TEXT: dict[str, Any] = {"fontsize": 8, "color": INK, "parse_math": False}  # a dollar in a name is a dollar
SMALL: dict[str, Any] = TEXT | {"fontsize": 7}
_CHARACTER = 0.53  # mean width of a character, in font sizes


class Drawing(Figure):
    """A matplotlib figure that a notebook shows as a result.

    It shows itself as the result of a cell.
    """

    def _repr_png_(self) -> bytes:
        return saving.as_png(self, dpi=110)


def canvas(width: float, height: float, title: str = "", *, layout: Any = "constrained") -> Figure:
    """An empty figure.

    Args:
      width: in inches, of 96 pixels on a page.
      height: in inches, that of the title included.
      title: title of the figure, over everything, broken into lines where it is too long.
      layout: matplotlib's layout engine; None for panels that are placed by hand.

    Returns:
      The figure.
    """
    figure = Drawing(figsize=(width, height), layout=layout, facecolor=PAPER)
    if title:
        options = TEXT | {"fontsize": 9, "ha": "left", "va": "top"}
        place = {} if layout else {"y": 1 - 0.06 / height}  # an engine makes room only for titles that it places
        figure.suptitle(fitted(title, width - 0.2), x=0.1 / width, **place, **options)
    return figure


def title_height(title: str, width: float) -> float:
    """The height in inches that `canvas` needs for a title."""
    return 0.08 + 0.16 * (fitted(title, width - 0.2).count("\n") + 1) if title else 0.0


def fitted(text: str, width: float, size: float = 9) -> str:
    """A text in lines no wider than so many inches.

    The font size is in points.
    """
    most = max(8, int(72 * width / (_CHARACTER * size)))
    return "\n".join(textwrap.fill(line, most) for line in text.split("\n"))


def shortened(text: str, width: float, size: float = 7) -> str:
    """A text cut to one line of so many inches.

    An ellipsis shows where something is missing.
    """
    most = max(3, int(72 * width / (_CHARACTER * size)))
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def heading(axes: Axes, text: str, **options: Any) -> None:
    """The title of one panel, at its left edge."""
    axes.set_title(text, loc="left", pad=4, **TEXT | options)


def plain(axes: Axes, x: str = "", y: str = "") -> None:
    """Axes of a plot with two spines and small ticks.

    They say what they measure.
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(which="both", labelsize=8, colors=INK)
    axes.set_xlabel(x, **TEXT)
    axes.set_ylabel(y, **TEXT)


def framed(axes: Axes) -> None:
    """Axes of a picture: a hair line round it, no ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=FAINT, linewidth=0.5)


def reach(arrays: Iterable[Any]) -> float:
    """The largest finite magnitude, the end of a signed scale.

    It is 1 where there is none.
    """
    tops = [np.abs(a[np.isfinite(a)]).max(initial=0) for a in map(np.asarray, arrays)]
    return float(max(tops, default=0.0)) or 1.0


def show(
    axes: Axes, image: Any, *, signed: bool = False, levels: tuple[float, float] | None = None, cmap: Any = None
) -> AxesImage:
    """Draws an array, cells as squares.

    Args:
      axes: where to.
      image: `(H, W)`, `(H, W, 1)`, or colors `(H, W, 3)`.
      signed: use the signed map, with zero in its middle.
      levels: values of the map's ends; by default those of the array, and for `signed` its reach on both sides.
      cmap: another map.
    """
    image = np.asarray(image)
    image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    if signed and levels is None:
        levels = (-reach([image]), reach([image]))
    low, high = levels or (None, None)
    framed(axes)
    cmap = cmap or (SIGNED if signed else GRAY)
    return axes.imshow(image, cmap=cmap, vmin=low, vmax=high, interpolation="nearest", interpolation_stage="data")


def numbers(axes: Axes, values: Any, image: AxesImage | None = None, *, size: float = 7, most: int = 6) -> None:
    """Writes an array's values into its cells.

    NaN, and what is masked, stays empty.

    Args:
      axes: where the array is drawn.
      values: `(H, W)`.
      image: what `show` gave, so that the ink stands out from each cell.
      size: of the letters, in points.
      most: characters that fit into a cell.
    """
    for (row, column), value in np.ndenumerate(np.ma.filled(np.ma.asarray(values, float), np.nan)):
        if np.isnan(value):
            continue
        ink = INK if image is None else ink_on(image.cmap(image.norm(value)))
        told = written(value, most)
        axes.text(column, row, told, ha="center", va="center", fontsize=size, color=ink, parse_math=False)


def written(value: float, most: int = 6) -> str:
    """A number in at most so many characters.

    It has three digits where there is room for them.
    """
    tried = [form.format(value + 0.0) for form in ("{:.3g}", "{:.2g}", "{:.1f}", "{:.0f}")]  # no negative zero
    return next((text for text in tried if len(text) <= most), tried[-1])


def ink_on(color: Any) -> str:
    """White or the ink, whichever stands out from a color."""
    red, green, blue = to_rgb(color[:3] if not isinstance(color, str) else color)
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else PAPER


def tiles(
    images: Sequence[Any],
    captions: Sequence[str] = (),
    *,
    columns: int = 8,
    size: float = 0.7,
    signed: bool = False,
    levels: tuple[float, float] | None = None,
    cmap: Any = None,
    title: str = "",
    rows: Sequence[str] = (),
) -> Figure:
    """Pictures in a grid, on one scale.

    Args:
      images: as `show` draws them.
      captions: one above each; cut to the width of a tile.
      columns: tiles in a row.
      size: of a tile, in inches.
      signed: as in `show`; the scale reaches as far as any of them.
      levels: as in `show`; by default those of all of them together.
      cmap: as in `show`.
      title: title of the figure.
      rows: one on the left of each row.

    Returns:
      The figure.
    """
    images = [np.asarray(image) for image in images]
    count = math.ceil(len(images) / columns)
    columns = min(columns, len(images))
    above = [captions[row * columns : (row + 1) * columns] for row in range(count)]
    gaps = [0.06 + 0.14 * max((c.count("\n") + 1 for c in part if c), default=0) for part in above]
    margin = 0.15 + max((len(name) for name in rows), default=0) * 7 * 0.6 / 72 if rows else 0.1
    tall = size * min(max((image.shape[0] / max(image.shape[1], 1) for image in images), default=1.0), 1.6)
    step = size + 0.06
    width = max(margin + columns * step + 0.04, 2.4 if title else 0.8)
    head = title_height(title, width)
    height = head + count * tall + sum(gaps) + 0.06
    figure = canvas(width, height, title, layout=None)  # placed by hand: a layout engine takes seconds for many tiles
    levels = levels or _levels(images, signed)
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        bottom = height - head - (row + 1) * tall - sum(gaps[: row + 1])
        box = ((margin + column * step) / width, bottom / height, size / width, tall / height)
        axes = figure.add_axes(box)
        show(axes, image, signed=signed, levels=levels, cmap=cmap)
        if place < len(captions):
            parts = captions[place].split("\n")
            axes.set_title("\n".join(shortened(part, step - 0.04) for part in parts), pad=2, **SMALL)
        if rows and not column:
            axes.set_ylabel(rows[row], rotation=0, ha="right", va="center", labelpad=4, **SMALL)
    return figure


def mosaic(
    images: Sequence[Any],
    *,
    columns: int = 8,
    size: float = 0.7,
    signed: bool = False,
    levels: tuple[float, float] | None = None,
    title: str = "",
) -> Figure:
    """Pictures in a grid on one panel, without captions.

    Many of them are drawn ten times faster than by `tiles`.

    Args:
      images: of one shape, as `show` draws them.
      columns: pictures in a row.
      size: of a picture, in inches.
      signed: as in `tiles`.
      levels: as in `tiles`.
      title: title of the figure.

    Returns:
      The figure.
    """
    images = [np.asarray(image) for image in images]
    rows = math.ceil(len(images) / columns)
    tall = size * images[0].shape[0] / images[0].shape[1]
    across, down = size + 0.06, tall + 0.06
    width = max(min(columns, len(images)) * across + 0.14, 2.4 if title else 0.8)
    height = title_height(title, width) + rows * down + 0.06
    figure = canvas(width, height, title, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    low, high = levels or _levels(images, signed)
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        left, bottom = 0.1 + column * across, (rows - row - 1) * down + 0.06
        axes.imshow(
            image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image,
            cmap=SIGNED if signed else GRAY,
            vmin=low,
            vmax=high,
            interpolation="nearest",
            extent=(left, left + size, bottom, bottom + tall),
        )
        axes.add_patch(Rectangle((left, bottom), size, tall, fill=False, ec=FAINT, lw=0.5))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")
    return figure


def _levels(images: Sequence[np.ndarray], signed: bool) -> tuple[float, float]:
    """The ends of one scale for all."""
    if signed:
        return -reach(images), reach(images)
    finite = [image[np.isfinite(image)] for image in images]
    return (
        float(min((part.min() for part in finite if part.size), default=0.0)),
        float(max((part.max() for part in finite if part.size), default=1.0)),
    )


def colorbar(figure: Figure, image: AxesImage, axes: Any, label: str = "") -> None:
    """A narrow scale beside one panel or several."""
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=25)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.ax.tick_params(labelsize=7, colors=INK)
    bar.set_label(label, **SMALL)
