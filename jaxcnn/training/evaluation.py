"""Evaluates a network: its results on a data set, and its outputs for given pictures."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxcnn import geometry
from jaxcnn.data.augmentation import Augmentation
from jaxcnn.data.batches import Batch, eval_batches
from jaxcnn.data.dataset import Dataset, Scaling
from jaxcnn.data.prefetch import mapped_ahead
from jaxcnn.data.streams import Stream
from jaxcnn.training.checks import check_examples, check_units
from jaxcnn.training.objective import Objective, at_least_float32, is_right
from jaxcnn.training.parallel import Layout, local_devices
from jaxcnn.training.state import split
from jaxcnn.training.step import Metrics

Loss = Literal["cross_entropy", "mean_squared_error"]
Views = Literal["one", "flip", "flip_shift"]
Made = TypeVar("Made")


def _remembered(make: Callable[..., Made]) -> Callable[..., Made]:
    """Caches results by arguments; without caching if an argument cannot be hashed.

    The static part of a network can be hashed. So a network that is evaluated again, with other parameters, is not
    compiled again.
    """
    remembered = functools.lru_cache(maxsize=32)(make)

    def made(*arguments: Any) -> Made:
        try:
            hash(arguments)
        except TypeError:
            return make(*arguments)
        return remembered(*arguments)

    return made


@functools.lru_cache(maxsize=8)
def _layout_of(devices: tuple[Any, ...]) -> Layout:
    return Layout(devices=devices)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The result of a network on a whole data set.

    Args:
      loss: mean loss over the examples; cross-entropy is in nats.
      accuracy: share of examples classified correctly.
      count: number of examples.
      top5_accuracy: share of examples whose class is among the five most probable; None for five classes or fewer.
    """

    loss: float
    accuracy: float
    count: int
    top5_accuracy: float | None = None


def evaluate(
    model: nnx.Module,
    dataset: Dataset,
    scaling: Scaling,
    batch_size: int = 256,
    *,
    loss: Loss = "cross_entropy",
    views: Views = "one",
    augmentation: Augmentation | None = None,
    layout: Layout | None = None,
) -> Evaluation:
    """Computes loss and accuracy over every example of a data set.

    Args:
      model: the network; it is used in evaluation mode and stays unchanged.
      dataset: the examples.
      scaling: the scaling with which the network was trained.
      batch_size: examples per call; rounded up to a multiple of the number of devices.
      loss: as in `TrainConfig`.
      views: the images over which logits are averaged (test-time augmentation): `"one"`, the picture; `"flip"`, also
        its mirror image; `"flip_shift"`, both, and both shifted by one pixel along each diagonal.
      augmentation: that of the training, which determines the size of the pictures.
      layout: the devices; by default all of this process.

    Returns:
      The result.

    Raises:
      ValueError: if the data set is empty, has labels without an output of the network, or floats although the
        network's inputs are bytes; or if `views` is unknown or not possible for its examples.
    """
    layout = layout or _layout_of(tuple(local_devices()))
    graphs, params, rest = split(nnx.clone(model))
    if len(dataset.labels):
        part = -(-min(batch_size, len(dataset.labels)) // layout.data_devices)
        part *= 1 if layout.axis_name else layout.data_devices
        check_examples([dataset], graphs.eval, (params, rest), scaling, augmentation, part)
    eval_step = make_eval_step(graphs.eval, scaling, loss, layout, augmentation, views)
    return evaluate_state(eval_step, layout, layout.place((params, rest)), dataset, batch_size)


def evaluate_state(
    eval_step: Callable[..., Metrics], layout: Layout, state: Any, dataset: Dataset, batch_size: int = 256
) -> Evaluation:
    """Computes loss and accuracy of a network that is split into parameters and other variables, `state`."""
    count = len(dataset.labels)
    if not count:
        raise ValueError(f"the {dataset.split} split of {dataset.name} must hold examples; got none.")
    parts = layout.data_devices
    size = -(-min(batch_size, count) // parts) * parts
    batches = eval_batches(dataset, size, rows=layout.rows(size))
    found = jax.device_get([eval_step(state, layout.put(batch)) for batch in batches])
    sums = {name: sum(float(part[name]) for part in found) for name in found[0]}
    top5 = sums["top5"] / count if len(dataset.classes) > 5 else None
    return Evaluation(sums["loss"] / count, sums["correct"] / count, count, top5)


@_remembered
def make_eval_step(
    graph: Any,
    scaling: Scaling,
    loss: Loss,
    layout: Layout,
    augmentation: Augmentation | None = None,
    views: Views = "one",
) -> Callable[..., Metrics]:
    """Compiles `((params, rest), batch) -> sums` of loss and correct predictions, without filling.

    Raises:
      ValueError: if `views` is unknown.
    """
    if views not in get_args(Views):
        raise ValueError(f"`views` must be one of {', '.join(get_args(Views))}; got {views!r}.")

    objective = Objective(loss)

    def eval_step(state: Any, batch: Batch) -> Metrics:
        model = nnx.merge(graph, *state, copy=True)
        images = jnp.asarray(batch.images)
        seen = _views(images if augmentation is None else augmentation.center(images), views)
        logits = jnp.stack([at_least_float32(model(scaling(image))) for image in seen]).mean(0)
        losses, counted = objective.losses(logits, batch.labels), batch.weights > 0
        best = jax.lax.top_k(logits, min(5, logits.shape[-1]))[1]
        among = jnp.any(best == jnp.asarray(batch.labels, best.dtype)[:, None], -1)
        sums = {
            "loss": jnp.sum(jnp.where(counted, losses, 0)),  # a factor of 0 would let NaN through
            "correct": jnp.sum(is_right(logits, batch.labels) & counted),
            "top5": jnp.sum(among & counted),
        }
        return sums if layout.axis_name is None else jax.lax.psum(sums, layout.axis_name)

    return layout.compile(eval_step, batch=1)


def _views(images: jax.Array, views: Views) -> list[jax.Array]:
    if views == "one":
        return [images]
    if images.ndim != 4:
        raise ValueError(f"`views` {views!r} needs pictures, (N, H, W, C); got shape {images.shape}.")
    seen = [images]
    if views == "flip_shift":
        height, width = images.shape[1:3]
        wide = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
        seen += [wide[:, at : at + height, at : at + width] for at in (0, 2)]
    return seen + [image[:, :, ::-1] for image in seen]


def predict(
    model: nnx.Module,
    images: np.ndarray | Stream,
    scaling: Scaling,
    batch_size: int = 256,
    *,
    views: Views = "one",
    augmentation: Augmentation | None = None,
) -> np.ndarray:
    """Computes the class probabilities of images, in batches.

    Args:
      model: the network; it is used in evaluation mode and stays unchanged.
      images: `(N, H, W, C)`, in the units of the training.
      scaling: the scaling with which the network was trained.
      batch_size: images per call.
      views: the images over which logits are averaged, as in `evaluate`.
      augmentation: that of the training, which determines the size of the pictures.

    Returns:
      `(N, classes)` float32.
    """
    size = min(geometry.integer(batch_size, "batch_size"), max(1, len(images)))
    check_units(images, scaling)
    answer = probabilities if views == "one" else _averaged(views)
    answers = list(answers_to(model, in_batches(images, size), scaling, augmentation=augmentation, answer=answer))
    return np.concatenate(answers) if answers else np.zeros((0, 0), np.float32)


def in_batches(images: np.ndarray | Stream, size: int) -> Iterator[np.ndarray]:
    """Yields all images in order, `size` at a time; those of a stream are decoded in advance, in threads."""
    starts = range(0, len(images), size)
    if isinstance(images, Stream):
        return mapped_ahead(lambda start: images[start : start + size], starts, ahead=2)
    return (images[start : start + size] for start in starts)


def probabilities(model: Any, inputs: jax.Array) -> jax.Array:
    """Computes a network's class probabilities, `(N, classes)` float32."""
    return jax.nn.softmax(model(inputs).astype(jnp.float32))


@functools.lru_cache
def _averaged(views: Views) -> Callable[[Any, jax.Array], jax.Array]:
    def answer(model: Any, inputs: jax.Array) -> jax.Array:
        logits = jnp.stack([at_least_float32(model(seen)) for seen in _views(inputs, views)]).mean(0)
        return jax.nn.softmax(logits)

    return answer


def answers_to(
    model: nnx.Module,
    batches: Iterable[np.ndarray],
    scaling: Scaling,
    *,
    augmentation: Augmentation | None = None,
    answer: Callable[[Any, jax.Array], jax.Array] = probabilities,
) -> Iterator[np.ndarray]:
    """Computes the outputs of a network for batches of images; one batch is computed while the next is made.

    Args:
      model: the network; it is used in evaluation mode and stays unchanged.
      batches: batches of images, none larger than the first. Smaller ones are filled up, so that all use one compiled
        program. Floats from 0 to 1 are not refused here for a network whose inputs are bytes, since a batch of bytes
        may be as dark.
      scaling: the scaling with which the network was trained.
      augmentation: that of the training, which determines the size of the pictures.
      answer: a function of the network and its inputs that returns an array with one row per input.

    Yields:
      For every batch, an array with one row per image.
    """
    graphs, params, rest = split(nnx.clone(model))
    layout = _layout_of(tuple(local_devices()))
    compute, state = _answering(graphs.eval, scaling, layout, augmentation, answer), layout.place((params, rest))
    size, waiting = 0, None
    for batch in batches:
        check_units(batch, scaling, whole=False)
        size = size or -(-len(batch) // layout.data_devices) * layout.data_devices
        filled = np.pad(batch, [(0, size - len(batch)), *[(0, 0)] * (batch.ndim - 1)])
        started = compute(state, layout.put(filled)), len(batch)
        if waiting is not None:
            yield np.asarray(waiting[0])[: waiting[1]]
        waiting = started
    if waiting is not None:
        yield np.asarray(waiting[0])[: waiting[1]]


@_remembered
def _answering(
    graph: Any,
    scaling: Scaling,
    layout: Layout,
    augmentation: Augmentation | None,
    answer: Callable[[Any, jax.Array], jax.Array],
) -> Callable[..., jax.Array]:
    def answered(state: Any, batch: jax.Array) -> jax.Array:
        seen = batch if augmentation is None else augmentation.center(batch)
        return answer(nnx.merge(graph, *state, copy=True), scaling(seen))

    return layout.compile(answered, batch=1)
