"""Your own pictures: one folder per class.

These may be inside one folder per split.
"""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.division import SPLITS, Division
from jaxcnn.data.listing import expanded, folders_in, pictures_below, told
from jaxcnn.data.pictures import decode_picture
from jaxcnn.data.preprocessing import Preprocessing, in_color
from jaxcnn.data.streams import PictureFiles, fitting, scan, to_stream

_SHARES = (0.8, 0.1, 0.1)  # of the splits, where there are no folders for them
# what folders of splits are called, in any case
_CALLED = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}


def find_folder(name: str, data_dir: Path | None) -> Path:
    """Finds the folder of a data set.

    It is a folder of its name in `data_dir` or `$JAXCNN_DATA_DIR`, or else that folder.

    Raises:
      FileNotFoundError: if it is not a folder.
      ValueError: if neither is set.
    """
    root = data_dir or (expanded(os.environ["JAXCNN_DATA_DIR"]) if "JAXCNN_DATA_DIR" in os.environ else None)
    if root is None:
        raise ValueError(f"`data_dir` must name the folder of {name} (or set JAXCNN_DATA_DIR); got None.")
    if not root.is_dir():
        raise FileNotFoundError(f"`data_dir` must be a folder; got {root}.")
    return root / name if (root / name).is_dir() else root


def folder_splits(root: Path, kind: str = "folder", division: Division | None = None) -> tuple[str, ...]:
    """Returns the splits of a folder.

    They are those for which it has folders, or else all three, or those of a division.

    Raises:
      FileNotFoundError: if there is no such folder, or it has folders for splits but none for training.
      ValueError: if it has two folders for one split, or has folders of splits beside a division.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"`{kind}:` must name a folder; got {root}.")
    there = split_folders(root)
    if division is not None:
        if there:
            names = ", ".join(folder.name for folder in there.values())
            raise ValueError(f"`split` is for data without splits; {root} has folders for them: {names}.")
        return division.splits
    return tuple(split for split in SPLITS if split in there) if there else SPLITS


def read_folder(
    split: str,
    root: Path,
    *,
    stream: bool | None = None,
    image_size: int | Preprocessing | None = None,
    skip_corrupt: bool = False,
    allow_empty: bool = False,
    division: Division | None = None,
) -> Dataset:
    """Reads a split of a folder, into memory or a stream.

    Args:
      split: `"train"`, `"validation"` or `"test"`. Without folders of these names, they are 80, 10 and 10 % of each
        class, in a fixed random split.
      root: a folder with one folder per class, or with one folder per split and in each one folder per class.
      stream: whether to decode pictures only when they are needed; by default if they would not fit in memory.
      image_size: side in pixels to which pictures are resized.
      skip_corrupt: leave out damaged pictures.
      allow_empty: accept classes without a training picture.
      division: how to divide the pictures instead.

    Returns:
      The pictures, in gray if all of them are gray, else in color. Its notes list the files that were ignored, and say
      how the folder was split.

    Raises:
      FileNotFoundError: if there is no such folder, or no class or picture in it.
      ValueError: if a picture is damaged, or has another size than the first; or a class has no training picture.
    """
    listed = _list(split, root, division)
    files = listed.files
    if split == "train" and not allow_empty:
        _check_taught(listed, listed.labels)

    def decode(place: int) -> np.ndarray:
        path = str(root / files[place])
        return fitting(decode_picture(path, path, image_size), shape, path)

    shape = first_shape(root, files, image_size)
    streamed = to_stream(stream, len(files), shape)
    pixels, sums, damaged = scan(len(files), decode, shape, keep=not streamed, color=in_color(image_size))
    if damaged and (not skip_corrupt or len(damaged) == len(files)):
        raise ValueError(sentence(damaged, files, root))
    whole = np.setdiff1d(np.arange(len(files)), list(damaged))
    if split == "train" and not allow_empty:
        _check_taught(listed, listed.labels[whole])
    images = pixels
    if images is None:
        images = PictureFiles(root, files, (*shape[:2], sums.shape[-1]), image_size=image_size, sums=sums)
    if damaged:
        images = images.pick(whole) if isinstance(images, PictureFiles) else images[whole]
    skipped = tuple(str(root / files[place]) for place in damaged)
    name = f"folder:{root}"
    paths = np.array([os.fsencode(root / files[place]) for place in whole.tolist()])
    given = {"skipped": skipped, "notes": listed.notes, "files": paths}
    return Dataset(images, listed.labels[whole], listed.names, name, split, **given)


class _Listing(NamedTuple):
    """The files of a split, before a picture is read."""

    top: Path  # the folder that the split's classes are in
    names: tuple[str, ...]  # of the classes
    files: list[str]  # paths below the root
    labels: np.ndarray
    passed: list[Counter[str]]  # of every class
    notes: tuple[str, ...]


def split_folders(root: Path) -> dict[str, Path]:
    """The folders of splits, if they are not those of classes."""
    there: dict[str, list[Path]] = {}
    others = []
    for folder in folders_in(root):
        split = _CALLED.get(folder.name.lower())
        there.setdefault(split, []).append(folder) if split else others.append(folder)
    if "train" not in there:
        if there and not others:
            names = ", ".join(folder.name for several in there.values() for folder in several)
            raise FileNotFoundError(f"{root} must have a folder train beside those of other splits; it has {names}.")
        return {}
    for split, several in there.items():
        if len(several) > 1:
            names = ", ".join(folder.name for folder in several)
            raise ValueError(f"{root} must hold one folder for the {split} split; got {names}.")
    return {split: several[0] for split, several in there.items()}


def _list(split: str, root: Path, division: Division | None) -> _Listing:
    splits = split_folders(root)
    top, base = splits.get(split, root), splits.get("train", root)
    names = tuple(folder.name for folder in folders_in(base))
    if set(names) == {"images", "masks"}:
        raise ValueError(f"`folder:` needs a folder for every class; {base} has pictures with masks, use masks:{root}.")
    if not names:
        raise FileNotFoundError(f"{base} must hold a folder for every class; it holds none.")
    strange = sorted({folder.name for folder in folders_in(top)} - set(names))
    if strange:
        raise ValueError(f"{top} must hold the classes of {base} only; got {', '.join(strange)}.")
    passed = [Counter[str]() for _ in names]
    by_class = [
        sorted(pictures_below(top / name, counts)) if (top / name).is_dir() else []
        for name, counts in zip(names, passed, strict=True)
    ]
    told_so = ""
    if division is None:
        parts = {part: by_class if splits else [share(paths, part) for paths in by_class] for part in (split, *SPLITS)}
    else:
        parts, told_so = _divided(division, root, by_class)
    files = [str(path.relative_to(root)) for paths in parts[split] for path in paths]
    labels = np.repeat(np.arange(len(names), dtype=np.int32), [len(paths) for paths in parts[split]])
    if not files:
        raise FileNotFoundError(f"{top} must hold pictures of the {split} split; it holds none.")
    notes = _passed_over(top, passed)
    if told_so:
        notes.append(f"{root}: no folders of splits; {told_so}")
    elif splits:
        others = [folder.name for folder in folders_in(root) if folder not in splits.values()]
        beside = ", ".join(splits[part].name for part in SPLITS if part in splits)
        notes += [f"{root}: not read, beside {beside}: {', '.join(others)}"] if others else []
    else:
        counts = ", ".join(f"{sum(map(len, parts[part])):,} for {part}" for part in SPLITS)
        notes.append(f"{root}: no folders of splits; drawn from each class, 80, 10 and 10 %: {counts}")
    return _Listing(top, names, files, labels, passed, tuple(notes))


def _passed_over(top: Path, passed: list[Counter[str]]) -> list[str]:
    """One sentence for each kind of ignored files."""
    beside: Counter[str] = Counter()
    loose = len(list(pictures_below(top, beside, deep=False)))
    every = sum(passed, beside)
    notes = [f"{top}: passed over {told(every)}"] if every else []
    pictures = f"{loose:,} picture{'s' * (loose > 1)}"
    return notes + ([f"{top}: passed over {pictures} outside the folders of classes"] if loose else [])


def _check_taught(listed: _Listing, labels: np.ndarray) -> None:
    """Refuses classes without a training picture."""
    files, whole = (np.bincount(some, minlength=len(listed.names)) for some in (listed.labels, labels))
    empty = np.flatnonzero(whole == 0).tolist()
    if empty:
        kinds = {place: told(listed.passed[place]) or "no files" for place in empty}
        kinds |= {place: f"{files[place]} damaged" for place in empty if files[place]}
        held = ", ".join(f"{listed.names[place]} ({kind})" for place, kind in kinds.items())
        raise ValueError(
            f"{listed.top} must hold undamaged pictures of every class; got none of {held}; "
            "accept such classes with `allow_empty` (--allow-empty)."
        )


def first_shape(root: Path, files: list[str], image_size: int | Preprocessing | None) -> tuple[int, ...]:
    """The shape of the first undamaged picture."""
    for name in files:
        try:
            return decode_picture(str(root / name), name, image_size).shape
        except (ValueError, OSError):
            continue
    return (1, 1, 3)  # all are damaged, which the scan will say


def sentence(damaged: dict[int, str], files: list[str], root: Path) -> str:
    """Says which pictures are damaged, and what can be done."""
    place, text = next(iter(damaged.items()))
    path, them = str(root / files[place]), "it" if len(damaged) == 1 else "them"
    many = "pictures is damaged," if len(damaged) == 1 else "pictures are damaged, the first is"
    reason = (text.partition("reading it failed: ")[2] or text.removeprefix(f"{path} ")).rstrip(".")
    way_out = f"skip {them} with `skip_corrupt` (--skip-corrupt)" if len(damaged) < len(files) else "none is left"
    return f"{len(damaged)} of {len(files)} {many} {path}: {reason}; {way_out}."


def _divided(
    division: Division, root: Path, by_class: Sequence[Sequence[Path]]
) -> tuple[dict[str, list[list[Path]]], str]:
    """Divides pictures; also says in words how.

    The result has the paths by split and class.
    """
    labels = np.repeat(np.arange(len(by_class)), [len(paths) for paths in by_class])
    files = [path.relative_to(root).as_posix() for paths in by_class for path in paths]
    numbers = division.parts(labels, files)
    ends = np.cumsum([len(paths) for paths in by_class])
    of_class = np.split(numbers, ends[:-1])
    parts = {
        split: [
            [path for path, number in zip(paths, own, strict=True) if number == place]
            for paths, own in zip(by_class, of_class, strict=True)
        ]
        for place, split in enumerate(SPLITS)
    }
    return parts, division.told(numbers, files)


def share(files: list[Any], split: str) -> list[Any]:
    """The part of the files that is a split's."""
    order = np.random.RandomState(0).permutation(len(files))  # a frozen stream: the split never changes
    edges = np.round(np.cumsum([0.0, *_SHARES]) * len(files)).astype(int)
    place = SPLITS.index(split)
    return [files[i] for i in sorted(order[edges[place] : edges[place + 1]])]
