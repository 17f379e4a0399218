"""The confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxcnn.inspect.plots import style


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draws how often each class (row) was predicted as each (column).

    The rows are the true classes.

    Up to 12 classes, a cell has the number of examples and its share of the row, in percent; up to 20, the number.

    Args:
      labels: `(N,)` true classes.
      predictions: `(N,)` predicted classes.
      classes: their names.

    Returns:
      The figure.
    """
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (labels, predictions), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    both = len(classes) <= 12
    side = max(3.2, (0.5 if both else 0.42) * len(classes))
    figure = style.canvas(side, side)
    axes = figure.subplots()
    axes.imshow(np.sqrt(shares), cmap=style.SEQUENTIAL, vmin=0, vmax=1)  # the root lets single mistakes be seen
    turned = 90 if max(map(len, classes)) > 4 else 0
    axes.set_xticks(range(len(classes)), classes, fontsize=8, parse_math=False, rotation=turned)
    axes.set_yticks(range(len(classes)), classes, fontsize=8, parse_math=False)
    axes.set_xlabel("predicted", **style.TEXT)
    axes.set_ylabel("true", **style.TEXT)
    if len(classes) <= 20:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                ink = "white" if shares[row, column] > 0.3 else style.INK
                text = f"{count}\n{100 * shares[row, column]:.1f} %" if both else str(count)
                axes.text(column, row, text, ha="center", va="center", fontsize=6 if both else 7, color=ink)
    return figure
