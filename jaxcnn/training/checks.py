"""Checks examples against a network's outputs, classes and input units."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxcnn.data.augmentation import Augmentation
from jaxcnn.data.dataset import Dataset, Scaling
from jaxcnn.data.labels import few, spelled
from jaxcnn.data.streams import Stream
from jaxcnn.training.run_folder import read_description
from jaxcnn.training.tasks.task import Task

_BYTES = 255.0


def check_examples(
    datasets: Sequence[Dataset],
    graph: Any,
    state: Any,
    scaling: Scaling,
    augmentation: Augmentation | None,
    size: int,
    task: Task,
) -> int:
    """Refuses examples that do not fit a network.

    Args:
      datasets: the examples; the network is traced with the first data set to find its outputs.
      graph: the static part of the network, in evaluation mode.
      state: its parameters and other variables.
      scaling: the scaling of its inputs.
      augmentation: that of the training, which determines the size of the pictures.
      size: batch size.
      task: the task, which says what targets and outputs must be.

    Returns:
      The number of outputs of the network, found without computing them.

    Raises:
      ValueError: if the targets are not those of the task, for instance a label is not the number of an output; the
        network has another number of outputs; or pictures are in other units than its inputs.
    """
    for examples in datasets:
        task.check_targets(examples.labels, len(examples.images), examples.title)
        check_units(examples.images, scaling, f"`images` of {examples.title}")
    leaves, tree = jax.tree.flatten(state)
    types = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    images = datasets[0].images
    asked = graph, tree, types, scaling, augmentation, (size, *images.shape[1:]), images.dtype
    try:
        hash(asked)
    except TypeError:  # a network that cannot be compared is traced anew
        outputs = _traced.__wrapped__(*asked)
    else:
        outputs = _traced(*asked)
    shape = getattr(outputs, "shape", ())
    if not shape:
        raise ValueError(f"`model` must return an array of outputs; got {type(outputs).__name__}.")
    for examples in datasets:
        task.check_outputs(shape, examples.classes, examples.labels, examples.title)
        if task.of_pixels:
            _check_pixels(shape, examples, augmentation)
    return shape[-1]


def _check_pixels(shape: tuple[int, ...], examples: Dataset, augmentation: Augmentation | None) -> None:
    """Refuses masks or outputs of another size than the pictures."""
    own, masks = examples.images.shape[1:3], examples.labels.shape[1:]
    if masks != own:
        sizes = " and ".join("x".join(map(str, size)) for size in (own, masks))
        raise ValueError(f"`labels` of {examples.title} must be masks as large as the pictures; got {sizes}.")
    seen = own if augmentation is None else augmentation.resized(examples.images.shape[1:])[:2]
    if shape[1:3] != seen:
        sizes = " for ".join("x".join(map(str, size)) for size in (shape[1:3], seen))
        raise ValueError(f"`model` must give an output for each pixel; got {sizes} pixels.")


@lru_cache(maxsize=32)
def _traced(
    graph: Any,
    tree: Any,
    types: tuple[jax.ShapeDtypeStruct, ...],
    scaling: Scaling,
    augmentation: Augmentation | None,
    shape: tuple[int, ...],
    dtype: Any,
) -> Any:
    """The traced outputs.

    Cached, since tracing a deep network takes a second.
    """

    def answer(state: Any, images: jax.Array) -> Any:
        seen = images if augmentation is None else augmentation.center(images)
        return nnx.merge(graph, *state, copy=True)(scaling(seen))

    # an array, of which nothing is in memory: its dtype becomes the one that JAX would take it for
    return jax.eval_shape(answer, jax.tree.unflatten(tree, types), np.broadcast_to(np.zeros((), dtype), shape))


def check_alike(held_out: Dataset, train: Dataset) -> None:
    """Refuses held-out examples whose labels or words mean something else.

    Their meaning must be that of the training examples.

    Raises:
      ValueError: if their classes or vocabularies differ.
    """
    if spelled(held_out.classes) != spelled(train.classes):
        raise ValueError(
            f"`held_out` must have the classes of `train`, {_told(train.classes, held_out.classes)} "
            "(`held_out.for_classes(train.classes)` finds them by name)."
        )
    if tuple(held_out.vocabulary) != tuple(train.vocabulary):
        raise ValueError(
            f"`held_out` must have the vocabulary of `train`, {_told(train.vocabulary, held_out.vocabulary)}."
        )


def check_same_classes(folder: Path, train: Dataset) -> None:
    """Refuses to resume a run whose outputs stand for other classes.

    It does so also with `force`.

    Raises:
      ValueError: if the folder holds such a run.
    """
    if not (folder / "config.json").exists():
        return
    before = tuple(read_description(folder).get("data", {}).get("classes", train.classes))
    if spelled(before) != spelled(train.classes):
        raise ValueError(f"{folder} must be resumed with its own classes, {_told(before, train.classes)}.")


def _told(wanted: Sequence[str], got: Sequence[str]) -> str:
    """Describes in words how two lists of names differ."""
    wanted, got = spelled(wanted), spelled(got)
    if len(wanted) != len(got):
        return f"{len(wanted)}, {few(wanted)}; got {len(got)}, {few(got)}"
    place = next(place for place, pair in enumerate(zip(wanted, got, strict=True)) if pair[0] != pair[1])
    return f"{few(wanted)}; got {got[place]!r} in the place of {wanted[place]!r}"


def check_units(images: np.ndarray | Stream, scaling: Scaling, title: str = "`images`", *, whole: bool = True) -> None:
    """Refuses inputs in other units than those of the network.

    Floats from 0 to 1 are refused where the inputs are bytes, and bytes where they are such floats. In both cases the
    network would get nearly constant inputs.

    Args:
      images: the pictures.
      scaling: the scaling of the network's inputs.
      title: name of the pictures in the error message.
      whole: whether these are all pictures. A single batch may be dark, so its low values do not prove its units.

    Raises:
      ValueError: if the pictures are in the wrong units.
    """
    if not scaling.mean or not images.shape[0] or images.ndim != 4:
        return
    if images.dtype == np.uint8:
        small = scaling.unit == 1 and all(0 <= mean <= 1 for mean in scaling.mean)
        if small and (isinstance(images, Stream) or images.max() > 1):
            raise ValueError(f"{title} must be floats from 0 to 1, as in training; got bytes.")
    elif scaling.unit == _BYTES and np.issubdtype(images.dtype, np.floating) and not isinstance(images, Stream):
        low, top = float(images.min()), float(images.max())
        if low < 0 or (whole and 0 < top <= 1):
            raise ValueError(
                f"{title} must be in bytes, from 0 to 255, as in training; got from {low:.3g} to {top:.3g}."
            )
