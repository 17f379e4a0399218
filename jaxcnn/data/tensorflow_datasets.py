"""Data sets of tensorflow-datasets, read without TensorFlow."""

import contextlib
import functools
import importlib.util
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.labels import check_labels
from jaxcnn.data.listing import expanded
from jaxcnn.data.pictures import decode_picture
from jaxcnn.data.preprocessing import Preprocessing, in_color
from jaxcnn.data.streams import Stream, fitting, scan, to_stream

_ORDER = ("train", "validation", "test")


def tfds_splits(name: str, data_dir: Path | None) -> tuple[str, ...]:
    """Returns the splits of a data set, training first.

    Prepares it if necessary and TensorFlow is installed.
    """
    splits = list(_builder(name, _folder(data_dir)).info.splits)
    return (*(split for split in _ORDER if split in splits), *sorted(set(splits) - set(_ORDER)))


def read_tfds(
    split: str,
    name: str,
    data_dir: Path | None,
    *,
    stream: bool | None = None,
    image_size: int | Preprocessing | None = None,
    skip_corrupt: bool = False,
) -> Dataset:
    """Reads a split of a data set of tensorflow-datasets.

    It goes into memory or becomes a stream.

    Args:
      split: one of `tfds_splits`.
      name: `NAME`, `NAME/config`, `NAME:version` or `NAME/config:version`.
      data_dir: the folder of prepared data sets, or the folder above it if that is named `tfds`; default
        `$JAXCNN_DATA_DIR/tfds` if it is there, else the one of tensorflow-datasets, `$TFDS_DATA_DIR` or
        `~/tensorflow_datasets`.
      stream: whether to decode pictures only when they are needed; by default if they would not fit in memory.
      image_size: side in pixels to which pictures are resized.
      skip_corrupt: leave out damaged pictures.

    Returns:
      The examples, with the pictures and labels of the data set's supervised keys.

    Raises:
      FileNotFoundError: if it is not prepared, and TensorFlow is not installed to prepare it.
      ModuleNotFoundError: if tensorflow-datasets is not installed.
      ValueError: if there is no such data set, or it does not consist of labeled pictures of one size.
    """
    builder = _builder(name, _folder(data_dir))
    image_key, label_key = _keys(name, builder.info)
    features: Any = builder.info.features
    with _quiet():
        instructions = builder.info.splits[split].file_instructions
    source = _open(name, instructions)
    count, classes = len(source), tuple(features[label_key].names)
    labels = np.zeros(count, np.int64)
    label = f"tfds:{name} {split}"

    def decode(place: int) -> np.ndarray:
        example = _parse(source, place)
        labels[place] = example[label_key].int64_list.value[0]
        title = f"picture {place} of {label}"
        return fitting(decode_picture(example[image_key].bytes_list.value[0], title, image_size), shape, title)

    channels = 3 if in_color(image_size) else features[image_key].shape[-1]
    shape = decode_picture(_parse(source, 0)[image_key].bytes_list.value[0], f"picture 0 of {label}", image_size).shape
    streamed = to_stream(stream, count, shape)
    pixels, sums, damaged = scan(count, decode, shape, keep=not streamed, color=in_color(image_size))
    if damaged and not skip_corrupt:
        first = next(iter(damaged.values())).rstrip(".")
        raise ValueError(f"{len(damaged)} of {count} pictures are damaged, and {first}.")
    check_labels(labels, len(classes), label, "classes")
    images = pixels
    if images is None:
        shape = (*shape[:2], channels if channels == 1 else sums.shape[-1])
        images = Records(source, image_key, shape, label, image_size=image_size, sums=sums[..., : shape[-1]])
    dataset = Dataset(images, labels.astype(np.int32), classes, f"tfds:{name}", split)
    if not damaged:
        return dataset
    skipped = tuple(f"picture {place} of {label}" for place in damaged)
    return dataset.pick(np.setdiff1d(np.arange(count), list(damaged)))._replace(skipped=skipped)


class Records(Stream):
    """Pictures inside array_record files."""

    def __init__(
        self,
        source: Any,
        key: str,
        shape: tuple[int, ...],
        title: str,
        *,
        image_size: int | Preprocessing | None = None,
        sums: np.ndarray | None = None,
        places: np.ndarray | None = None,
    ):
        """Takes the reader, the picture's key, and the records' numbers."""
        super().__init__(shape, sums)
        self._source, self._key, self._title, self._image_size = source, key, title, image_size
        self._places = np.arange(len(source)) if places is None else places

    def __len__(self) -> int:
        return len(self._places)

    def decode(self, place: int) -> np.ndarray:
        """Decodes the picture of this number, `(H, W, C)`."""
        number = int(self._places[place])
        title = f"picture {number} of {self._title}"
        try:
            content = _parse(self._source, number)[self._key].bytes_list.value[0]
        except Exception as error:  # array_record's and protobuf's own errors come out
            raise ValueError(f"{title} must be readable; reading it failed: {_line(error)}.") from None
        return fitting(decode_picture(content, title, self._image_size), self._picture_shape, title)

    def pick(self, index: Any) -> "Records":
        """Selects some of the pictures, without decoding them."""
        sums = None if self.sums is None else self.sums[index]
        return Records(
            self._source,
            self._key,
            self._picture_shape,
            self._title,
            image_size=self._image_size,
            sums=sums,
            places=self._places[index],
        )


def _parse(source: Any, place: int) -> Any:
    """The features of a record."""
    from tensorflow_datasets.proto import tf_example_pb2

    messages: Any = tf_example_pb2  # whose classes are made at run time
    return messages.Example.FromString(source[place]).features.feature


def _open(name: str, instructions: Any):
    from array_record.python import array_record_data_source

    missing = [str(part.filename) for part in instructions if not Path(part.filename).is_file()]
    if missing:
        raise FileNotFoundError(f"`tfds:{name}` must have all of its files; {missing[0]} is missing.")
    try:
        return array_record_data_source.ArrayRecordDataSource(instructions)
    except Exception as error:
        raise ValueError(f"`tfds:{name}` must be readable; reading it failed: {_line(error)}.") from None


def _folder(data_dir: Path | None) -> Path | None:
    if data_dir is not None:
        return data_dir / "tfds" if (data_dir / "tfds").is_dir() else data_dir
    ours = expanded(os.environ["JAXCNN_DATA_DIR"]) / "tfds" if "JAXCNN_DATA_DIR" in os.environ else None
    return ours if ours is not None and ours.is_dir() else None


@functools.lru_cache(maxsize=8)
def _builder(name: str, folder: Path | None):
    """The builder of a data set prepared as array_record files."""
    try:
        with _quiet():
            import array_record  # noqa: F401  # pyright: ignore[reportUnusedImport]
            import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        home = folder or expanded(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))
        if (home / name.partition(":")[0]).is_dir():
            need = f"`{error.name}` is needed to read tfds:{name}; install it with: pip install 'jaxcnn[tfds]'."
        else:
            need = (
                f"`tfds:{name}` must be prepared in {home}; it is not, and `{error.name}` and TensorFlow are needed to "
                "prepare it: pip install 'jaxcnn[tfds-prepare]'."
            )
        raise ModuleNotFoundError(need) from None
    with _quiet():
        try:
            builder = tfds.builder(name, data_dir=folder)
        except Exception as error:  # the list of all data sets, an AssertionError for a version, and others
            known = f"a data set of tensorflow-datasets, or one in {folder}" if folder else "one of tensorflow-datasets"
            raise ValueError(f"`tfds:` must name {known}; got {name!r} ({_line(error)}).") from None
        if not builder.is_prepared():
            _prepare(name, builder)
    if builder.info.file_format is None or builder.info.file_format.value != "array_record":
        form = builder.info.file_format and builder.info.file_format.value
        raise ValueError(f"`tfds:{name}` must be prepared as array_record in {builder.data_dir}; it is {form}.")
    return builder


def _prepare(name: str, builder: Any) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        raise FileNotFoundError(
            f"`tfds:{name}` must be prepared in {builder.data_dir}; it is not, and preparing needs TensorFlow: "
            "pip install 'jaxcnn[tfds-prepare]'."
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            builder.download_and_prepare(file_format="array_record")
    except Exception as error:  # of the network, of files that must be fetched by hand, of the builder
        raise ValueError(f"`tfds:{name}` must be prepared; that failed: {_line(error)}.") from None


def _keys(name: str, info: Any) -> tuple[str, str]:
    """The names of picture and label in a record."""
    features = info.features
    named = info.supervised_keys
    pair = (
        named
        if named and len(named) == 2 and all(isinstance(key, str) for key in named)
        else [
            next((key for key, kind in features.items() if type(kind).__name__ == wanted), "")
            for wanted in ("Image", "ClassLabel")
        ]
    )
    kinds = [type(features[key]).__name__ if key in features else "" for key in pair]
    if kinds != ["Image", "ClassLabel"] or features[pair[0]].np_dtype != np.uint8:
        held = ", ".join(f"{key} {type(kind).__name__}" for key, kind in features.items())
        raise ValueError(f"`tfds:{name}` must be of labeled pictures of bytes; it holds {held}.")
    return pair[0], pair[1]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings, logs and progress bars of tensorflow-datasets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger = logging.getLogger("absl")
        level = logger.level
        logger.setLevel(logging.ERROR)
        with contextlib.suppress(ModuleNotFoundError):
            import tensorflow_datasets as tfds

            tfds.display_progress_bar(False)
        try:
            yield
        finally:
            logger.setLevel(level)


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".: ")
