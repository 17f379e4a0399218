"""Classification: one class for each example."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcnn import ops
from jaxcnn.data.labels import check_kind, check_labels
from jaxcnn.training.tasks.task import Sums, Task


@dataclasses.dataclass(frozen=True)
class Classification(Task):
    """One class for each example.

    The targets are `(N,)`, numbers of classes; the outputs are logits of a softmax.

    Args:
      loss: `"cross_entropy"`; or `"mean_squared_error"`, of the outputs to targets of +1 and -1 (LeCun et al. 1989).
      label_smoothing: the share of every target that is spread evenly over the classes.
    """

    loss: str = "cross_entropy"
    label_smoothing: float = 0.0

    name: ClassVar[str] = "classification"
    LOSSES: ClassVar[tuple[str, ...]] = ("cross_entropy", "mean_squared_error")
    METRICS: ClassVar[tuple[str, ...]] = ("accuracy", "top5_accuracy")
    of_classes: ClassVar[bool] = True

    @property
    def final(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Softmax, where the loss is that of one."""
        return "softmax" if self.loss == "cross_entropy" else "none"

    def check_targets(self, targets: np.ndarray, examples: int, title: str) -> None:
        """Checks that the targets are integers, one for each example."""
        check_kind(targets, examples, title)

    def check_outputs(self, shape: tuple[int, ...], names: Sequence[str], labels: np.ndarray, title: str) -> None:
        """Checks for two or more outputs, one for each label."""
        if not shape or shape[-1] < 2:
            got = shape[-1] if shape else "no array"
            raise ValueError(
                f"`model` must have two outputs or more, one for each class; got {got} (one output is for the tasks "
                "'binary' and 'regression')."
            )
        if len(shape) != 2:
            raise ValueError(f"`model` must give one row of logits for each example; got outputs of shape {shape}.")
        check_labels(labels, shape[-1], title, "outputs of the network")

    def losses(self, outputs: jax.Array, targets: ArrayLike) -> jax.Array:
        """Computes one loss per example.

        The targets are labels, or one row of class probabilities per example.
        """
        if jnp.ndim(targets) > 1:
            targets = jnp.asarray(targets, outputs.dtype)
        if self.loss == "cross_entropy":
            return ops.softmax_cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)
        if jnp.ndim(targets) == 1:
            targets = jax.nn.one_hot(targets, outputs.shape[-1], dtype=outputs.dtype)
        return ops.mean_squared_error(outputs, 2 * jnp.asarray(targets) - 1)

    def evaluated(self) -> "Classification":
        """Returns the task without smoothing."""
        return dataclasses.replace(self, label_smoothing=0.0)

    def shown(self, labels: ArrayLike, classes: int) -> jax.Array:
        """Makes one-hot rows."""
        return jax.nn.one_hot(labels, classes, dtype=jnp.float32)

    def counts(self, outputs: jax.Array, targets: ArrayLike) -> Sums:
        """Counts the examples that are classified correctly."""
        return {"correct": jnp.sum(is_right(outputs, targets))}

    def progress(self, counts: dict[str, Any], examples: int) -> dict[str, float]:
        """Computes the accuracy."""
        return {"accuracy": counts["correct"] / examples}

    def sums(self, outputs: jax.Array, targets: ArrayLike, counted: ArrayLike) -> Sums:
        """Counts the top-1 and top-5 hits.

        In a top-1 hit the class is the most probable one, in a top-5 hit it is among the first five.
        """
        best = jax.lax.top_k(outputs, min(5, outputs.shape[-1]))[1]
        among = jnp.any(best == jnp.asarray(targets, best.dtype)[:, None], -1)
        return {"correct": jnp.sum(is_right(outputs, targets) & counted), "top5": jnp.sum(among & counted)}

    def metrics(
        self, sums: dict[str, Any], outputs: np.ndarray | None, targets: np.ndarray, names: Sequence[str]
    ) -> dict[str, float]:
        """Computes the accuracy; with more than five classes, also top-5 accuracy."""
        metrics = {"accuracy": float(sums["correct"]) / len(targets)}
        return metrics | ({"top5_accuracy": float(sums["top5"]) / len(targets)} if len(names) > 5 else {})

    def answers(self, outputs: jax.Array) -> jax.Array:
        """Computes the probabilities of the classes."""
        return jax.nn.softmax(outputs)


def is_right(logits: jax.Array, labels: ArrayLike) -> jax.Array:
    """Whether each example's largest logit is that of its label."""
    return jnp.argmax(logits, -1).astype(jnp.int32) == jnp.asarray(labels).astype(jnp.int32)  # bytes count to 255 only
