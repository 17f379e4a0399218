"""Labeled examples, and the scaling of network inputs."""

import math
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.data.labels import IGNORED, check_array, check_kind, check_labels, check_masks, few, spelled
from jaxcnn.data.streams import Stream, channel_sums

_CHUNK = 256  # examples that are measured at a time


class Dataset(NamedTuple):
    """Labeled examples of one split.

    Args:
      images: `(N, H, W, C)` uint8, pictures; or `(N, T, C)` float32, features of sounds; or `(N, L)` int32, words as
        indices of `vocabulary`, 0 for padding. Pictures that do not fit in memory are a `Stream`, which is indexed like
        an array.
      labels: the targets: `(N,)` int32, indices of `classes`; for the task `"multi_label"`, `(N, K)` of 0 and 1; for
        `"regression"`, `(N, K)` floats; for `"segmentation"`, `(N, H, W)` integers, with 255 for pixels that do not
        count.
      classes: names of the classes; or of the K labels, or of the K values.
      name: name of the data set.
      split: name of the split.
      vocabulary: the words, if the examples are sentences.
      skipped: paths of damaged pictures that were left out.
      notes: remarks on how the examples were read, in words.
      task: what the targets are for, as in `training.TrainConfig.task`.
      files: `(N,)` paths of the pictures as bytes, for folders; else None.
    """

    images: np.ndarray | Stream
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str
    split: str
    vocabulary: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    task: str = "classification"
    files: np.ndarray | None = None

    @property
    def features(self) -> int:
        """The number of an example's channels, or of the vocabulary's words."""
        return len(self.vocabulary) or self.images.shape[-1]

    @property
    def title(self) -> str:
        """The name of data set and split in error messages."""
        return f"the {self.split} split of {self.name}"

    def example(self, place: int) -> str:
        """Names an example, by its picture's path if it has one.

        Args:
          place: its number.

        Returns:
          The path, or the name of the split with the number.
        """
        return f"{self.split}[{place}]" if self.files is None else os.fsdecode(self.files[place])

    def counts(self) -> np.ndarray:
        """Counts the examples of each class, or with each label.

        For the task `"segmentation"`, these are the examples with a pixel of the class.

        Returns:
          `(len(classes),)` integers.

        Raises:
          ValueError: for the task `"regression"`, which has no classes.
        """
        self._check_classes()
        labels = np.asarray(self.labels)
        if labels.ndim == 3:
            return np.array([len(self.members(place)) for place in range(len(self.classes))])
        return labels.sum(0) if labels.ndim == 2 else np.bincount(labels, minlength=len(self.classes))

    def members(self, place: int) -> np.ndarray:
        """Finds the examples of a class, or with a label.

        For the task `"segmentation"`, these are the examples with a pixel of the class.

        Args:
          place: number of the class or label.

        Returns:
          Numbers of the examples, in order.

        Raises:
          ValueError: for the task `"regression"`, which has no classes.
        """
        self._check_classes()
        labels = np.asarray(self.labels)
        if labels.ndim == 3:
            return np.flatnonzero((labels == place).any((1, 2)))
        return np.flatnonzero(labels[:, place] > 0 if labels.ndim == 2 else labels == place)

    def _check_classes(self) -> None:
        if self.task == "regression":
            raise ValueError(f"{self.title} must have classes or labels; its targets are real numbers.")

    def take(self, count: int) -> "Dataset":
        """Selects the first examples.

        Args:
          count: their number.

        Returns:
          A data set of these examples.
        """
        return self.pick(slice(count))

    def pick(self, index: Any) -> "Dataset":
        """Selects some of the examples; a stream stays a stream.

        Args:
          index: a slice, numbers of examples, or a mask.

        Returns:
          A data set of these examples.
        """
        check_array(self.labels, self.title)
        images = self.images.pick(index) if isinstance(self.images, Stream) else self.images[index]
        files = None if self.files is None else self.files[index]
        return self._replace(images=images, labels=self.labels[index], files=files)

    def in_gray(self) -> "Dataset":
        """Converts color pictures to gray.

        The weights of the channels are those of ITU-R 601, as in Pillow: color is lost, brightness is kept.

        Returns:
          The same examples with one channel.

        Raises:
          ValueError: if the examples are not color pictures in memory.
        """
        images = self.images
        if isinstance(images, Stream) or images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            kind = "a stream" if isinstance(images, Stream) else f"{images.dtype} of shape {images.shape}"
            raise ValueError(f"{self.title} must be color pictures in memory, (N, H, W, 3) uint8; got {kind}.")
        gray = np.empty((*images.shape[:-1], 1), np.uint8)
        for at in range(0, len(images), _CHUNK):
            red, green, blue = np.moveaxis(images[at : at + _CHUNK].astype(np.int32), -1, 0)
            gray[at : at + _CHUNK, ..., 0] = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
        return self._replace(images=gray)

    def for_classes(self, classes: Sequence[str]) -> "Dataset":
        """Renumbers the labels for another list of classes, by name.

        Args:
          classes: names, for instance those of a network; they must contain all classes of this data set.

        Returns:
          The same examples with labels that index `classes`.

        Raises:
          ValueError: if a class of this data set is missing, or a name occurs twice.
        """
        classes = tuple(classes)
        own, theirs = spelled(self.classes), spelled(classes)
        if own == theirs:  # the names are the network's, in whatever signs
            return self if tuple(self.classes) == classes else self._replace(classes=classes)
        twice = [name for names in (own, theirs) for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"`classes` must have unique names; got {twice[0]!r} twice.")
        if self.task == "regression":
            raise ValueError(f"the values of {self.name} must be {few(classes)}; got {few(own)}.")
        places = {name: place for place, name in enumerate(theirs)}
        unknown = [name for name in own if name not in places]
        if unknown:
            raise ValueError(f"the classes of {self.name} must be among {few(classes)}; got {few(unknown)}.")
        if self.task == "multi_label":
            labels = np.zeros((len(self.labels), len(classes)), self.labels.dtype)
            labels[:, [places[name] for name in own]] = self.labels
            return self._replace(labels=labels, classes=classes)
        if self.task == "segmentation":
            check_masks(self.labels, len(self.images), self.title, len(self.classes))
            numbers = np.full(IGNORED + 1, IGNORED, np.uint8)
            numbers[: len(own)] = [places[name] for name in own]
            return self._replace(labels=numbers[self.labels], classes=classes)
        check_kind(self.labels, len(self.images), self.title)
        check_labels(self.labels, len(self.classes), self.title, "classes")
        table = np.array([places[name] for name in own], np.int32)
        return self._replace(labels=table[self.labels], classes=classes)

    def split_off(self, share: float, seed: int = 0) -> tuple["Dataset", "Dataset"]:
        """Splits off a random validation part.

        It has the same share of every class, if each example has one class.

        Args:
          share: share of the validation part, between 0 and 1.
          seed: seed of the draw; the same seed draws the same examples.

        Returns:
          The remaining examples, and the validation part.

        Raises:
          ValueError: if one of them would be empty.
        """
        check_array(self.labels, self.title)
        count = len(self.labels)
        order = np.random.RandomState(seed).permutation(count)  # a frozen stream: the split never changes
        if np.ndim(self.labels) == 1:
            order = order[np.argsort(self.labels[order], kind="stable")]
        edges = np.floor(np.arange(count + 1) * share + 0.5)  # every 1/share-th of the examples in order of class
        drawn = order[np.diff(edges) > 0]
        if not (0 < share < 1 and 0 < len(drawn) < count):
            raise ValueError(f"`share` must put some of the {count} examples into each part; got {share}.")
        kept = np.setdiff1d(np.arange(count), drawn)
        return self.pick(kept), self.pick(np.sort(drawn))._replace(split="validation")


class Scaling(NamedTuple):
    """The affine map from an example to a network's input.

    It is `(value / unit - mean) / std`.

    Args:
      mean: one number per channel; empty for words, which are not scaled.
      std: one number per channel; empty for words.
      unit: the value that is divided by first: 255 for bytes, 1 for other features.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    unit: float = 255.0

    def __call__(self, images):
        """Scales `(..., C)` to float32.

        Accepts NumPy and JAX arrays, also inside `jit`.
        """
        if not self.mean:
            return images
        scale = 1 / (np.float32(self.unit) * np.array(self.std, np.float32))
        shift = np.array(self.mean, np.float32) / np.array(self.std, np.float32)
        channels = (1,) * (images.ndim - 1) + scale.shape  # JAX's rank promotion may be set to refuse
        return images.astype(np.float32) * scale.reshape(channels) - shift.reshape(channels)


def measure_scaling(dataset: Dataset) -> Scaling:
    """Measures the scaling to mean 0 and variance 1.

    It holds for every channel of the data set.

    Args:
      dataset: the examples, usually the training split.

    Returns:
      The scaling; for words, an empty one.

    Raises:
      ValueError: if the data set is empty.
    """
    if not len(dataset.images):
        raise ValueError(f"{dataset.title} must hold images; got none.")
    if dataset.vocabulary:
        return Scaling((), ())
    images = dataset.images
    if not isinstance(images, Stream) and images.dtype != np.uint8:
        axes = tuple(range(images.ndim - 1))
        mean, std = images.mean(axes, np.float64), images.std(axes, np.float64)
        return Scaling(tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist()), 1.0)
    # sums of integers are exact, need no float copy of the images, and are the same however these are kept
    count = math.prod(images.shape[:-1])
    sums = getattr(images, "sums", None)
    if sums is None:
        sums = np.stack([channel_sums(images[at : at + _CHUNK]) for at in range(0, len(images), _CHUNK)])
    totals, squares = sums.sum(0).tolist()
    mean = [total / (255 * count) for total in totals]
    std = [math.sqrt(count * square - total**2) / (255 * count) for total, square in zip(totals, squares, strict=True)]
    return Scaling(tuple(mean), tuple(value or 1.0 for value in std))


def symmetric_scaling(dataset: Dataset) -> Scaling:
    """Returns the scaling that maps bytes to [-1, 1].

    Args:
      dataset: the examples, for their number of channels.

    Returns:
      The scaling.

    Raises:
      ValueError: if the data set does not hold bytes.
    """
    if dataset.images.dtype != np.uint8:
        raise ValueError(f"`scaling` 'symmetric' needs pictures in bytes (uint8); got {dataset.images.dtype}.")
    half = (0.5,) * dataset.images.shape[-1]
    return Scaling(half, half)
