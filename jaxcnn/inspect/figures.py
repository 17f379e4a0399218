"""The figures of a report, drawn without a display; each function returns a matplotlib figure."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_INK, _ACCENT = "#30343b", "#b3541e"  # dark grey and a red-brown that stays apart from it in print
_STYLE = {"fontsize": 8, "color": _INK, "parse_math": False}  # a dollar in a name is a dollar


def learning_curves(rows: Sequence[dict[str, Any]]) -> Figure:
    """Loss and error by epoch, of training and of the held-out split.

    Args:
      rows: the epoch rows of a run's log.
    """
    figure = Figure(figsize=(8, 3), layout="constrained")
    losses, errors = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    held_out = next((row["eval_split"] for row in rows if "eval_split" in row), None)
    for axes, name, transform in ((losses, "loss", float), (errors, "accuracy", lambda a: 100 * (1 - a))):
        axes.plot(epochs, [transform(row[name]) for row in rows], color=_INK, label="training", marker=".", ms=4)
        if held_out:
            values = [transform(row[f"eval_{name}"]) for row in rows]
            axes.plot(epochs, values, color=_ACCENT, ls="--", label=held_out, marker=".", ms=4)
        axes.set_xlabel("epoch", **_STYLE)
        axes.xaxis.get_major_locator().set_params(integer=True)
        _plain(axes)
        axes.legend(frameon=False, fontsize=8)
    losses.set_yscale("log")
    losses.set_title("cross-entropy (nats)", **_STYLE)
    errors.set_title("error (%)", **_STYLE)
    errors.set_ylim(bottom=0)
    return figure


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str]) -> Figure:
    """How often each class (row) was taken for each (column).

    Args:
      labels: `(N,)` true classes.
      predictions: `(N,)` predicted classes.
      classes: their names.
    """
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (labels, predictions), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(3.2, 0.42 * len(classes))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.sqrt(shares), cmap="Greys", vmin=0, vmax=1)  # the root lets single mistakes be seen
    axes.set_xticks(range(len(classes)), classes, fontsize=8, parse_math=False)
    axes.set_yticks(range(len(classes)), classes, fontsize=8, parse_math=False)
    axes.set_xlabel("predicted", **_STYLE)
    axes.set_ylabel("true", **_STYLE)
    if len(classes) <= 20:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                ink = "white" if shares[row, column] > 0.3 else _INK
                axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=ink)
    return figure


def filters(kernel: np.ndarray) -> Figure:
    """The filters of a first layer, one tile each; signed values with zero in the middle, colours as they are.

    Args:
      kernel: `(kh, kw, C, O)`; C = 3 is shown as colour, anything else as one grey tile for each input channel.
    """
    if kernel.shape[2] == 3:
        reach = np.abs(kernel).max() or 1.0
        tiles = [kernel[..., o] / (2 * reach) + 0.5 for o in range(kernel.shape[3])]
        return _tiles(tiles, [""] * len(tiles), columns=8)
    flat = kernel.reshape(*kernel.shape[:2], -1)
    return _tiles(list(np.moveaxis(flat, -1, 0)), [""] * flat.shape[-1], columns=8, signed=True)


def feature_maps(name: str, maps: np.ndarray) -> Figure:
    """The maps of one stage for one example.

    Args:
      name: of the stage.
      maps: `(H, W, C)` activations.
    """
    tiles = list(np.moveaxis(maps, -1, 0))
    shown = tiles[:32]
    figure = _tiles(shown, [""] * len(shown), columns=16, signed=bool((maps < 0).any()), size=0.55)
    more = f", the first {len(shown)} of {len(tiles)}" if len(tiles) > len(shown) else ""
    figure.suptitle(f"{name}: {maps.shape[0]}x{maps.shape[1]}x{maps.shape[2]}{more}", x=0.01, ha="left", **_STYLE)
    return figure


def labelled_images(images: np.ndarray, captions: Sequence[str]) -> Figure:
    """Images in a grid, a caption above each.

    Args:
      images: `(N, H, W, C)` uint8, C = 1 or 3.
      captions: one for each.
    """
    tiles = [image[..., 0] if image.shape[-1] == 1 else image for image in images]
    return _tiles(tiles, captions, columns=8, size=1.0, levels=(0, 255))


def augmented(before: np.ndarray, after: np.ndarray, captions: Sequence[str]) -> Figure:
    """Pictures before and after augmentation, the first sixteen.

    Args:
      before: `(N, H, W, C)` from 0 to 255, C = 1 or 3; the upper row.
      after: `(N, h, w, C)` from 0 to 255; the lower row.
      captions: one for each.
    """
    shown = min(16, len(before))
    tiles = [np.rint(np.clip(image, 0, 255)).astype(np.uint8) for image in (*before[:shown], *after[:shown])]
    tiles = [tile[..., 0] if tile.shape[-1] == 1 else tile for tile in tiles]
    figure = _tiles(tiles, [*captions[:shown], *[""] * shown], columns=shown, size=0.8, levels=(0, 255))
    for axes, name in zip(figure.axes[::shown], ("before", "after"), strict=True):
        axes.text(-0.04, 0.5, name, rotation=90, ha="right", va="center", transform=axes.transAxes, **_STYLE)
    return figure


def _tiles(tiles, captions, *, columns, signed=False, size=0.7, levels=None) -> Figure:
    rows = math.ceil(len(tiles) / columns)
    columns = min(columns, len(tiles))
    extra = 0.28 if any(captions) else 0.06
    figure = Figure(figsize=(columns * (size + 0.06), rows * (size + extra) + 0.25), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    reach = max(float(np.abs(tile).max()) for tile in tiles) or 1.0
    for axes in grid.flat:
        axes.axis("off")
    low, high = levels or ((-reach, reach) if signed else (None, None))
    for axes, tile, caption in zip(grid.flat, tiles, captions, strict=False):
        axes.imshow(tile, cmap="RdBu_r" if signed else "gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(caption, fontsize=7, color=_INK, pad=2, parse_math=False)
    return figure


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=_INK)
