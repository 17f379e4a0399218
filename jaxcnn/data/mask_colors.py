"""Colors for the classes of masks, and masks in pictures' sizes."""

from functools import cache

import numpy as np

from jaxcnn.data.labels import IGNORED
from jaxcnn.data.preprocessing import Preprocessing

Box = tuple[float, float, float, float]  # top, left, height, width

# black, then colors that stay apart beside each other (Tableau's), the strong ones first
_FIRST = (
    "000000 1f77b4 ff7f0e 2ca02c d62728 9467bd 8c564b e377c2 7f7f7f bcbd22 17becf "
    "aec7e8 ffbb78 98df8a ff9896 c5b0d5 c49c94 f7b6d2 c7c7c7 dbdb8d 9edae5"
)


@cache
def mask_colors() -> np.ndarray:
    """Makes a color for each class.

    Pixels that do not count are white. Classes from 21 on have the colors of PASCAL VOC.

    Returns:
      `(256, 3)` uint8.
    """
    numbers, colors = np.arange(IGNORED + 1), np.zeros((IGNORED + 1, 3), np.int64)
    for place in range(8):  # each three bits of a number are a bit of red, of green and of blue, from the highest
        for channel in range(3):
            colors[:, channel] |= ((numbers >> (3 * place + channel)) & 1) << (7 - place)
    first = [bytes.fromhex(code) for code in _FIRST.split()]
    colors[: len(first)] = [list(code) for code in first]
    colors[IGNORED] = 255
    return colors.astype(np.uint8)


def seen_part(picture: tuple[int, int], size: tuple[int, int], *, cut: bool, fed: Preprocessing | None) -> Box:
    """Computes the part of a picture that a network is fed.

    Args:
      picture: height and width of the picture.
      size: height and width of the network's input.
      cut: as in `read_picture`.
      fed: the `preprocessing` of `read_picture`.

    Returns:
      Top, left, height and width of the part, in pixels of the picture.
    """
    tall, wide = picture
    height, width = size
    if fed is not None:
        scale = min(picture) / fed.resize
        down, across = height * scale, width * scale
    elif cut:
        across, down = min(wide, tall * width / height), min(tall, wide * height / width)
    else:
        down, across = tall, wide
    return (tall - down) / 2, (wide - across) / 2, down, across


def in_picture(mask: np.ndarray, picture: tuple[int, int], box: Box) -> np.ndarray:
    """Brings a predicted mask to the size of its picture.

    Args:
      mask: `(H, W)` uint8, the classes of the pixels of a part of the picture.
      picture: height and width of the picture.
      box: the part, as `seen_part` returns it.

    Returns:
      `(*picture)` uint8, of each pixel the class that is nearest; 255 outside the part.
    """
    top, left, down, across = box
    places = []
    for size, start, extent, cells in (
        (picture[0], top, down, mask.shape[0]),
        (picture[1], left, across, mask.shape[1]),
    ):
        places.append(np.floor((np.arange(size) + 0.5 - start) * (cells / extent)).astype(int))
    rows, columns = places
    inside = ((rows >= 0) & (rows < mask.shape[0]))[:, None] & ((columns >= 0) & (columns < mask.shape[1]))[None, :]
    read = mask[np.clip(rows, 0, mask.shape[0] - 1)[:, None], np.clip(columns, 0, mask.shape[1] - 1)[None, :]]
    return np.where(inside, read, np.uint8(IGNORED))
