"""Pictures in a NumPy archive, as of Keras and MedMNIST."""

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.labels import IGNORED, check_labels, is_one_hot

# the names of pictures and labels in either style
_NAMES = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}


def npz_splits(path: Path) -> tuple[str, ...]:
    """Returns the splits of an archive.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is not an archive, or has no arrays with the expected names.
    """
    with _open(path) as archive:
        return tuple(_pairs(path, archive))


def read_npz(split: str, path: Path, task: str | None = None) -> Dataset:
    """Reads a split of an archive into memory.

    Args:
      split: one of `npz_splits`.
      path: an archive with the arrays `x_train`, `y_train`, `x_test`, `y_test`, and perhaps `x_val` and `y_val`, as
        Keras names them; or `train_images`, `train_labels`, `val_images` and so on, as MedMNIST does.
      task: what the targets are for: `"multi_label"` or `"regression"`; by default their form decides.

    Returns:
      The examples; the names of the classes are their numbers, from 0 to the largest in any split. Rows of 0 and 1 are
      for the task `"multi_label"`, numbers with a fraction for `"regression"`; their columns are numbered too. Masks,
      `(N, H, W)` integers, are for the task `"segmentation"`; 255 in them is for pixels that do not count.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged, an array has a wrong type or shape, or a label is not below the number of examples,
        which means that it is not the number of a class.
    """
    with _open(path) as archive:
        pairs = _pairs(path, archive)
        images = _array(path, archive, pairs[split][0])
        targets = {name: _targets(path, archive, pair[1]) for name, pair in pairs.items()}
    given = task if task in ("multi_label", "regression") else None
    task = given or _task(targets["train"])
    name = pairs[split][0]
    if images.dtype != np.uint8:
        raise ValueError(f"{name} of {path} must hold bytes, uint8; got {images.dtype}.")
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"{name} of {path} must hold pictures, (N, H, W) or (N, H, W, 1 or 3); got {images.shape}.")
    if len(images) != len(targets[split]):
        counts = f"{len(targets[split])} for {len(images)}"
        raise ValueError(f"{pairs[split][1]} of {path} must hold one label for each of {name}; got {counts}.")
    if task == "segmentation":
        return _with_masks(split, path, images, targets, pairs)
    if task != "classification":
        for part, labels in targets.items():
            if not (given or _task(labels) == task) or labels.shape[1:] != targets["train"].shape[1:]:
                raise ValueError(
                    f"{pairs[part][1]} of {path} must hold targets as {pairs['train'][1]} does, for {task}."
                )
        columns = tuple(map(str, range(targets[split].shape[1] if targets[split].ndim == 2 else 1)))
        return Dataset(images, targets[split], columns, f"npz:{path}", split, task=task)
    examples = sum(map(len, targets.values()))
    by_split = {part: _labels(path, pairs[part][1], labels) for part, labels in targets.items()}
    for part, labels in by_split.items():
        check_labels(labels, examples, f"{pairs[part][1]} of {path}", "classes that its examples can have")
    count = 1 + max(int(labels.max(initial=0)) for labels in by_split.values())
    return Dataset(images, by_split[split].astype(np.int32), tuple(map(str, range(count))), f"npz:{path}", split)


def _with_masks(
    split: str,
    path: Path,
    images: np.ndarray,
    targets: dict[str, np.ndarray],
    pairs: dict[str, tuple[str, str]],
) -> Dataset:
    """The examples of a split, with a class for each pixel."""
    most = 0
    for part, masks in targets.items():
        name = f"{pairs[part][1]} of {path}"
        if masks.ndim != 3 or not np.issubdtype(masks.dtype, np.integer):
            raise ValueError(f"{name} must hold masks as {pairs['train'][1]} does, integers (N, H, W).")
        if masks.size and not 0 <= masks.min() <= masks.max() <= IGNORED:
            raise ValueError(f"{name} must have values from 0 to {IGNORED}; got {masks.min()} to {masks.max()}.")
        most = max(most, int(masks[masks != IGNORED].max(initial=0)))
    if targets[split].shape[1:] != images.shape[1:3]:
        got = f"{targets[split].shape[1:]} for {images.shape[1:3]}"
        raise ValueError(f"{pairs[split][1]} of {path} must have the height and width of {pairs[split][0]}; got {got}.")
    names, masks = tuple(map(str, range(most + 1))), targets[split].astype(np.uint8)
    return Dataset(images, masks, names, f"npz:{path}", split, task="segmentation")


@contextlib.contextmanager
def _open(path: Path) -> Iterator["np.lib.npyio.NpzFile"]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from None
    with file:
        try:
            archive = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} must be a whole NumPy archive; reading it failed: {_line(error)}.") from None
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError(f"{path} must be an archive of several arrays (.npz); it holds one.")
        with archive:
            yield archive


def _pairs(path: Path, archive: "np.lib.npyio.NpzFile") -> dict[str, tuple[str, str]]:
    """The names of pictures' and labels' arrays, for every split."""
    there = set(archive.files)
    pairs = {split: pair for split, styles in _NAMES.items() for pair in styles if there & set(pair)}
    for pair in pairs.values():
        for name in pair:
            if name not in there:
                raise ValueError(f"{path} must hold {' and '.join(pair)}; {name} is missing.")
    if "train" not in pairs:
        held = ", ".join(sorted(there)) or "nothing"
        raise ValueError(f"{path} must hold x_train and y_train, or train_images and train_labels; it holds {held}.")
    return pairs


def _array(path: Path, archive: "np.lib.npyio.NpzFile", name: str) -> np.ndarray:
    try:
        return archive[name]
    except Exception as error:  # zlib's, zipfile's and NumPy's own errors come out
        raise ValueError(f"{name} of {path} must be a whole array; reading it failed: {_line(error)}.") from None


def _targets(path: Path, archive: "np.lib.npyio.NpzFile", name: str) -> np.ndarray:
    labels = _array(path, archive, name)
    if labels.ndim == 4 and labels.shape[-1] == 1:
        return labels[..., 0]
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _task(labels: np.ndarray) -> str:
    """Infers the task from the targets.

    One-hot rows and whole floats are classes in a form that is refused.
    """
    if labels.ndim == 3 and np.issubdtype(labels.dtype, np.integer):
        return "segmentation"
    if labels.ndim not in (1, 2) or not labels.size:
        return "classification"
    if np.issubdtype(labels.dtype, np.floating) and (labels % 1 != 0).any():
        return "regression"
    rows = labels.ndim == 2 and labels.dtype.kind in "biu" and ((labels == 0) | (labels == 1)).all()
    return "multi_label" if rows and not is_one_hot(labels, len(labels)) else "classification"


def _labels(path: Path, name: str, labels: np.ndarray) -> np.ndarray:
    if labels.ndim != 1:
        raise ValueError(f"{name} of {path} must hold one label each, (N,) or (N, 1); got shape {labels.shape}.")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min(initial=0) < 0:
        got = labels.dtype if not np.issubdtype(labels.dtype, np.integer) else labels.min()
        raise ValueError(f"{name} of {path} must hold numbers of classes, integers from 0; got {got}.")
    return labels


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
