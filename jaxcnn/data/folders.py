"""Pictures of one's own: a folder per class, with or without a folder per split above."""

from pathlib import Path

import numpy as np

from jaxcnn.data.dataset import Dataset

SPLITS = ("train", "validation", "test")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
_SHARES = (0.8, 0.1, 0.1)  # of the splits, where there are no folders for them


def folder_splits(root: Path) -> tuple[str, ...]:
    """The splits of a folder: those that it has folders for, or all three.

    Raises:
      FileNotFoundError: if there is no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"`folder:` must name a folder; {root} is none.")
    there = tuple(split for split in SPLITS if (root / split).is_dir())
    return there if "train" in there else SPLITS


def read_folder(split: str, root: Path) -> Dataset:
    """Reads a split of a folder of pictures into memory.

    Args:
      split: `"train"`, `"validation"` or `"test"`. Without folders of these names, 80, 10 and 10 % of each class,
        drawn once and for all.
      root: with a folder per class, or a folder per split with a folder per class in each.

    Returns:
      The pictures, grey if all of them are, else in colour.

    Raises:
      FileNotFoundError: if there is no such folder, or no class or picture in it.
      ValueError: if a picture is damaged, or of another size than the first.
    """
    has_splits = (root / "train").is_dir()
    top = root / split if has_splits else root
    base = root / "train" if has_splits else root
    names = tuple(sorted(path.name for path in base.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if not names:
        raise FileNotFoundError(f"{base} must hold a folder for every class; it holds none.")
    strange = sorted({path.name for path in top.iterdir() if path.is_dir()} - set(names)) if has_splits else []
    if strange:
        raise ValueError(f"{top} must hold the classes of {base} only; got {', '.join(strange)}.")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        found = sorted(path for path in (top / name).rglob("*") if path.suffix.lower() in _SUFFIXES)
        found = found if has_splits else _share(found, split)
        files += found
        labels += [label] * len(found)
    if not files:
        raise FileNotFoundError(f"{top} must hold pictures of the {split} split; it holds none.")
    return Dataset(_read_all(files), np.array(labels, np.int32), names, f"folder:{root}", split)


def _share(files: list[Path], split: str) -> list[Path]:
    order = np.random.RandomState(0).permutation(len(files))  # a frozen stream: the split never changes
    edges = np.round(np.cumsum([0.0, *_SHARES]) * len(files)).astype(int)
    place = SPLITS.index(split)
    return [files[i] for i in sorted(order[edges[place] : edges[place + 1]])]


def _read_all(files: list[Path]) -> np.ndarray:
    """`(N, H, W, C)` bytes."""
    first = _decode(files[0], None)
    images = np.empty((len(files), *first.shape), np.uint8)
    grey = True
    for place, path in enumerate(files):
        image = _decode(path, first.shape)
        images[place] = image
        grey = grey and bool((image[..., :1] == image).all())
    return np.ascontiguousarray(images[..., :1]) if grey else images


def _decode(path: Path, shape: tuple[int, ...] | None) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            pixels = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    except Exception as error:  # Pillow's decoders let many kinds out
        raise ValueError(f"{path} must be a whole picture; reading it failed: {error}.") from None
    if shape is not None and pixels.shape != shape:
        size, wanted = (f"{s[1]}x{s[0]}" for s in (pixels.shape, shape))
        raise ValueError(f"{path} must be as large as the first picture, {wanted}; got {size}.")
    return pixels
