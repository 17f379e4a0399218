"""A picture as the numbers that a network gets."""

from typing import Any

import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from jaxcnn.inspect.plots import style

_MOST = 40  # cells of a side: with more, the figure is larger than a page
_CELL = 0.27  # inches: three digits at 6 points
_CHANNELS = {1: ("",), 3: ("red", "green", "blue")}


def pixels(image: ArrayLike, *, title: str = "") -> Figure:
    """Draws a picture as its numbers, one grid for each channel.

    Args:
      image: `(H, W)` or `(H, W, C)`, bytes or floats, with at most 40 cells along a side; C = 3 are red, green, blue.
      title: title of the figure.

    Returns:
      The figure.

    Raises:
      ValueError: if the image has another shape, or too many cells to be read.

    Example:
      >>> from jaxcnn import data
      >>> from jaxcnn.inspect import plots
      >>> digits = data.load("digits", "train")
      >>> figure = plots.pixels(digits.images[digits.labels == 8][0])
      >>> len(figure.axes)
      1
    """
    values = np.asarray(image)
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(f"`image` must be (H, W) or (H, W, C); got shape {np.shape(image)}.")
    height, width, channels = values.shape
    if max(height, width) > _MOST:
        raise ValueError(f"`image` must have at most {_MOST} cells along a side; got {height}x{width}.")
    names = _CHANNELS.get(channels) or tuple(f"channel {number}" for number in range(channels))
    head = 0.24 if channels > 1 else 0.05
    wide = 0.1 + channels * (width * _CELL + 0.1)
    top = style.title_height(title, wide)
    tall = top + head + height * _CELL + 0.1
    figure = style.canvas(wide, tall, title, layout=None)
    levels = (0.0, 255.0) if values.dtype == np.uint8 else (float(values.min()), float(values.max()) or 1.0)
    for number, name in enumerate(names):
        left = 0.1 + number * (width * _CELL + 0.1)
        box = (left / wide, 0.1 / tall, width * _CELL / wide, height * _CELL / tall)
        axes: Any = figure.add_axes(box)
        shown = style.show(axes, values[..., number], levels=levels)
        style.numbers(axes, values[..., number], shown, size=6, most=4)
        style.heading(axes, name)
    return figure
