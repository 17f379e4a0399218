"""From picture files to pixels, with Pillow and NumPy alone.

`export.recipe` copies this file into programs that run without jaxcnn. So it imports nothing of jaxcnn, and holds every
rule by which a picture is read.
"""

from pathlib import Path

import numpy as np

_TIFF_BITS = 258  # the tag BitsPerSample
_SHORT = 2**16 - 1
_NEAR = 0.001  # how far interpolation may leave a range
_DIM = 16  # floats above 1 that are no brighter than this out of 255 may be of any scale
# by Pillow's raw mode, from the numbers that PNG writes to those that Pillow decodes
_DECODED = {"L;2": lambda value: value * 85, "L;4": lambda value: value * 17, "RGB;16B": lambda value: value >> 8}


def read_pixels(
    path: str | Path,
    channels: int,
    size: tuple[int, int] | None = None,
    *,
    cut: bool = False,
    resize: int | None = None,
    interpolation: str = "bilinear",
) -> tuple[np.ndarray, list[str]]:
    """Reads a picture file, upright, without alpha, in gray or color.

    Args:
      path: a file of any format that Pillow reads. Gray with more than 8 bits is scaled to bytes, and transparent
        pixels become white.
      channels: 1 or 3.
      size: height and width of the result; None means those of the picture.
      cut: if the picture has other proportions than `size`, use its middle, not the whole.
      resize: length in pixels to which the shorter side is resized before the middle is cut out, in place of `cut`.
      interpolation: with `resize`; `"nearest"`, `"bilinear"`, `"bicubic"` or `"lanczos"`.

    Returns:
      `(H, W, C)` uint8, and the conversions that were necessary, in words.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is not a picture, or is damaged.
    """
    from PIL import Image, ImageOps

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        with Image.open(path) as file:
            whole, white = file.size, white_of(file)
            settle_transparency(file)
            if cut and size is not None and resize is None:
                file.draft(None, (max(size), max(size)))  # JPEG decodes to halves and quarters at less cost
            reduced = file.size
            image = ImageOps.exif_transpose(file)
            image.load()
    except Image.UnidentifiedImageError:
        raise ValueError(f"{path} must be a picture; Pillow recognizes no format in it.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} must be a whole picture; reading it failed: {error}.") from None
    changes: list[str] = []
    try:
        image = flat_colors(image, channels, white, changes)
    except ValueError as error:
        raise ValueError(f"{path} must have colors that can be converted; {error}.") from None
    shown = whole if image.size == reduced else whole[::-1]
    height, width = size or image.size[::-1]
    if size is not None and shown != (width, height):
        part = cut and shown[0] * height != shown[1] * width
        middle = ", the middle" if part or resize is not None else ""
        changes.append(f"{shown[0]}x{shown[1]} resized to {width}x{height}{middle}")
    if resize is not None:
        image = fit_shorter(image, height, width, resize, interpolation)
    elif image.size != (width, height):
        image = fit_middle(image, width, height) if cut else image.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(height, width, channels), changes


def fit_shorter(image, height: int, width: int, resize: int, interpolation: str):
    """Resizes the shorter side, and cuts out the middle.

    It is what torchvision's `Resize` and `CenterCrop` do.
    """
    from PIL import Image

    short, long = min(image.size), max(image.size)
    longer = int(resize * long / short)  # rounded down, as in torchvision
    wanted = (resize, longer) if image.width <= image.height else (longer, resize)
    if wanted != image.size:
        image = image.resize(wanted, Image.Resampling[interpolation.upper()])
    top, left = round((image.height - height) / 2), round((image.width - width) / 2)  # halves to even, as there
    return image.crop((left, top, left + width, top + height))


def fit_middle(image, width: int, height: int, nearest: bool = False):
    """The largest middle part of these proportions, resized with antialiasing.

    With `nearest` each new pixel is the nearest old one, as masks need it.
    """
    from PIL import Image

    wide = image.width * height > image.height * width
    across = image.height * width / height if wide else image.width
    down = image.height if wide else image.width * height / width
    left, top = (image.width - across) / 2, (image.height - down) / 2
    box = (left, top, left + across, top + down)
    if nearest:
        return image.resize((width, height), Image.Resampling.NEAREST, box=box)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


def flat_colors(image, channels: int, white: int | None, changes: list[str]):
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


def white_of(file) -> int | None:
    """Returns the value of white in a picture of deep gray.

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
