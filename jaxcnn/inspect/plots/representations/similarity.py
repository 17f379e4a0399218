"""Figures of examples that are similar for a network."""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from jaxcnn.inspect.pixel_range import in_bytes
from jaxcnn.inspect.plots import style
from jaxcnn.inspect.plots.attribution.attributions import colored
from jaxcnn.inspect.representations.probes import PCA

_MARKERS = "os^DvPX<>*"


def neighbors(
    queries: ArrayLike,
    nearest: ArrayLike,
    query_classes: Sequence[str],
    classes: Sequence[Sequence[str]],
    *,
    rows: Sequence[str] = (),
    title: str = "each query, and the examples whose features are nearest; other classes than its own are framed",
) -> Figure:
    """Draws each query in a row with its neighbors, nearest first.

    Args:
      queries: `(Q, H, W, C)` uint8.
      nearest: `(Q, count, H, W, C)` uint8, the neighbors.
      query_classes: a class for each query, its true or its predicted one.
      classes: for each query, the classes of its neighbors; those that differ are framed.
      rows: a label for each row; by default queries.
      title: title of the figure.

    Returns:
      The figure.
    """
    near_all = in_bytes(nearest)
    images, captions, differs = [], [], []
    for query, near, own, others in zip(in_bytes(queries), near_all, query_classes, classes, strict=True):
        images += [colored(query), *map(colored, near)]
        captions += [own, *others]
        differs += [False, *(name != own for name in others)]
    columns = near_all.shape[1] + 1
    size = min(0.9, 8.6 / columns)
    names = list(rows) or ["query"] * len(near_all)
    figure = style.tiles(images, captions, columns=columns, size=size, title=title, rows=names)
    for place, (axes, other) in enumerate(zip(figure.axes, differs, strict=True)):
        if other or not place % columns:
            width, color = (2.5, style.ACCENT) if other else (2.0, style.INK)
            for spine in axes.spines.values():
                spine.set(linewidth=width, color=color)
    return figure


def components(
    pca: PCA,
    features: np.ndarray,
    labels: ArrayLike,
    classes: Sequence[str],
    *,
    marked: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Draws examples in their first two principal components, by class.

    Args:
      pca: of `inspect.pca`, two components or more.
      features: `(N, D)`.
      labels: `(N,)` classes.
      classes: their names.
      marked: `(1, D)`, an example to mark.
      title: title of the figure.

    Returns:
      The figure.
    """
    shares, points = 100 * pca.explained[:2], pca(features)
    figure = style.canvas(6.4, 5.2, title or "features in the two directions in which they differ most")
    axes = figure.subplots()
    numbers = np.asarray(labels)
    for label, name in enumerate(classes):
        mine = points[numbers == label]
        if len(mine):
            color = style.SERIES[label % len(style.SERIES)]
            marker = _MARKERS[label % len(_MARKERS)]
            axes.scatter(mine[:, 0], mine[:, 1], s=20, alpha=0.8, color=color, marker=marker, lw=0, label=name)
    if marked is not None:
        across, up = pca(marked)[0, :2]
        axes.plot(across, up, marker="*", ms=17, mfc="none", mec=style.INK, mew=1.5, ls="", label="this picture")
    style.plain(axes, f"first component, {shares[0]:.0f} % of the variance", f"second component, {shares[1]:.0f} %")
    if len(axes.get_legend_handles_labels()[0]) <= 24:
        legend = axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure
