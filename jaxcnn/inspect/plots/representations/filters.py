"""The kernels that a network has learned."""

import numpy as np
from matplotlib.figure import Figure

from jaxcnn.inspect.plots import style


def filters(kernel: np.ndarray, *, columns: int | None = None, title: str = "") -> Figure:
    """Draws the filters of a first layer as tiles.

    Args:
      kernel: `(kh, kw, C, O)`. With C = 3, each filter is drawn in color on its own scale, where zero is gray.
        Otherwise there is one tile with signed values for each input channel, all on one scale.
      columns: number of tiles in a row; by default 8, or 16 for more than 64 tiles.
      title: title of the figure.

    Returns:
      The figure.

    Source: Krizhevsky et al. 2012, figure 3.
    """
    kernel = np.asarray(kernel)
    if kernel.shape[2] == 3:
        images = [each / (2 * style.reach([each])) + 0.5 for each in np.moveaxis(kernel, -1, 0)]
    else:
        images = list(np.moveaxis(kernel.reshape(*kernel.shape[:2], -1), -1, 0))
    columns = columns or (16 if len(images) > 64 else 8)
    signed = kernel.shape[2] != 3
    size = min(0.7, 9 / columns - 0.06)
    return style.mosaic(
        images, columns=columns, size=size, signed=signed, levels=None if signed else (0, 1), title=title
    )
