"""Figures of attributions, and of whether they ignore the weights."""

from collections.abc import Mapping, Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib import colormaps
from matplotlib.figure import Figure

from jaxcnn.inspect.attribution.randomization import Randomization
from jaxcnn.inspect.pixel_range import in_bytes
from jaxcnn.inspect.plots import style


def attributions(
    pictures: ArrayLike, maps: Mapping[str, ArrayLike], rows: Sequence[str] = (), *, title: str = ""
) -> Figure:
    """Draws pictures, with the maps of each beside it.

    Each map has its own scale, which ends at the 99.5th percentile of the magnitudes. For methods with negative values
    zero is the middle gray; for others zero is black.

    Args:
      pictures: `(N, H, W, C)` uint8, or floats from 0 to 1; C = 1 or 3.
      maps: by method, `(N, h, w)` or `(N, h, w, C)`; channels are summed.
      rows: a label for each row.
      title: title of the figure.

    Returns:
      The figure.
    """
    shown = in_bytes(pictures)
    by_cell = [_summed(np.asarray(values), shown.ndim) for values in maps.values()]
    images = []
    for place, picture in enumerate(shown):
        images.append(colored(picture))
        images += [tinted(values[place], signed=bool((values < 0).any())) for values in by_cell]
    captions = ["picture", *(name.replace(" ", "\n", 1) for name in maps)]
    size = min(1.0, 8.6 / len(captions))
    return style.tiles(images, captions, columns=len(captions), size=size, title=title, rows=rows)


def _summed(maps: np.ndarray, rank: int) -> np.ndarray:
    """Maps without channels, of those with the rank of pictures."""
    return maps.sum(-1) if maps.ndim == rank else maps


def tinted(values: ArrayLike, *, signed: bool | None = None) -> np.ndarray:
    """A map as colors `(h, w, 3)`, on its own scale.

    It is `(h, w)` or `(h, w, C)`; the scale has a sign if there are negative values.
    """
    array = np.asarray(values, np.float64)
    array = _summed(array, 3)
    top = np.quantile(np.abs(array), 0.995) or np.abs(array).max() or 1.0
    scaled = np.clip(array / top, -1, 1)
    if (array < 0).any() if signed is None else signed:
        return style.SIGNED((scaled + 1) / 2)[..., :3]
    return colormaps[style.GRAY](scaled)[..., :3]


def colored(picture: ArrayLike) -> np.ndarray:
    """A picture as colors from 0 to 1.

    It is `(H, W, C)` bytes, gray or in color.
    """
    scaled = np.clip(np.asarray(picture, np.float64) / 255, 0, 1)
    return np.repeat(scaled, 3, -1) if scaled.shape[-1] == 1 else scaled


def randomization_curves(similarity: Randomization) -> Figure:
    """Draws the similarity of maps to randomized copies', layer by layer.

    The maps are those of the network.

    Args:
      similarity: the result of `inspect.randomization_check`.

    Returns:
      The figure.
    """
    how = "from the head down to each" if similarity.order == "cascading" else "each alone"
    figure = style.canvas(8.4, 3.6, f"likeness of the maps to those of the trained network, layers shuffled {how}")
    panels = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(similarity.layers))
    for axes, name, rows in zip(
        panels, ("rank correlation", "structural similarity"), (similarity.rank, similarity.ssim), strict=True
    ):
        for number, (method, values) in enumerate(rows.items()):
            axes.plot(places, values, label=method, marker="osD^vPX"[number % 7], ms=4, lw=1.2, **_line(number))
        style.plain(axes)
        style.heading(axes, name)
        axes.axhline(0, color=style.FAINT, lw=0.6)
        turned = 90 if max(map(len, similarity.layers)) > 6 else 0
        axes.set_xticks(places, similarity.layers, rotation=turned, fontsize=7, parse_math=False)
    panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8, handlelength=3)
    return figure


def _line(number: int) -> dict:
    return {"color": style.SERIES[number % len(style.SERIES)], "ls": style.DASHES[number % len(style.DASHES)]}


def randomization_maps(similarity: Randomization) -> Figure:
    """Draws an image's maps while more and more layers are randomized.

    Args:
      similarity: the result of `inspect.randomization_check`.

    Returns:
      The figure.
    """
    images = [each for maps in similarity.maps.values() for each in maps]
    names = [("trained" if layer == "none" else layer).replace(".units", "\nunits") for layer in similarity.layers]
    how = "from the head down to each" if similarity.order == "cascading" else "each alone"
    title = f"magnitudes of the maps for one image, layers shuffled {how}"
    return style.tiles(
        images, names, columns=len(names), size=0.8, levels=(0, 1), title=title, rows=list(similarity.maps)
    )
