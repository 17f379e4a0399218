"""Data sets by name."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.digits import SPLITS, read_digits
from jaxcnn.data.division import Division
from jaxcnn.data.faces import read_faces
from jaxcnn.data.folders import find_folder, folder_splits, read_folder
from jaxcnn.data.listing import expanded
from jaxcnn.data.masks import read_masks
from jaxcnn.data.mnist import CLOTHES, idx_splits, read_idx_folder, read_mnist, read_mnist1989
from jaxcnn.data.mnist1d import read_mnist1d
from jaxcnn.data.npz import npz_splits, read_npz
from jaxcnn.data.preprocessing import Preprocessing
from jaxcnn.data.rotated import read_rotated_digits
from jaxcnn.data.scenes import read_scene_masks, read_scenes
from jaxcnn.data.speech import read_fsdd
from jaxcnn.data.tensorflow_datasets import read_tfds, tfds_splits
from jaxcnn.data.text import read_rt_polarity

_Splits = tuple[str, ...]


class _Source(NamedTuple):
    """The data set behind a name."""

    splits: _Splits | Callable[[Path | None], _Splits]
    read: Callable[..., Dataset]  # split, `data_dir`, and for pictures how to read them
    pictures: bool = False  # whether it consists of picture files, which can be streamed and resized
    folders: bool = False  # whether it has folders of classes, which may be empty
    targets: bool = False  # whether its targets may be for several tasks

    def splits_in(self, data_dir: Path | None) -> _Splits:
        return self.splits(data_dir) if callable(self.splits) else self.splits


def _of_tfds(name: str, splits: _Splits | None = None, called: str | None = None) -> _Source:
    """A data set of tensorflow-datasets.

    Its splits are looked up if they are not given.
    """

    def read(split: str, data_dir: Path | None, **how) -> Dataset:
        dataset = read_tfds(split, name, data_dir, **how)
        return dataset._replace(name=called or dataset.name)

    return _Source(splits or (lambda data_dir: tfds_splits(name, data_dir)), read, pictures=True)


SOURCES: dict[str, _Source] = {
    "cifar10": _of_tfds("cifar10", ("train", "test"), "cifar10"),
    "cifar100": _of_tfds("cifar100", ("train", "test"), "cifar100"),
    "digits": _Source(SPLITS, lambda split, _: read_digits(split)),
    "faces": _Source(SPLITS, lambda split, _: read_faces(split)),
    "fashion_mnist": _Source(
        ("train", "test"),
        lambda split, at: read_mnist(split, find_folder("fashion_mnist", at), "fashion_mnist", CLOTHES),
    ),
    "fsdd": _Source(("train", "test"), lambda split, at: read_fsdd(split, find_folder("fsdd", at))),
    "imagenet2012": _of_tfds("imagenet2012", ("train", "validation"), "imagenet2012"),
    "imagenette": _of_tfds("imagenette/full-size-v2", ("train", "validation"), "imagenette"),
    "mnist": _Source(("train", "test"), lambda split, at: read_mnist(split, find_folder("mnist", at))),
    "mnist1989": _Source(("train", "test"), lambda split, at: read_mnist1989(split, find_folder("mnist", at))),
    "mnist1d": _Source(("train", "test"), lambda split, _: read_mnist1d(split)),
    "rotated_digits": _Source(SPLITS, lambda split, _: read_rotated_digits(split)),
    "rt-polarity": _Source(SPLITS, lambda split, at: read_rt_polarity(split, find_folder("rt-polarity", at))),
    "scene_masks": _Source(SPLITS, lambda split, _: read_scene_masks(split)),
    "scenes": _Source(SPLITS, lambda split, _: read_scenes(split)),
}
_FORMS = ("folder:PATH", "fsdd:SPEAKER", "idx:PATH", "masks:PATH", "npz:PATH", "rt-polarity:FOLD", "tfds:NAME")


def _source(name: str, division: Division | None = None) -> _Source:
    """The source of a name.

    After a colon comes a path, a fold, a speaker or a name of tensorflow-datasets.

    Raises:
      FileNotFoundError: if the name is that of a folder or file that does not exist.
      ValueError: if the name is unknown.
    """
    if division is not None and not name.startswith("folder:"):
        return _divided(name, _source(name), division)
    kind, colon, rest = name.partition(":")
    path = expanded(rest)
    if kind == "folder" and rest:
        splits_there = folder_splits(path, division=division)
        divided = {} if division is None else {"division": division}
        return _Source(
            splits_there,
            lambda split, _, **how: read_folder(split, path, **divided, **how),
            pictures=True,
            folders=True,
        )
    if kind == "masks" and rest:
        return _Source(folder_splits(path, kind), lambda split, _, **how: read_masks(split, path, **how), pictures=True)
    if kind == "idx" and rest:
        return _Source(idx_splits(path), lambda split, _: read_idx_folder(split, path))
    if kind == "npz" and rest:
        return _Source(npz_splits(path), lambda split, _, task=None: read_npz(split, path, task), targets=True)
    if kind == "tfds" and rest:
        return _of_tfds(rest)
    if kind == "rt-polarity" and rest.isdigit():
        fold = int(rest)
        return SOURCES[kind]._replace(
            read=lambda split, at: read_rt_polarity(split, find_folder(kind, at), fold)._replace(name=name)
        )
    if kind == "fsdd" and rest:
        return SOURCES[kind]._replace(
            read=lambda split, at: read_fsdd(split, find_folder(kind, at), rest)._replace(name=name)
        )
    if colon or name not in SOURCES:
        known = ", ".join(map(repr, [*sorted(SOURCES), *_FORMS]))
        meant = f"; perhaps you meant 'folder:{name}'" if expanded(name).is_dir() else ""
        raise ValueError(f"`name` must be one of {known}; got {name!r}{meant}.")
    return SOURCES[name]


def _divided(name: str, source: _Source, division: Division) -> _Source:
    """A source with a training split only, divided into splits."""

    def splits_there(data_dir: Path | None) -> _Splits:
        there = source.splits_in(data_dir)
        if there != ("train",):
            raise ValueError(f"`split` is for data without splits; {name} has {', '.join(there)}.")
        return division.splits

    def read(split: str, data_dir: Path | None, **how) -> Dataset:
        whole = source.read("train", data_dir, **how)
        files = None if whole.files is None else [os.fsdecode(path) for path in whole.files]
        parts = division.parts(whole.labels, files)
        part = whole.pick(np.flatnonzero(parts == division.number(split)))
        return part._replace(split=split, notes=(*whole.notes, f"{name}: {division.told(parts, files)}"))

    return source._replace(splits=splits_there, read=read)


def resizes(name: str) -> bool:
    """Whether a data set consists of picture files.

    Such pictures can be brought to any size.

    Args:
      name: as in `load`.

    Returns:
      True for folders and tensorflow-datasets.

    Raises:
      FileNotFoundError: if the name is that of a folder or file that does not exist.
      ValueError: if the name is unknown.
    """
    return _source(name).pictures


def splits(name: str, data_dir: str | Path | None = None, *, division: Division | None = None) -> tuple[str, ...]:
    """Lists the splits of a data set.

    Args:
      name: as in `load`.
      data_dir: as in `load`; only `"tfds:NAME"` needs it.
      division: as in `load`.

    Returns:
      The names of the splits, the training split first.

    Raises:
      FileNotFoundError: if files of the data set are missing.
      ValueError: if the name is unknown.
    """
    return _source(name, division).splits_in(None if data_dir is None else expanded(data_dir))


def load(
    name: str,
    split: str = "train",
    data_dir: str | Path | None = None,
    *,
    stream: bool | None = None,
    image_size: int | Preprocessing | None = None,
    skip_corrupt: bool = False,
    allow_empty: bool = False,
    task: str | None = None,
    division: Division | None = None,
) -> Dataset:
    """Loads one split of a data set.

    It goes into memory or, if there are too many pictures, becomes a stream.

    Args:
      name: one of

        - `"digits"`, 1,797 real digits that come with scikit-learn, upscaled to 28x28, in a fixed split 80/10/10;
        - `"mnist"`, from its four IDX files, gzipped or plain; `"mnist1989"`, with 16x16 pixels and the numbers of
          examples of 1989; `"fashion_mnist"`, from files of the same names;
        - `"mnist1d"`, 5,000 signals of 40 samples, generated by the package `mnist1d`;
        - `"cifar10"`, `"cifar100"`, `"imagenet2012"`, `"imagenette"` (full size, the split of 2019), and
          `"tfds:NAME"`, any labeled pictures of tensorflow-datasets, where NAME may have `/config` and `:version`.
          They must be prepared as array_record, which needs TensorFlow once; they are read without it;
        - `"folder:PATH"`, pictures in one folder per class, optionally inside folders of the splits: `train`,
          `validation` (`val`, `valid`) and `test`, in upper or lower case; hidden files and folders are ignored;
        - `"masks:PATH"`, pictures in a folder `images` and a class for each of their pixels in a folder `masks`,
          optionally inside folders of the splits; for the task `"segmentation"`;
        - `"idx:PATH"`, a folder of IDX files with any prefix, or the folder and the prefix;
        - `"npz:PATH"`, an archive with the arrays of Keras or of MedMNIST;
        - `"fsdd"`, spoken digits as log-mel features, from `recordings/` or `fsdd.tar.gz`, where the test split has the
          takes 0 to 4; in `"fsdd:jackson"` the test split has all takes of that speaker, and the training split those
          of the others;
        - `"faces"`, 100 faces and 100 other pictures of 25x25 that come with scikit-image, for the task `"binary"`;
        - `"scenes"`, 5,000 canvases of 48x48 with one to four of those 1,797 digits, for the task `"multi_label"`:
          which digits are there;
        - `"scene_masks"`, the same canvases for the task `"segmentation"`: the ground or a digit for each pixel;
        - `"rotated_digits"`, the digits turned by up to 45 degrees, for the task `"regression"`: the angle in degrees;
        - `"rt-polarity"`, sentences as words, where the test split is the first of ten folds; `"rt-polarity:3"`,
          another fold.

        In all paths `~` is the home folder.
      split: `"train"`, `"test"`, and for some data sets `"validation"`.
      data_dir: folder of the files, or the folder above it; by default `$JAXCNN_DATA_DIR`. Data sets
        that come with a library or are generated need none. For tensorflow-datasets it is `data_dir/tfds` or
        `data_dir`; by default `$JAXCNN_DATA_DIR/tfds` if it exists, else `$TFDS_DATA_DIR`.
      stream: for folders and tensorflow-datasets, whether to decode pictures only when they are needed, for which
        training needs Grain; by default if they would take more than `streams.STREAM_ABOVE` bytes.
      image_size: for folders and tensorflow-datasets, side in pixels to which pictures are brought: the shorter side is
        resized, antialiased, and the middle square is cut out. Or a `Preprocessing`, as trained networks need it.
      skip_corrupt: for folders and tensorflow-datasets, leave out damaged pictures and name them in `skipped`, instead
        of raising an error.
      allow_empty: for folders, accept classes without a training picture, instead of raising an error.
      task: for archives, what the targets are for, as in `training.TrainConfig.task`; by default their form decides.
      division: for data without splits of its own, how to divide it: a folder without folders of splits, or what has a
        training split only.

    Returns:
      The examples and their labels; for a folder, `notes` lists the ignored files and says how it was split.

    Raises:
      FileNotFoundError: if a file or folder is missing.
      ModuleNotFoundError: if the data set needs a library that is not installed.
      ValueError: if a name is unknown, or a file is damaged or does not match its pair.
    """
    source, at = _source(name, division), None if data_dir is None else expanded(data_dir)
    known = source.splits_in(at)
    if split not in known:
        raise ValueError(f"`split` of {name} must be one of {', '.join(map(repr, known))}; got {split!r}.")
    if isinstance(image_size, int) and image_size < 1:
        raise ValueError(f"`image_size` must be positive; got {image_size}.")
    if allow_empty and not source.folders:
        raise ValueError(f"`allow_empty` must be False except for folders of pictures; got True for {name}.")
    if source.pictures:
        how = {"stream": stream, "image_size": image_size, "skip_corrupt": skip_corrupt}
        return source.read(split, at, **how, **({"allow_empty": allow_empty} if source.folders else {}))
    if stream or image_size is not None:
        option, value = ("stream", stream) if stream else ("image_size", image_size)
        raise ValueError(f"`{option}` is for folders of pictures and tensorflow-datasets, not {name}; got {value}.")
    return source.read(split, at, **({"task": task} if source.targets else {}))
