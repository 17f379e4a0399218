"""A picture in many sizes.

So one window fits objects of every size.
"""

from typing import NamedTuple

import numpy as np

from jaxcnn import geometry


class Level(NamedTuple):
    """One size of a picture.

    Args:
      pixels: `(h, w, C)` uint8.
      scale: pixels of the picture for one pixel of the level, along x and along y.
    """

    pixels: np.ndarray
    scale: tuple[float, float]


def pyramid(
    picture: np.ndarray, smallest: int | tuple[int, int], *, step: float = 2**0.25, first: float = 1.0
) -> list[Level]:
    """Resizes a picture to smaller and smaller sizes.

    Args:
      picture: `(H, W)` or `(H, W, C)` uint8, C = 1 or 3.
      smallest: the size that every level has at least, as that of a network's window.
      step: quotient of the sides of two neighboring levels, above 1.
      first: side of the first level, in sides of the picture; above 1 for objects smaller than the window.

    Returns:
      The levels, the largest first; none if the picture is too small. They are resized with antialiasing.

    Raises:
      TypeError: if the pixels are not bytes.
      ValueError: if the picture has another shape, or an option is out of range.

    Example:
      >>> import numpy as np
      >>> from jaxcnn import inspect
      >>> levels = inspect.pyramid(np.zeros((64, 96, 3), np.uint8), 32, step=2.0)
      >>> [level.pixels.shape for level in levels], levels[1].scale
      ([(64, 96, 3), (32, 48, 3)], (2.0, 2.0))

    Source: Burt & Adelson 1983; for detection, Rowley, Baluja & Kanade 1998.
    """
    from PIL import Image

    picture = as_picture(picture)
    least = geometry.per_axis(smallest, 2, "smallest")
    if not 1 < step < np.inf:
        raise ValueError(f"`step` must be above 1; got {step!r}.")
    if not 0 < first < np.inf:
        raise ValueError(f"`first` must be positive; got {first!r}.")
    height, width, channels = picture.shape
    image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
    levels: list[Level] = []
    side = first
    while True:
        rows, columns = round(side * height), round(side * width)
        if rows < least[0] or columns < least[1]:
            return levels
        resized = picture
        if (rows, columns) != (height, width):
            pixels = np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR))
            resized = pixels.reshape(rows, columns, channels)
        levels.append(Level(resized, (width / columns, height / rows)))
        side /= step


def as_picture(picture: np.ndarray) -> np.ndarray:
    """Returns a picture as `(H, W, C)`.

    Raises:
      TypeError: if the pixels are not bytes.
      ValueError: if it is not one picture of 1 or 3 channels.
    """
    pixels = np.asarray(picture)
    if pixels.dtype != np.uint8:
        raise TypeError(f"`picture` must be bytes (uint8); got {pixels.dtype}.")
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3) or 0 in pixels.shape:
        raise ValueError(f"`picture` must be (H, W), or (H, W, C) with C = 1 or 3; got shape {np.shape(picture)}.")
    return pixels
