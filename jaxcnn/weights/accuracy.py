"""Measures trained weights on a folder of pictures.

The accuracy is measured as the publishers of the weights measured it.
"""

import collections
import contextlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcnn import data, models, training
from jaxcnn.data import Preprocessing
from jaxcnn.weights.published import PRETRAINED


class Accuracy(NamedTuple):
    """The accuracy of a network on a folder of pictures.

    Args:
      top1: share of the pictures, in percent, whose class is the likeliest.
      top5: the same for the five likeliest classes.
      pictures: number of pictures.
    """

    top1: float
    top5: float
    pictures: int


def accuracy_on(
    model: models.Network,
    config: Mapping[str, Any],
    folder: str | Path,
    *,
    batch_size: int = 64,
    limit: int | None = None,
) -> Accuracy:
    """Measures a trained network's accuracy on a folder of pictures.

    The folder holds one folder per class. The pictures are resized and cut as `config` says; for weights of
    `PRETRAINED` as for the published figures.

    Args:
      model: the network, in evaluation mode.
      config: its configuration, as `pretrained` returns it, with `preprocessing` and `classes`.
      folder: the folder; the folders in it are named after classes, as `n01440764/` for ImageNet.
      batch_size: number of pictures in a batch.
      limit: number of pictures, spread over all of them; by default all.

    Returns:
      The accuracies, and the number of pictures.

    Raises:
      FileNotFoundError: if there is no such folder, or no picture in it.
      ValueError: if a folder is not named after a class, or a picture is damaged.
    """
    fed, classes = _published_preprocessing(config), {name: place for place, name in enumerate(config["classes"])}
    files = _pictures(Path(folder), classes)
    if limit is not None and limit < len(files):
        files = [files[place] for place in np.linspace(0, len(files) - 1, limit).round().astype(int)]
    shape = (*fed.size, len(fed.mean))
    labels: collections.deque[np.ndarray] = collections.deque()

    def read(piece: list[Path]) -> np.ndarray:
        return np.stack([data.read_picture(path, shape, preprocessing=fed).pixels for path in piece])

    pieces = [files[at : at + batch_size] for at in range(0, len(files), batch_size)]

    def batches(read_ahead: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for piece, pixels in zip(pieces, read_ahead, strict=True):
            labels.append(np.array([classes[path.relative_to(folder).parts[0]] for path in piece]))
            yield pixels

    right, among = 0, 0
    with contextlib.closing(data.mapped_ahead(read, iter(pieces), ahead=2)) as read_ahead:
        for answers in training.answers_to(model, batches(read_ahead), data.Scaling(fed.mean, fed.std)):
            best, wanted = np.argsort(-answers, axis=1, kind="stable")[:, :5], labels.popleft()
            right += int((best[:, 0] == wanted).sum())
            among += int((best == wanted[:, None]).any(1).sum())
    return Accuracy(100 * right / len(files), 100 * among / len(files), len(files))


def _published_preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    """The preprocessing for a comparison with published figures.

    It is that of the configuration, in the size in which the published figures were measured.
    """
    if "preprocessing" not in config or "classes" not in config:
        raise ValueError("`config` must have the `preprocessing` and `classes` of published weights; it has not.")
    told = dict(config["preprocessing"])
    known = PRETRAINED.get((config.get("source") or {}).get("name", ""))
    return Preprocessing.of(told | (dict(known.measured) if known else {}))


def _pictures(folder: Path, classes: Mapping[str, int]) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"`folder` must be a folder with one folder per class; got {folder}.")
    files = sorted(itertools.chain.from_iterable(data.pictures_below(each) for each in _folders(folder)))
    strange = sorted({path.relative_to(folder).parts[0] for path in files} - set(classes))
    if strange:
        some = ", ".join(itertools.islice(classes, 3))
        raise ValueError(f"the folders in {folder} must be named after classes, as {some}; got {strange[0]}.")
    if not files:
        raise FileNotFoundError(f"{folder} must hold one folder of pictures per class; it holds no picture in any.")
    return files


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
