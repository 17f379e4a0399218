"""Data sets by name."""

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.folders import folder_splits, read_folder
from jaxcnn.data.idx import read_idx
from jaxcnn.data.speech import read_fsdd
from jaxcnn.data.text import read_rt_polarity

DIGITS = tuple("0123456789")
_DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


class _Source(NamedTuple):
    splits: tuple[str, ...]
    read: Callable[[str, Path | None], Dataset]


def _read_digits(split: str, data_dir: Path | None) -> Dataset:
    """The 1,797 8x8 digits inside scikit-learn, brought to MNIST's form, 80/10/10."""
    del data_dir  # embedded
    images, labels = _upscaled_digits()
    order = np.random.RandomState(1989).permutation(len(labels))  # a frozen stream: the split never changes
    edges = [0, round(0.8 * len(order)), round(0.9 * len(order)), len(order)]
    position = SOURCES["digits"].splits.index(split)
    chosen = order[edges[position] : edges[position + 1]]
    return Dataset(images[chosen], labels[chosen], DIGITS, "digits", split)


@lru_cache(maxsize=1)
def _upscaled_digits() -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image
    from sklearn.datasets import load_digits

    raw, labels = load_digits(return_X_y=True)
    small = raw.reshape(-1, 8, 8).astype(np.uint8)
    checksum = hashlib.sha256(small.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    if checksum != _DIGITS_SHA256:
        raise ValueError(f"scikit-learn's digits must have SHA-256 {_DIGITS_SHA256}; got {checksum}.")
    images = np.stack([_upscale(Image.fromarray(image.astype(np.float32) * (255 / 16))) for image in small])
    return images[..., None], labels.astype(np.int32)


def _upscale(image) -> np.ndarray:
    """MNIST's form: the digit in a box of 20x20, centred in a field of 28x28."""
    from PIL import Image

    box = np.asarray(image.resize((20, 20), Image.Resampling.BICUBIC))
    return np.pad(np.clip(np.rint(box), 0, 255).astype(np.uint8), 4)


def _read_mnist(split: str, data_dir: Path | None) -> Dataset:
    """The four IDX files, gzipped or plain, in `data_dir`."""
    folder = _find_folder("mnist", data_dir)
    part = {"train": "train", "test": "t10k"}[split]
    image_file, label_file = (
        _find_file(folder, f"{part}-{kind}") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    images, labels = read_idx(image_file), read_idx(label_file)
    if images.ndim != 3:
        raise ValueError(f"{image_file} must hold images, (N, H, W); got shape {images.shape}.")
    if labels.shape != images.shape[:1]:
        raise ValueError(
            f"{label_file} must hold one label for each of the {len(images)} images of {image_file.name}; "
            f"got shape {labels.shape}."
        )
    if labels.size and labels.max() > 9:
        raise ValueError(f"{label_file} must hold labels from 0 to 9; got {labels.max()}.")
    return Dataset(images[..., None], labels.astype(np.int32), DIGITS, "mnist", split)


def _find_folder(name: str, data_dir: Path | None) -> Path:
    """`data_dir`, or `$JAXCNN_DATA_DIR`; or the folder in it that is named after the data set."""
    root = data_dir or (Path(os.environ["JAXCNN_DATA_DIR"]) if "JAXCNN_DATA_DIR" in os.environ else None)
    if root is None:
        raise ValueError(f"`data_dir` must name the folder of {name} (or set JAXCNN_DATA_DIR); got None.")
    if not root.is_dir():
        raise FileNotFoundError(f"`data_dir` must be a folder; {root} is none.")
    return root / name if (root / name).is_dir() else root


def _find_file(folder: Path, stem: str) -> Path:
    # mirrors write "-idx3" or ".idx3"
    names = [name + end for name in (stem, stem.replace("-idx", ".idx")) for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{folder} must hold {stem} or {stem}.gz; it holds neither.")


def _read_mnist1989(split: str, data_dir: Path | None) -> Dataset:
    """MNIST in the form of the zip codes of 1989: 7,291 and 2,007 digits of 16x16, drawn once and for all."""
    from PIL import Image

    whole = _read_mnist(split, data_dir)
    count = {"train": 7291, "test": 2007}[split]
    if len(whole.labels) < count:
        raise ValueError(f"the {split} split of mnist must hold {count} digits to draw from; got {len(whole.labels)}.")
    chosen = np.sort(np.random.RandomState(1989).permutation(len(whole.labels))[:count])
    small = [
        Image.fromarray(image[..., 0]).resize((16, 16), Image.Resampling.BILINEAR) for image in whole.images[chosen]
    ]
    return whole._replace(
        images=np.stack(list(map(np.asarray, small)))[..., None], labels=whole.labels[chosen], name="mnist1989"
    )


SOURCES: dict[str, _Source] = {
    "digits": _Source(("train", "validation", "test"), _read_digits),
    "fsdd": _Source(("train", "test"), lambda split, folder: read_fsdd(split, _find_folder("fsdd", folder))),
    "mnist": _Source(("train", "test"), _read_mnist),
    "mnist1989": _Source(("train", "test"), _read_mnist1989),
    "rt-polarity": _Source(
        ("train", "validation", "test"),
        lambda split, folder: read_rt_polarity(split, _find_folder("rt-polarity", folder)),
    ),
}


def _source(name: str) -> _Source:
    """The source that a name means; after a colon, a path or a fold.

    Raises:
      FileNotFoundError: if the name is that of a folder that is not there.
      ValueError: if the name is unknown.
    """
    kind, colon, rest = name.partition(":")
    if kind == "folder" and rest:
        root = Path(rest)
        return _Source(folder_splits(root), lambda split, _: read_folder(split, root))
    if kind == "rt-polarity" and rest.isdigit():
        splits, fold = SOURCES[kind].splits, int(rest)
        return _Source(
            splits, lambda split, at: read_rt_polarity(split, _find_folder(kind, at), fold)._replace(name=name)
        )
    if colon or name not in SOURCES:
        known = [*map(repr, sorted(SOURCES)), "'folder:PATH'", "'rt-polarity:FOLD'"]
        raise ValueError(f"`name` must be one of {', '.join(known)}; got {name!r}.")
    return SOURCES[name]


def splits(name: str) -> tuple[str, ...]:
    """The splits that a data set has.

    Raises:
      ValueError: if the name is unknown.
    """
    return _source(name).splits


def load(name: str, split: str = "train", data_dir: str | Path | None = None) -> Dataset:
    """Loads one split of a data set into memory.

    Args:
      name: one of

        - `"digits"`, 1,797 real digits that come with scikit-learn, upscaled to 28x28 and split 80/10/10 once and for
          all;
        - `"mnist"`, from its four IDX files, gzipped or plain; `"mnist1989"`, 16x16 and as many as in 1989;
        - `"folder:PATH"`, pictures in a folder per class, with folders for the splits above or without;
        - `"fsdd"`, spoken digits as log-mel features, from `recordings/` or `fsdd.tar.gz`;
        - `"rt-polarity"`, sentences as words, the first of ten folds tested; `"rt-polarity:3"`, another.
      split: `"train"`, `"test"`, and for some `"validation"`.
      data_dir: folder of the files, or the folder above it; default `$JAXCNN_DATA_DIR`. Digits need none.

    Returns:
      The examples and their labels.

    Raises:
      FileNotFoundError: if a file or folder is missing.
      ValueError: if a name is unknown, or a file is damaged or does not match its pair.
    """
    if split not in splits(name):
        raise ValueError(f"`split` of {name} must be one of {', '.join(map(repr, splits(name)))}; got {split!r}.")
    return _source(name).read(split, None if data_dir is None else Path(data_dir))
