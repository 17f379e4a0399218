"""Your own pictures with masks: a class for each pixel.

The pictures are in a folder `images`, the masks under the same names in a folder `masks`.
"""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.folders import SPLITS, first_shape, sentence, share, split_folders
from jaxcnn.data.labels import IGNORED
from jaxcnn.data.listing import pictures_below, told
from jaxcnn.data.pictures import decode_picture
from jaxcnn.data.pixels import fit_middle, fit_shorter
from jaxcnn.data.preprocessing import Preprocessing, in_color
from jaxcnn.data.streams import PictureFiles, cores, fitting, scan, to_stream

IMAGES, MASKS, NAMES = "images", "masks", "classes.txt"
_LOSSLESS = (".png", ".bmp", ".gif", ".tif", ".tiff", ".pgm")
_FACTORS = {"L;2": 85, "L;4": 17}  # by which Pillow multiplies gray of fewer bits
_ORIENTATION = 274  # the EXIF tag; from 5 on, height and width are exchanged
_EITHER = frozenset({0, IGNORED})


def read_masks(
    split: str,
    root: Path,
    *,
    stream: bool | None = None,
    image_size: int | Preprocessing | None = None,
    skip_corrupt: bool = False,
) -> Dataset:
    """Reads a split of pictures with masks.

    The pictures may become a stream.

    Args:
      split: `"train"`, `"validation"` or `"test"`. Without folders of these names, they are 80, 10 and 10 % of the
        pictures, in a fixed random split.
      root: a folder with the folders `images` and `masks`, or with one folder per split and in each these two. A mask
        is a picture without loss (PNG, for instance) of the same name, gray or with a palette, whose values or palette
        entries are numbers of classes; 255 is for pixels that do not count. If all masks of all splits have only the
        values 0 and 255, 255 is class 1. A file `classes.txt` may have the names of the classes, one per line.
      stream: whether to decode pictures only when they are needed; masks are kept in memory.
      image_size: side in pixels to which pictures are resized and cut; masks take the nearest pixel.
      skip_corrupt: leave out damaged pictures.

    Returns:
      The pictures, in gray if all of them are gray, else in color, and their masks.

    Raises:
      FileNotFoundError: if a folder or a mask is missing.
      ValueError: if a picture is damaged or of another size than the first, or a mask is damaged, of another size than
        its picture, or no picture of numbers of classes.
    """
    parts, notes = _listed(root)
    files, masks = parts[split]
    if not files:
        raise FileNotFoundError(f"{root} must hold pictures of the {split} split; it holds none.")
    values = _values(tuple(masks for part in SPLITS if part in parts for masks in parts[part][1]), _marks(parts))
    binary = values == _EITHER
    names = _names(root, values, binary)
    paths = [str(path.relative_to(root)) for path in files]

    def decode(place: int) -> np.ndarray:
        path = str(files[place])
        return fitting(decode_picture(path, path, image_size), shape, path)

    shape = first_shape(root, paths, image_size)
    streamed = to_stream(stream, len(files), shape)
    pixels, sums, damaged = scan(len(files), decode, shape, keep=not streamed, color=in_color(image_size))
    if damaged and (not skip_corrupt or len(damaged) == len(files)):
        raise ValueError(sentence(damaged, paths, root))
    whole = np.setdiff1d(np.arange(len(files)), list(damaged))
    images: Any = pixels
    if images is None:
        images = PictureFiles(root, paths, (*shape[:2], sums.shape[-1]), image_size=image_size, sums=sums)
    if damaged:
        images = images.pick(whole) if isinstance(images, PictureFiles) else images[whole]
    labels = np.empty((len(whole), *shape[:2]), np.uint8)

    def read(place: int) -> None:
        labels[place] = _fitted(files[whole[place]], masks[whole[place]], image_size)

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(read, range(len(whole))))
    if binary:
        labels[labels == IGNORED] = 1
        notes += (f"{root}: the masks have only the values 0 and {IGNORED}; {IGNORED} is read as class 1",)
    return Dataset(
        images,
        labels,
        names,
        f"masks:{root}",
        split,
        skipped=tuple(str(files[place]) for place in damaged),
        notes=notes,
        task="segmentation",
        files=np.array([os.fsencode(files[place]) for place in whole.tolist()]),
    )


def is_pair(root: Path) -> bool:
    """Whether a folder has the folders `images` and `masks`."""
    return (root / IMAGES).is_dir() and (root / MASKS).is_dir()


def decode_mask(path: Path) -> np.ndarray:
    """Reads the classes of a mask's pixels.

    Args:
      path: the file of the mask.

    Returns:
      `(H, W)` uint8.

    Raises:
      ValueError: if the file is damaged, or its values are no numbers of classes.
    """
    from PIL import Image

    if path.suffix.lower() not in _LOSSLESS:
        raise ValueError(f"{path} must be stored without loss, as PNG; {path.suffix} changes the numbers of classes.")
    try:
        with Image.open(path) as file:
            mode, tiles = file.mode, file.tile
            values = np.asarray(file)
    except Exception as error:  # Pillow's decoders let many kinds out
        raise ValueError(f"{path} must be a whole picture; reading it failed: {error}.") from None
    if mode not in ("1", "L", "P") and not mode.startswith("I"):
        raise ValueError(
            f"{path} must be gray or have a palette, with the numbers of classes as values; its colors are {mode}."
        )
    if mode == "L" and tiles:
        raw = tiles[0][3] or ("",)
        values = values // _FACTORS.get(raw if isinstance(raw, str) else str(raw[0]), 1)
    if values.min(initial=0) < 0 or values.max(initial=0) > IGNORED:
        raise ValueError(f"{path} must have values from 0 to {IGNORED}; got {values.min()} to {values.max()}.")
    return values.astype(np.uint8)


def _listed(root: Path) -> tuple[dict[str, tuple[list[Path], list[Path]]], tuple[str, ...]]:
    """The pictures and masks of each split, and notes."""
    folders = split_folders(root)
    parts: dict[str, tuple[list[Path], list[Path]]] = {}
    notes: list[str] = []
    for split, folder in folders.items():
        parts[split] = _pairs(folder, notes)
    if not folders:
        files, masks = _pairs(root, notes)
        for split in SPLITS:
            places = share(list(range(len(files))), split)
            parts[split] = [files[place] for place in places], [masks[place] for place in places]
        counts = ", ".join(f"{len(parts[split][0]):,} for {split}" for split in SPLITS)
        notes.append(f"{root}: no folders of splits; drawn from all pictures, 80, 10 and 10 %: {counts}")
    return parts, tuple(notes)


def _pairs(folder: Path, notes: list[str]) -> tuple[list[Path], list[Path]]:
    """The pictures of a folder and their masks, in order."""
    if not is_pair(folder):
        raise FileNotFoundError(f"{folder} must have the folders {IMAGES} and {MASKS}.")
    passed: Counter[str] = Counter()
    files = sorted(pictures_below(folder / IMAGES, passed))
    masks: dict[Path, Path] = {}
    for path in sorted(pictures_below(folder / MASKS, passed)):
        name = path.relative_to(folder / MASKS).with_suffix("")
        if name in masks:
            raise ValueError(f"{folder / MASKS} must have one mask for each picture; got {masks[name]} and {path}.")
        masks[name] = path
    names = [path.relative_to(folder / IMAGES).with_suffix("") for path in files]
    missing = [path for path, name in zip(files, names, strict=True) if name not in masks]
    if missing:
        raise FileNotFoundError(
            f"{folder / MASKS} must have a mask for each of {len(files):,} pictures; {len(missing):,} have none, the "
            f"first is {missing[0]}."
        )
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"{folder / IMAGES} must have pictures of different names; got {twice} twice.")
    if passed:
        notes.append(f"{folder}: passed over {told(passed)}")
    alone = len(masks) - len(files)
    if alone:
        notes.append(f"{folder / MASKS}: passed over {alone:,} mask{'s' * (alone > 1)} without a picture")
    return files, [masks[name] for name in names]


def _marks(parts: dict[str, tuple[list[Path], list[Path]]]) -> tuple[tuple[int, int], ...]:
    """Sizes and times of the masks, which show a changed file."""
    stats = [path.stat() for part in SPLITS if part in parts for path in parts[part][1]]
    return tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)


@lru_cache(maxsize=4)
def _values(masks: tuple[Path, ...], marks: tuple[tuple[int, int], ...]) -> frozenset[int]:
    """The values in all masks, for which each split asks."""
    del marks

    def look(path: Path) -> np.ndarray:
        return np.bincount(decode_mask(path).ravel(), minlength=IGNORED + 1) > 0

    with ThreadPoolExecutor(cores()) as pool:
        there = sum(pool.map(look, masks), np.zeros(IGNORED + 1, bool))
    return frozenset(np.flatnonzero(there).tolist())


def _names(root: Path, values: frozenset[int], binary: bool) -> tuple[str, ...]:
    """The names of the classes, as `classes.txt` or as numbers."""
    most = 1 if binary else max(values - {IGNORED}, default=0)
    file = root / NAMES
    if not file.is_file():
        return tuple(map(str, range(most + 1)))
    names = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    if len(names) <= most:
        raise ValueError(f"{file} must have a name for each class, from 0 to {most}; it has {len(names)}.")
    return names


def _fitted(picture: Path, mask: Path, image_size: int | Preprocessing | None) -> np.ndarray:
    """A mask in the size of the decoded picture."""
    from PIL import Image

    values = decode_mask(mask)
    height, width = picture_size(picture)
    if values.shape != (height, width):
        got = f"{values.shape[1]}x{values.shape[0]}"
        raise ValueError(f"{mask} must be as large as its picture, {width}x{height}; got {got}.")
    if image_size is None:
        return values
    image = Image.fromarray(values)
    if isinstance(image_size, Preprocessing):
        return np.asarray(fit_shorter(image, *image_size.size, image_size.resize, "nearest"))
    if image.size == (image_size, image_size):
        return values
    return np.asarray(fit_middle(image, image_size, image_size, nearest=True))


def picture_size(picture: Path) -> tuple[int, int]:
    """Reads height and width of an upright picture from its header."""
    from PIL import Image

    with Image.open(picture) as file:
        width, height = file.size
        turned = file.getexif().get(_ORIENTATION, 1) >= 5
    return (width, height) if turned else (height, width)
