"""What every task has: form of targets, losses, predictions, and metrics."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

Sums = dict[str, jax.Array]


class Metric(NamedTuple):
    """The title and the format of a metric.

    Args:
      title: its name in words.
      form: its format.
      rises: whether larger is better.
      share: whether it is a share, from 0 to 1.
    """

    title: str
    form: str = "{:.2%}"
    rises: bool = True
    share: bool = True


METRICS: dict[str, Metric] = {
    "loss": Metric("loss", "{:.4f}", rises=False, share=False),
    "accuracy": Metric("accuracy"),
    "top5_accuracy": Metric("top-5"),
    "exact_match": Metric("exact match"),
    "label_accuracy": Metric("accuracy of labels"),
    "auc": Metric("AUC", "{:.4f}"),
    "average_precision": Metric("average precision", "{:.4f}"),
    "f1": Metric("F1", "{:.4f}"),
    "rmse": Metric("RMSE", "{:.4g}", rises=False, share=False),
    "mae": Metric("mean absolute error", "{:.4g}", rises=False, share=False),
    "r2": Metric("R^2", "{:.4f}", share=False),
    "mean_iou": Metric("mean IoU"),
    "pixel_accuracy": Metric("pixel accuracy"),
}


@dataclasses.dataclass(frozen=True)
class Task:
    """What a network is trained for.

    `task_for` makes the task that a configuration and its data mean.

    Tasks are values: two with equal fields are equal, so that a compiled evaluation is found again.

    Args:
      loss: the name of the loss, one of `LOSSES`.

    Attributes:
      name: the name of the task, as in `TrainConfig.task`.
      LOSSES: names of its losses, the usual one first.
      METRICS: names of its metrics on held-out examples; the first one decides which epoch was best.
      gathers: whether the metrics need the outputs for every example, because they are no sums.
      final: what `export` applies to the outputs.
      counts_mixed: whether `counts` compares with targets that an augmentation has mixed, as the loss does.
      of_pixels: whether targets and outputs are for each pixel, `(N, H, W)` and `(N, H, W, K)`.
      of_classes: whether each example has one of the named classes, and predictions are their probabilities.
    """

    loss: str

    name: ClassVar[str]
    LOSSES: ClassVar[tuple[str, ...]]
    METRICS: ClassVar[tuple[str, ...]]
    gathers: ClassVar[bool] = False
    final: ClassVar[Any] = "none"
    of_classes: ClassVar[bool] = False
    of_pixels: ClassVar[bool] = False
    counts_mixed: ClassVar[bool] = False

    def outputs(self, names: Sequence[str]) -> int:
        """Returns a network's number of outputs for the given names.

        The names are those of classes, labels or values.
        """
        return len(names)

    def output_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Returns what each of the outputs stands for."""
        return tuple(names)

    def check_targets(self, targets: np.ndarray, examples: int, title: str) -> None:
        """Checks that targets have the form of this task.

        Args:
          targets: the targets, one entry or row for each example.
          examples: number of examples.
          title: name of the data, for the message.

        Raises:
          ValueError: if the targets have another form.
        """
        raise NotImplementedError

    def check_outputs(self, shape: tuple[int, ...], names: Sequence[str], labels: np.ndarray, title: str) -> None:
        """Checks that a network has one output for each target.

        Args:
          shape: the shape of the network's outputs for a batch; `()` if they are no array.
          names: the names of classes, labels or values.
          labels: the targets.
          title: name of the data, for the message.

        Raises:
          ValueError: if the numbers differ.
        """
        raise NotImplementedError

    def losses(self, outputs: jax.Array, targets: ArrayLike) -> jax.Array:
        """Computes one loss per example, `(N,)`.

        The targets may be those that an augmentation has mixed.
        """
        raise NotImplementedError

    def evaluated(self) -> "Task":
        """Returns the task as it is evaluated.

        Its targets are the same for all networks.
        """
        return self

    def shown(self, labels: ArrayLike, classes: int) -> jax.Array:
        """Returns the targets as an augmentation can mix them.

        They are `(N, K)` float32; or the masks of a segmentation, as they are.
        """
        return jnp.asarray(labels, jnp.float32)

    def counts(self, outputs: jax.Array, targets: ArrayLike) -> Sums:
        """Computes a batch's sums, from which the metrics of training follow."""
        raise NotImplementedError

    def progress(self, counts: dict[str, Any], examples: int) -> dict[str, float]:
        """Computes the metrics of training from the sums over some steps.

        `examples` is the number of examples in these steps.
        """
        raise NotImplementedError

    def sums(self, outputs: jax.Array, targets: ArrayLike, counted: ArrayLike) -> Sums:
        """Computes the sums over a batch of evaluation.

        The sums leave out the examples that fill up the batch. They are computed where the batch is, and added over
        devices and batches.
        """
        return {}

    def metrics(
        self, sums: dict[str, Any], outputs: np.ndarray | None, targets: np.ndarray, names: Sequence[str]
    ) -> dict[str, float]:
        """Computes the metrics of a whole data set.

        Args:
          sums: those of `sums`, over all examples.
          outputs: the outputs for every example in order, where the task `gathers` them.
          targets: the targets of all examples.
          names: the names of classes, labels or values.

        Returns:
          The metrics by name; one that the examples leave undefined is missing.
        """
        raise NotImplementedError

    def answers(self, outputs: jax.Array) -> jax.Array:
        """Computes predictions from the outputs.

        They are probabilities, values in their units, or the classes of pixels.
        """
        raise NotImplementedError

    def answer(self, model: Any, inputs: jax.Array) -> jax.Array:
        """Computes a network's predictions, with one row per input."""
        return self.answers(model(inputs).astype(jnp.float32))

    def details(self) -> dict[str, Any]:
        """Returns the details of the task that a run must keep.

        They are what its configuration lacks, as plain values.
        """
        return {}


def summed(values: jax.Array, counted: ArrayLike) -> jax.Array:
    """Adds the values of the examples that count.

    The others are not multiplied by 0, which would let NaN through.
    """
    return jnp.sum(jnp.where(counted, values, 0))


def one_per_name(shape: tuple[int, ...], names: Sequence[str], what: str) -> None:
    """Checks that a network has one output for each name.

    Raises:
      ValueError: if it has another number.
    """
    if len(shape) != 2 or shape[-1] != len(names):
        got = shape[-1] if len(shape) == 2 else f"outputs of shape {shape}"
        raise ValueError(f"`model` must have {len(names)} outputs, one for each {what}; got {got}.")
