"""Gray pictures with more than 8 bits, and transparent colors.

Their numbers are converted to bytes; the transparent color is that of a PNG.
"""

import numpy as np

_TIFF_BITS = 258  # the tag BitsPerSample
_SHORT = 2**16 - 1
_NEAR = 0.001  # how far interpolation may leave a range
_DIM = 16  # floats above 1 that are no brighter than this out of 255 may be of any scale
# by Pillow's raw mode, from the numbers that PNG writes to those that Pillow decodes
_DECODED = {"L;2": lambda value: value * 85, "L;4": lambda value: value * 17, "RGB;16B": lambda value: value >> 8}


def white_of(file) -> int | None:
    """Returns the number of white in a deep gray picture.

    The file is open and has more than 8 bits of gray. None means that only the values can show it.
    """
    if file.format == "TIFF" and file.mode.startswith("I;16"):
        bits = file.tag_v2.get(_TIFF_BITS, 16)
        return 2 ** (bits[0] if isinstance(bits, tuple) else bits) - 1
    short = file.mode.startswith("I;16") or (file.mode == "I" and file.format in ("PNG", "PPM"))
    return _SHORT if short else None


def settle_transparency(file) -> None:
    """Converts the transparent color of a PNG to pixel numbers.

    They are the numbers to which Pillow decodes its pixels.
    """
    key = file.info.get("transparency")
    decoded = _DECODED.get(file.tile[0][3]) if file.format == "PNG" and file.tile else None
    if decoded is None or isinstance(key, bytes) or key is None:
        return
    file.info["transparency"] = tuple(map(decoded, key)) if isinstance(key, tuple) else decoded(key)


def to_bytes(image, white: int | None, changes: list[str]):
    """Converts a gray picture with more than 8 bits to bytes.

    Transparent pixels become white.

    Args:
      image: a Pillow image of mode `I` or `F`.
      white: the result of `white_of`.
      changes: a line is appended for every change.

    Raises:
      ValueError: if values are outside all known scales.
    """
    from PIL import Image

    values = np.asarray(image, np.float64)
    if white is None:
        white = _white_by_values(values, whole=image.mode != "F")
    pixels = np.clip(np.rint(values * (255 / white)), 0, 255).astype(np.uint8)
    scales = {1: "0 to 1 scaled to bytes", 255: "numbers rounded to bytes"}
    changes.append(scales.get(white, f"{white.bit_length()}-bit scaled to 8"))
    key = image.info.get("transparency")
    if isinstance(key, int):
        pixels = np.where(values == key, 255, pixels).astype(np.uint8)
        changes.append("transparency on white")
    return Image.fromarray(pixels)


def _white_by_values(values: np.ndarray, whole: bool) -> int:
    low, top = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    known = -_NEAR <= low and top <= _SHORT + 0.5  # false for what is not a number
    if not whole and top <= 1 + _NEAR and known:
        return 1
    if not known or (not whole and top < _DIM):
        raise ValueError(f"its grays must be from 0 to 1, to 255 or to 65,535; they are from {low:g} to {top:g}")
    return 255 if top <= 255.5 else _SHORT
