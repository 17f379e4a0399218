"""Evaluates a network on a data set, or on given pictures."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

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
from jaxcnn.training.parallel import Layout, local_devices
from jaxcnn.training.state import split
from jaxcnn.training.tasks.choosing import usual_task
from jaxcnn.training.tasks.classification import Classification
from jaxcnn.training.tasks.task import Task, summed
from jaxcnn.training.views import Views, check_views, mean_logits

Made = TypeVar("Made")


def _remembered(make: Callable[..., Made]) -> Callable[..., Made]:
    """Caches results by arguments.

    It does not cache if an argument cannot be hashed. The static part of a network can be hashed. So a network that is
    evaluated again, with other parameters, is not compiled again.
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
      count: number of examples.
      metrics: the metrics of the task, by name: for classification `accuracy`, the share of examples classified
        correctly, and with more than five classes `top5_accuracy`, the share whose class is among the five most
        probable. A metric that the examples leave undefined is missing.
      sums: the sums over all examples of which the task computes its metrics; for segmentation `confusion`, the numbers
        of pixels by true and predicted class.
    """

    loss: float
    count: int
    metrics: Mapping[str, float]
    sums: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @property
    def accuracy(self) -> float:
        """The metric `accuracy`, of the tasks that have it."""
        return self["accuracy"]

    @property
    def top5_accuracy(self) -> float | None:
        """The metric `top5_accuracy`; None where there is none."""
        return self.metrics.get("top5_accuracy")

    def __getitem__(self, name: str) -> float:
        """Returns a metric, or `loss`, by name.

        Raises:
          KeyError: if there is none of that name.
        """
        if name == "loss":
            return self.loss
        if name not in self.metrics:
            raise KeyError(f"a metric must be one of loss, {', '.join(self.metrics)}; got {name!r}")
        return self.metrics[name]


def evaluate(
    model: nnx.Module,
    dataset: Dataset,
    scaling: Scaling,
    batch_size: int = 256,
    *,
    loss: str | None = None,
    task: Task | None = None,
    views: Views = "one",
    augmentation: Augmentation | None = None,
    layout: Layout | None = None,
) -> Evaluation:
    """Computes loss and metrics over every example of a data set.

    Args:
      model: the network; it is used in evaluation mode and stays unchanged.
      dataset: the examples.
      scaling: the scaling with which the network was trained.
      batch_size: examples per call; rounded up to a multiple of the number of devices.
      loss: as in `TrainConfig`; only without `task`.
      task: the task of the training, as `fit` returns it; by default that of the data set.
      views: the images over which logits are averaged (test-time augmentation): `"one"`, the picture; `"flip"`, also
        its mirror image; `"flip_shift"`, both, and both shifted by one pixel along each diagonal.
      augmentation: that of the training, which determines the size of the pictures.
      layout: the devices; by default all of this process.

    Returns:
      The result.

    Raises:
      ValueError: if the data set is empty, has targets that are not the task's or without an output of the network, or
        floats although the network's inputs are bytes; or if `views` is unknown or not possible for its examples.
    """
    layout = layout or _layout_of(tuple(local_devices()))
    if task is not None and loss is not None:
        raise ValueError(f"`loss` must be that of `task`, and not be given beside it; got {loss!r}.")
    task = usual_task(dataset, loss) if task is None else task
    graphs, params, rest = split(nnx.clone(model))
    if len(dataset.labels):
        part = -(-min(batch_size, len(dataset.labels)) // layout.data_devices)
        part *= 1 if layout.axis_name else layout.data_devices
        check_examples([dataset], graphs.eval, (params, rest), scaling, augmentation, part, task)
    eval_step = make_eval_step(graphs.eval, scaling, task, layout, augmentation, views)
    return evaluate_state(eval_step, layout, layout.place((params, rest)), dataset, batch_size, task=task)


def evaluate_state(
    eval_step: Callable[..., Any],
    layout: Layout,
    state: Any,
    dataset: Dataset,
    batch_size: int = 256,
    *,
    task: Task,
) -> Evaluation:
    """Computes loss and metrics of a network that is split.

    Its parameters and other variables are `state`.
    """
    count = len(dataset.labels)
    if not count:
        raise ValueError(f"the {dataset.split} split of {dataset.name} must hold examples; got none.")
    size = -(-min(batch_size, count) // layout.data_devices) * layout.data_devices
    batches = eval_batches(dataset, size, rows=layout.rows(size))
    parts = jax.device_get([eval_step(state, layout.put(batch)) for batch in batches])
    loss = sum(float(part["loss"]) for part in parts) / count
    wide = [{name: np.asarray(value).astype(np.float64) for name, value in part["sums"].items()} for part in parts]
    sums: dict[str, Any] = {
        name: sum(part[name] for part in wide) for name in parts[0]["sums"]
    }  # float64 holds all counts exactly
    outputs = None
    if task.gathers:  # in order of the examples, from whichever device each comes
        ids, rows = (np.concatenate([part[name] for part in parts]) for name in ("ids", "outputs"))
        outputs = np.empty((count, *rows.shape[1:]), rows.dtype)
        outputs[ids[ids >= 0]] = rows[ids >= 0]
    metrics = task.metrics(sums, outputs, np.asarray(dataset.labels), dataset.classes)
    return Evaluation(loss, count, metrics, sums)


@_remembered
def make_eval_step(
    graph: Any,
    scaling: Scaling,
    task: Task,
    layout: Layout,
    augmentation: Augmentation | None = None,
    views: Views = "one",
) -> Callable[..., Any]:
    """Compiles the evaluation of a batch, which leaves out filling.

    The function is `((params, rest), batch) -> results`: the sum of the losses and the task's sums. For a task that
    gathers them, the results also have the outputs and the numbers of all examples, filling included.

    Raises:
      ValueError: if `views` is unknown, or not for the task.
    """
    check_views(views, task)

    measured = task.evaluated()

    def eval_step(state: Any, batch: Batch) -> Any:
        model = nnx.merge(graph, *state, copy=True)
        images, labels = jnp.asarray(batch.images), batch.labels
        if augmentation is not None:
            images = augmentation.center(images)
            labels = augmentation.center(jnp.asarray(labels)[..., None])[..., 0] if task.of_pixels else labels
        logits = mean_logits(lambda image: model(scaling(image)), images, views, task)
        losses, counted = measured.losses(logits, labels), batch.weights > 0
        results: dict[str, Any] = {
            "loss": summed(losses, counted),
            "sums": measured.sums(logits, labels, counted),
        }
        rows = {"outputs": logits, "ids": batch.ids} if measured.gathers else {}
        if layout.axis_name is not None:
            results = jax.lax.psum(results, layout.axis_name)
            rows = jax.lax.all_gather(rows, layout.axis_name, tiled=True)
        return results | rows

    return layout.compile(eval_step, batch=1, whole=True)


def predict(
    model: nnx.Module,
    images: np.ndarray | Stream,
    scaling: Scaling,
    batch_size: int = 256,
    *,
    views: Views = "one",
    augmentation: Augmentation | None = None,
    task: Task | None = None,
) -> np.ndarray:
    """Computes the predictions of images, in batches.

    Predictions are the probabilities of classes or labels, or values, or the classes of pixels.

    Args:
      model: the network; it is used in evaluation mode and stays unchanged.
      images: `(N, H, W, C)`, in the units of the training.
      scaling: the scaling with which the network was trained.
      batch_size: images per call.
      views: the images over which logits are averaged, as in `evaluate`.
      augmentation: that of the training, which determines the size of the pictures.
      task: the task of the training, as `fit` returns it; by default classification.

    Returns:
      `(N, outputs)` float32; for segmentation `(N, H, W)` uint8.
    """
    size = min(geometry.integer(batch_size, "batch_size"), max(1, len(images)))
    check_units(images, scaling)
    check_views(views, task)
    answer = probabilities if task is None else task.answer
    if views != "one":
        answer = _averaged(views, Classification() if task is None else task)
    answers = list(answers_to(model, in_batches(images, size), scaling, augmentation=augmentation, answer=answer))
    return np.concatenate(answers) if answers else np.zeros((0, 0), np.float32)


def in_batches(images: np.ndarray | Stream, size: int) -> Iterator[np.ndarray]:
    """Yields all images in order, `size` at a time.

    Those of a stream are decoded in advance, in threads.
    """
    starts = range(0, len(images), size)
    if isinstance(images, Stream):
        return mapped_ahead(lambda start: images[start : start + size], starts, ahead=2)
    return (images[start : start + size] for start in starts)


def probabilities(model: Any, inputs: jax.Array) -> jax.Array:
    """Computes a network's class probabilities, `(N, classes)` float32."""
    return Classification().answer(model, inputs)


@functools.lru_cache
def _averaged(views: Views, task: Task) -> Callable[[Any, jax.Array], jax.Array]:
    def answer(model: Any, inputs: jax.Array) -> jax.Array:
        answers = task.answers(mean_logits(model, inputs, views, task))
        return answers if task.of_pixels else answers.astype(jnp.float32)

    return answer


def answers_to(
    model: nnx.Module,
    batches: Iterable[np.ndarray],
    scaling: Scaling,
    *,
    augmentation: Augmentation | None = None,
    answer: Callable[[Any, jax.Array], jax.Array] = probabilities,
) -> Iterator[np.ndarray]:
    """Computes the outputs of a network for batches of images.

    One batch is computed while the next is made.

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
