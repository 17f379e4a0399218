"""Pictures of one's own: a folder per class, with or without a folder per split above."""

import os
from pathlib import Path

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.pictures import SUFFIXES, decode_picture
from jaxcnn.data.streams import PictureFiles, fitting, scan, to_stream

SPLITS = ("train", "validation", "test")
_SHARES = (0.8, 0.1, 0.1)  # of the splits, where there are no folders for them


def find_folder(name: str, data_dir: Path | None) -> Path:
    """`data_dir`, or `$JAXCNN_DATA_DIR`; or the folder in it that is named after the data set.

    Raises:
      FileNotFoundError: if it is no folder.
      ValueError: if neither names one.
    """
    root = data_dir or (Path(os.environ["JAXCNN_DATA_DIR"]) if "JAXCNN_DATA_DIR" in os.environ else None)
    if root is None:
        raise ValueError(f"`data_dir` must name the folder of {name} (or set JAXCNN_DATA_DIR); got None.")
    if not root.is_dir():
        raise FileNotFoundError(f"`data_dir` must be a folder; {root} is none.")
    return root / name if (root / name).is_dir() else root


def folder_splits(root: Path) -> tuple[str, ...]:
    """The splits of a folder: those that it has folders for, or all three.

    Raises:
      FileNotFoundError: if there is no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"`folder:` must name a folder; {root} is none.")
    there = tuple(split for split in SPLITS if (root / split).is_dir())
    return there if "train" in there else SPLITS


def read_folder(
    split: str,
    root: Path,
    *,
    stream: bool | None = None,
    image_size: int | None = None,
    skip_corrupt: bool = False,
) -> Dataset:
    """Reads a split of a folder of pictures, into memory or as a stream.

    Args:
      split: `"train"`, `"validation"` or `"test"`. Without folders of these names, 80, 10 and 10 % of each class,
        drawn once and for all.
      root: with a folder per class, or a folder per split with a folder per class in each.
      stream: whether to decode pictures only when they are needed; by default where they are too many.
      image_size: brings pictures of any size to this one.
      skip_corrupt: leave damaged pictures out.

    Returns:
      The pictures, grey if all of them are, else in colour.

    Raises:
      FileNotFoundError: if there is no such folder, or no class or picture in it.
      ValueError: if a picture is damaged, or of another size than the first.
    """
    names, files, labels = _list(split, root)

    def decode(place: int) -> np.ndarray:
        path = str(root / files[place])
        return fitting(decode_picture(path, path, image_size), shape, path)

    shape = _first_shape(root, files, image_size)
    streamed = to_stream(stream, len(files), shape)
    pixels, sums, damaged = scan(len(files), decode, shape, keep=not streamed)
    if damaged and (not skip_corrupt or len(damaged) == len(files)):
        raise ValueError(_sentence(damaged, files, root))
    whole = np.setdiff1d(np.arange(len(files)), list(damaged))
    images = pixels
    if images is None:
        images = PictureFiles(root, files, (*shape[:2], sums.shape[-1]), image_size=image_size, sums=sums)
    if damaged:
        images = images.pick(whole) if isinstance(images, PictureFiles) else images[whole]
    skipped = tuple(str(root / files[place]) for place in damaged)
    return Dataset(images, labels[whole], names, f"folder:{root}", split, skipped=skipped)


def _list(split: str, root: Path) -> tuple[tuple[str, ...], list[str], np.ndarray]:
    """The classes of a folder, and of a split the files, as paths below it, and their labels."""
    has_splits = (root / "train").is_dir()
    top = root / split if has_splits else root
    base = root / "train" if has_splits else root
    names = tuple(sorted(path.name for path in base.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if not names:
        raise FileNotFoundError(f"{base} must hold a folder for every class; it holds none.")
    strange = sorted({path.name for path in top.iterdir() if path.is_dir()} - set(names)) if has_splits else []
    if strange:
        raise ValueError(f"{top} must hold the classes of {base} only; got {', '.join(strange)}.")
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        found = sorted(path for path in (top / name).rglob("*") if path.suffix.lower() in SUFFIXES)
        found = found if has_splits else _share(found, split)
        files += [str(path.relative_to(root)) for path in found]
        labels += [label] * len(found)
    if not files:
        raise FileNotFoundError(f"{top} must hold pictures of the {split} split; it holds none.")
    return names, files, np.array(labels, np.int32)


def _first_shape(root: Path, files: list[str], image_size: int | None) -> tuple[int, ...]:
    """The shape of the first picture that is whole."""
    for name in files:
        try:
            return decode_picture(str(root / name), name, image_size).shape
        except (ValueError, OSError):
            continue
    return (1, 1, 3)  # all are damaged, which the scan will say


def _sentence(damaged: dict[int, str], files: list[str], root: Path) -> str:
    place, text = next(iter(damaged.items()))
    path, them = str(root / files[place]), "it" if len(damaged) == 1 else "them"
    many = "pictures is damaged," if len(damaged) == 1 else "pictures are damaged, the first is"
    reason = (text.partition("reading it failed: ")[2] or text.removeprefix(f"{path} ")).rstrip(".")
    way_out = f"skip {them} with `skip_corrupt` (--skip-corrupt)" if len(damaged) < len(files) else "none is left"
    return f"{len(damaged)} of {len(files)} {many} {path}: {reason}; {way_out}."


def _share(files: list[Path], split: str) -> list[Path]:
    order = np.random.RandomState(0).permutation(len(files))  # a frozen stream: the split never changes
    edges = np.round(np.cumsum([0.0, *_SHARES]) * len(files)).astype(int)
    place = SPLITS.index(split)
    return [files[i] for i in sorted(order[edges[place] : edges[place + 1]])]
