"""Reads picture files as inputs of a network."""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.data.pixels import fit_middle, flat_colors, read_pixels, settle_transparency, white_of
from jaxcnn.data.preprocessing import Preprocessing

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)


class Picture(NamedTuple):
    """A picture in the shape of a network's input.

    Args:
      pixels: `(H, W, C)` uint8.
      changes: the conversions that were necessary, in words.
    """

    pixels: np.ndarray
    changes: tuple[str, ...]


def read_picture(
    path: str | Path,
    shape: Sequence[int],
    *,
    invert: bool = False,
    cut: bool = False,
    preprocessing: Preprocessing | None = None,
) -> Picture:
    """Reads a picture file, upright, in a network's size and channels.

    Alpha is removed.

    Args:
      path: a file of any format that Pillow reads. Gray with more than 8 bits is scaled to bytes, and transparent
        pixels become white.
      shape: `(H, W, C)` of the network, with 1 or 3 channels.
      invert: exchange light and dark.
      cut: if the picture has other proportions, use its middle, as data sets of photographs do; by default the whole
        picture is used.
      preprocessing: how a trained network's pictures are resized and cut, in place of `cut`; of the size of `shape`.

    Returns:
      The picture, with the list of changes.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is not a picture, or is damaged.
    """
    height, width, channels = shape
    fed = preprocessing and {"resize": preprocessing.resize, "interpolation": preprocessing.interpolation}
    pixels, changes = read_pixels(path, channels, (height, width), cut=cut, **(fed or {}))
    if invert:
        pixels = 255 - pixels
        changes.append("inverted")
    return Picture(pixels, tuple(changes))


def read_inputs(paths: Iterable[str | Path], preprocessing: Preprocessing | Mapping[str, Any]) -> np.ndarray:
    """Reads picture files as inputs of a trained network.

    The pictures are resized, cut and scaled.

    Args:
      paths: files of any format that Pillow reads.
      preprocessing: how the network's pictures are prepared, or its description, as in the configuration that
        `weights.pretrained` returns.

    Returns:
      `(N, H, W, C)` float32.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a file is not a picture, or is damaged; or the description is incomplete.
    """
    fed = preprocessing if isinstance(preprocessing, Preprocessing) else Preprocessing.of(preprocessing)
    shape = (*fed.size, len(fed.mean))
    pixels = [read_picture(path, shape, preprocessing=fed).pixels for path in paths]
    return fed.scale(np.stack(pixels) if pixels else np.zeros((0, *shape), np.uint8))


def decode_picture(source: str | bytes, name: str, image_size: int | Preprocessing | None = None) -> np.ndarray:
    """Decodes a picture upright, without alpha, in color.

    Args:
      source: the path of a file, or its content.
      name: name of the picture in error messages.
      image_size: length to which the shorter side is resized, antialiased; the middle square is then cut out. Or how a
        trained network's pictures are resized and cut.

    Returns:
      `(H, W, 3)` uint8.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged, or not a picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            white = white_of(file)
            settle_transparency(file)
            if isinstance(image_size, int):
                file.draft(None, (image_size, image_size))  # JPEG decodes to halves and quarters at less cost
            image = ImageOps.exif_transpose(file)
            plain = image.mode == "RGB" and "transparency" not in image.info
            image = image if plain else flat_colors(image, 3, white, [])
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{name} must not be moved or deleted while it is in use; it no longer exists."
        ) from None
    except Exception as error:  # Pillow's decoders let many kinds out
        raise ValueError(f"{name} must be a whole picture; reading it failed: {error}.") from None
    if isinstance(image_size, Preprocessing):
        return image_size.fit(image)
    if image_size is not None and image.size != (image_size, image_size):
        image = fit_middle(image, image_size, image_size)
    return np.asarray(image)
