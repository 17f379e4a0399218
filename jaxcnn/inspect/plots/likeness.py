"""Which examples a network finds alike."""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from jaxcnn.inspect.likeness import Components
from jaxcnn.inspect.plots import style
from jaxcnn.inspect.plots.attributions import colored

_MARKERS = "os^DvPX<>*"


def neighbours(
    queries: ArrayLike,
    found: ArrayLike,
    query_classes: Sequence[str],
    classes: Sequence[Sequence[str]],
    *,
    title: str = "each query, and the examples whose features are nearest; other classes than its own are framed",
) -> Figure:
    """Each query in a row with its neighbours, the nearest first.

    Args:
      queries: `(Q, H, W, C)` uint8.
      found: `(Q, count, H, W, C)` uint8, the neighbours.
      query_classes: a class for each query, its true or its predicted one.
      classes: for each query, the classes of its neighbours; those that differ are framed.
      title: what is seen.
    """
    rows = np.asarray(found)
    images, captions, differs = [], [], []
    for query, near, own, names in zip(np.asarray(queries), rows, query_classes, classes, strict=True):
        images += [colored(query), *map(colored, near)]
        captions += [own, *names]
        differs += [False, *(name != own for name in names)]
    columns = rows.shape[1] + 1
    size = min(0.9, 8.6 / columns)
    figure = style.tiles(images, captions, columns=columns, size=size, title=title, rows=["query"] * len(rows))
    for place, (axes, other) in enumerate(zip(figure.axes, differs, strict=True)):
        if other or not place % columns:
            width, color = (2.5, style.ACCENT) if other else (2.0, style.INK)
            for spine in axes.spines.values():
                spine.set(linewidth=width, color=color)
    return figure


def components(
    found: Components, labels: ArrayLike, classes: Sequence[str], *, marked: ArrayLike | None = None, title: str = ""
) -> Figure:
    """Examples in their two principal components, by class.

    Args:
      found: of `inspect.principal_components`, of at least two.
      labels: `(N,)` classes.
      classes: their names.
      marked: `(2,)` or more, a point to mark.
      title: what is seen.
    """
    shares = 100 * found.shares[:2]
    figure = style.canvas(6.4, 5.2, title or "features in the two directions in which they differ most")
    axes = figure.subplots()
    numbers = np.asarray(labels)
    for label, name in enumerate(classes):
        mine = found.projected[numbers == label]
        if len(mine):
            color = style.SERIES[label % len(style.SERIES)]
            marker = _MARKERS[label % len(_MARKERS)]
            axes.scatter(mine[:, 0], mine[:, 1], s=14, alpha=0.7, color=color, marker=marker, lw=0, label=name)
    if marked is not None:
        across, up = np.asarray(marked)[:2]
        axes.plot(across, up, marker="*", ms=17, mfc="none", mec=style.INK, mew=1.5, ls="", label="this picture")
    style.plain(axes, f"first component, {shares[0]:.0f} % of the variance", f"second component, {shares[1]:.0f} %")
    if len(axes.get_legend_handles_labels()[0]) <= 24:
        legend = axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure
