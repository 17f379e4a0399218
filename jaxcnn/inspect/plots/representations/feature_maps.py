"""Figures of feature maps."""

import numpy as np
from matplotlib.figure import Figure

from jaxcnn.inspect.plots import style

_SHOWN = 32


def feature_maps(name: str, maps: np.ndarray) -> Figure:
    """Draws the maps of one stage for one example.

    Args:
      name: name of the stage.
      maps: `(H, W, C)` activations.

    Returns:
      The figure.
    """
    every = list(np.moveaxis(maps, -1, 0))
    shown = every[:_SHOWN]
    more = f", the first {len(shown)} of {len(every)}" if len(every) > len(shown) else ""
    title = f"{name}: {maps.shape[0]}x{maps.shape[1]}x{maps.shape[2]}{more}"
    return style.mosaic(shown, columns=16, signed=bool((maps < 0).any()), size=0.5, title=title)
