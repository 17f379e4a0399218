"""Reads picture files as inputs of a network."""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.data.depth import settle_transparency, to_bytes, white_of
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
    from PIL import Image, ImageOps

    path, (height, width, channels) = Path(path), shape
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        with Image.open(path) as file:
            whole, white = file.size, white_of(file)
            settle_transparency(file)
            if cut and preprocessing is None:
                side = max(height, width)
                file.draft(None, (side, side))  # as in `decode_picture`
            reduced = file.size
            image = ImageOps.exif_transpose(file)
            image.load()
    except Image.UnidentifiedImageError:
        raise ValueError(f"{path} must be a picture; Pillow recognizes no format in it.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} must be a whole picture; reading it failed: {error}.") from None
    changes = []
    try:
        image = _flat_colors(image, channels, white, changes)
    except ValueError as error:
        raise ValueError(f"{path} must have colors that can be converted; {error}.") from None
    shown = whole if image.size == reduced else whole[::-1]
    if shown != (width, height):
        part = cut and shown[0] * height != shown[1] * width
        middle = ", the middle" if part or preprocessing is not None else ""
        changes.append(f"{shown[0]}x{shown[1]} resized to {width}x{height}{middle}")
    if preprocessing is not None:
        image = preprocessing.fit(image)
    elif image.size != (width, height):
        image = _middle(image, width, height) if cut else image.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image).reshape(height, width, channels)
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
            image = image if plain else _flat_colors(image, 3, white, [])
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{name} must not be moved or deleted while it is in use; it no longer exists."
        ) from None
    except Exception as error:  # Pillow's decoders let many kinds out
        raise ValueError(f"{name} must be a whole picture; reading it failed: {error}.") from None
    if isinstance(image_size, Preprocessing):
        return image_size.fit(image)
    if image_size is not None and image.size != (image_size, image_size):
        image = _middle(image, image_size, image_size)
    return np.asarray(image)


def _middle(image, width: int, height: int):
    """The largest middle part of these proportions, resized with antialiasing."""
    from PIL import Image

    wide = image.width * height > image.height * width
    across = image.height * width / height if wide else image.width
    down = image.height if wide else image.width * height / width
    left, top = (image.width - across) / 2, (image.height - down) / 2
    box = (left, top, left + across, top + down)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


def _flat_colors(image, channels: int, white: int | None, changes: list[str]):
    """Converts a picture to 8-bit gray or color without alpha.

    `white` is as in `to_bytes`; what was done is appended to `changes`.
    """
    from PIL import Image

    wanted = {1: "L", 3: "RGB"}[channels]
    if image.mode == "LAB":  # Pillow would pass its numbers through as if they were red, green and blue
        raise ValueError("conversion from LAB is not supported")
    if image.mode.startswith("I") or image.mode == "F":
        image = to_bytes(image, white, changes)
    palette = image.palette.mode if image.mode == "P" and image.palette else None
    gray = image.mode in ("1", "L", "LA", "La") or palette == "L"
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        changes.append("transparency on white")
    if gray != (wanted == "L"):
        changes.append("gray made color" if gray else "color made gray")
    return image.convert("RGB").convert(wanted) if image.mode not in ("1", "L", "RGB") else image.convert(wanted)
