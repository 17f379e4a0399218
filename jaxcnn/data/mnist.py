"""MNIST, and data sets in files of the same format."""

import re
from pathlib import Path

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.digits import DIGITS
from jaxcnn.data.idx import read_idx
from jaxcnn.data.listing import is_seen

CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)  # of Fashion-MNIST
_PARTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test", "t10k": "test"}
_IMAGES = re.compile(rf"(?P<prefix>.*?)(?P<part>{'|'.join(_PARTS)})(?P<mark>[-_.])images[-.]idx3-ubyte(\.gz)?$")


def read_mnist(split: str, folder: Path, name: str = "mnist", classes: tuple[str, ...] = DIGITS) -> Dataset:
    """Reads MNIST, or a data set of the same form.

    It has ten classes, and files of the same names.

    Args:
      split: `"train"` or `"test"`.
      folder: the folder with the four IDX files, gzipped or plain.
      name: name of the data set.
      classes: names of its ten classes.

    Returns:
      The examples.

    Raises:
      FileNotFoundError: if a file is missing.
      ValueError: if a file is damaged, or does not match its pair.
    """
    part = {"train": "train", "test": "t10k"}[split]
    pair = _find_file(folder, f"{part}-images-idx3-ubyte"), _find_file(folder, f"{part}-labels-idx1-ubyte")
    images, labels = _read_pair(*pair)
    if labels.size and labels.max() > 9:
        raise ValueError(f"{pair[1]} must hold labels from 0 to 9; got {labels.max()}.")
    return Dataset(images, labels.astype(np.int32), classes, name, split)


def _read_pair(image_file: Path, label_file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures `(N, H, W, 1)` and labels `(N,)`, both of bytes."""
    images, labels = read_idx(image_file), read_idx(label_file)
    if images.ndim != 3:
        raise ValueError(f"{image_file} must hold images, (N, H, W); got shape {images.shape}.")
    if labels.shape != images.shape[:1]:
        raise ValueError(
            f"{label_file} must hold one label for each of the {len(images)} images of {image_file.name}; "
            f"got shape {labels.shape}."
        )
    return images[..., None], labels


def read_mnist1989(split: str, folder: Path) -> Dataset:
    """Reads MNIST in the form of the zip codes of 1989.

    It is a fixed draw of 7,291 and 2,007 digits of 16x16.
    """
    from PIL import Image

    whole = read_mnist(split, folder)
    count = {"train": 7291, "test": 2007}[split]
    if len(whole.labels) < count:
        raise ValueError(f"the {split} split of mnist must hold {count} digits to draw from; got {len(whole.labels)}.")
    chosen = np.sort(np.random.RandomState(1989).permutation(len(whole.labels))[:count])
    drawn = whole.pick(chosen)
    small = [Image.fromarray(image[..., 0]).resize((16, 16), Image.Resampling.BILINEAR) for image in drawn.images]
    return drawn._replace(images=np.stack(list(map(np.asarray, small)))[..., None], name="mnist1989")


def idx_splits(path: Path) -> tuple[str, ...]:
    """Returns the splits of IDX files, with any prefix.

    Raises:
      FileNotFoundError: if there is no such folder, or no file of pictures in it.
      ValueError: if it holds files with several prefixes, and the path does not end with one of them.
    """
    return tuple(sorted(_idx_files(path), key=("train", "validation", "test").index))


def read_idx_folder(split: str, path: Path) -> Dataset:
    """Reads pictures and labels from a pair of IDX files.

    Args:
      split: one of `idx_splits`.
      path: the folder; or the folder and a prefix, as in `EMNIST/emnist-letters`.

    Returns:
      The examples; the classes are the labels of the training split, in order.

    Raises:
      FileNotFoundError: if a file is missing.
      ValueError: if a file is damaged, does not match its pair, or holds a label that the training split does not have.
    """
    files = _idx_files(path)
    images, labels = _read_pair(*files[split])
    classes = np.unique(read_idx(files["train" if "train" in files else split][1]))
    strange = np.setdiff1d(labels, classes)
    if strange.size:
        raise ValueError(f"{files[split][1]} must hold labels of the training split only; got {strange[0]}.")
    names = tuple(map(str, classes.tolist()))
    return Dataset(images, np.searchsorted(classes, labels).astype(np.int32), names, f"idx:{path}", split)


def _idx_files(path: Path) -> dict[str, tuple[Path, Path]]:
    """The files of pictures and labels of every split."""
    folder, start = (path, "") if path.is_dir() else (path.parent, path.name)
    if not folder.is_dir():
        raise FileNotFoundError(f"`idx:` must name a folder; got {path}.")
    matches = [(file, _IMAGES.match(file.name)) for file in sorted(folder.iterdir()) if is_seen(file.name)]
    pairs: dict[str, dict[str, tuple[Path, Path]]] = {}
    for file, parts in matches:
        if parts and parts["prefix"].startswith(start):
            stem = f"{parts['prefix']}{parts['part']}{parts['mark']}labels-idx1-ubyte"
            split = _PARTS[parts["part"]]
            pairs.setdefault(parts["prefix"], {}).setdefault(split, (file, _find_file(folder, stem)))
    if not pairs:
        raise FileNotFoundError(f"{path} must hold files named like train-images-idx3-ubyte.gz; it holds none.")
    if len(pairs) > 1 and start not in pairs and f"{start}-" not in pairs:
        several = ", ".join(prefix.rstrip("-_.") or "none" for prefix in pairs)
        raise ValueError(f"{path} must hold files of one prefix, or name one as in idx:PATH/PREFIX; got {several}.")
    exact = next((prefix for prefix in (start, f"{start}-") if prefix in pairs), next(iter(pairs)))
    return pairs[exact]


def _find_file(folder: Path, stem: str) -> Path:
    # mirrors write "-idx3" or ".idx3"
    names = [name + end for name in (stem, stem.replace("-idx", ".idx")) for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{folder} must hold {stem} or {stem}.gz; it holds neither.")
