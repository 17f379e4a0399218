"""Binary and multi-label classification.

Each label is a yes or no, by a sigmoid.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcnn import ops
from jaxcnn.data.labels import check_array, check_binary
from jaxcnn.training.tasks.task import Sums, Task, one_per_name


@dataclasses.dataclass(frozen=True)
class MultiLabel(Task):
    """Any number of labels for each example.

    The targets are `(N, K)` of 0 and 1; the outputs are logits of K sigmoids.

    AUC, average precision and F1 are means over the labels; one that all or no examples have is left out of the first
    two.

    Args:
      loss: `"cross_entropy"`, binary, as a mean over the labels.
      pos_weight: factors of the losses where a label is 1: none, one for all labels, or one for each.
    """

    loss: str = "cross_entropy"
    pos_weight: tuple[float, ...] = ()

    name: ClassVar[str] = "multi_label"
    LOSSES: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    METRICS: ClassVar[tuple[str, ...]] = ("average_precision", "auc", "f1", "exact_match", "label_accuracy")
    gathers: ClassVar[bool] = True
    final: ClassVar[Any] = "logistic"

    def check_targets(self, targets: np.ndarray, examples: int, title: str) -> None:
        """Refuses targets that are not rows of 0 and 1.

        Each example must have one row.
        """
        check_array(targets, title)
        if targets.ndim != 2 or len(targets) != examples:
            raise ValueError(
                f"`labels` of {title} must be rows of 0 and 1, one for each of {examples:,} examples; "
                f"got shape {targets.shape}."
            )
        check_binary(targets, title)

    def check_outputs(self, shape: tuple[int, ...], names: Sequence[str], labels: np.ndarray, title: str) -> None:
        """Checks that there is one output for each label."""
        if labels.shape[-1] != len(names):
            raise ValueError(
                f"`labels` of {title} must have {len(names)} columns, one for each name; got {labels.shape[-1]}."
            )
        one_per_name(shape, names, "label")
        self._check_weights(len(names))

    def _check_weights(self, count: int) -> None:
        if len(self.pos_weight) not in (0, 1, count):
            raise ValueError(
                f"`pos_weight` must be one number, or one for each of {count} labels; got {len(self.pos_weight)}."
            )

    def losses(self, outputs: jax.Array, targets: ArrayLike) -> jax.Array:
        """Computes the mean binary cross-entropy of each example's labels."""
        targets = self._rows(jnp.asarray(targets, outputs.dtype))
        weights = jnp.array(self.pos_weight, outputs.dtype) if self.pos_weight else None
        return ops.binary_cross_entropy(outputs, targets, pos_weight=weights).mean(-1)

    def _rows(self, targets: jax.Array) -> jax.Array:
        return targets

    def counts(self, outputs: jax.Array, targets: ArrayLike) -> Sums:
        """Counts the right labels, and the examples with all labels right."""
        right = (outputs >= 0) == (self._rows(jnp.asarray(targets)) > 0)
        return {"right": jnp.sum(right), "exact": jnp.sum(jnp.all(right, -1))}

    def progress(self, counts: dict[str, Any], examples: int) -> dict[str, float]:
        """Computes the share of the examples whose labels are all right."""
        return {"exact_match": counts["exact"] / examples}

    def metrics(
        self, sums: dict[str, Any], outputs: np.ndarray | None, targets: np.ndarray, names: Sequence[str]
    ) -> dict[str, float]:
        """Computes the metrics from all outputs at once."""
        from sklearn.metrics import average_precision_score, roc_auc_score

        assert outputs is not None
        truth = np.asarray(targets).reshape(outputs.shape) > 0
        said = outputs >= 0
        both = [place for place in range(truth.shape[1]) if 0 < truth[:, place].sum() < len(truth)]
        metrics: dict[str, float] = {}
        if both and np.isfinite(outputs).all():
            pairs = [(truth[:, place], outputs[:, place]) for place in both]
            metrics["average_precision"] = float(np.mean([average_precision_score(*pair) for pair in pairs]))
            metrics["auc"] = float(np.mean([roc_auc_score(*pair) for pair in pairs]))
        metrics["f1"] = float(np.mean(f1_scores(truth, said)))
        right = truth == said
        return metrics | {"exact_match": float(right.all(-1).mean()), "label_accuracy": float(right.mean())}

    def answers(self, outputs: jax.Array) -> jax.Array:
        """Computes the probability of each label."""
        return jax.nn.sigmoid(outputs)


def f1_scores(truth: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Computes the F1 score of each label.

    It is 2 tp / (2 tp + fp + fn), and 0 where a label neither occurs nor is predicted.

    Args:
      truth: `(N, K)` bool.
      said: `(N, K)` bool.

    Returns:
      `(K,)`.
    """
    right, both = (truth & said).sum(0), truth.sum(0) + said.sum(0)
    return np.where(both > 0, 2 * right / np.maximum(both, 1), 0.0)


@dataclasses.dataclass(frozen=True)
class Binary(MultiLabel):
    """Yes or no for each example.

    The targets are `(N,)` of 0 and 1, the numbers of two classes; the one output is that of a sigmoid.

    Args:
      loss: `"cross_entropy"`, binary.
      pos_weight: factor of the loss of the second class's examples; none is 1.
    """

    name: ClassVar[str] = "binary"
    METRICS: ClassVar[tuple[str, ...]] = ("accuracy", "auc", "f1", "average_precision")
    of_classes: ClassVar[bool] = True

    def outputs(self, names: Sequence[str]) -> int:
        """Returns 1."""
        return 1

    def output_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Returns the second class."""
        return tuple(names[1:])

    def check_targets(self, targets: np.ndarray, examples: int, title: str) -> None:
        """Checks that the targets are 0 or 1, for each example."""
        check_array(targets, title)
        if targets.ndim == 1 and targets.dtype.kind in "iu" and targets.max(initial=0) > 1:
            raise ValueError(f"`task` 'binary' needs two classes, 0 and 1; {title} has a class {targets.max()}.")
        if targets.shape != (examples,):
            raise ValueError(
                f"`labels` of {title} must be 0 or 1 for each of {examples:,} examples; got shape {targets.shape}."
            )
        check_binary(targets, title)

    def check_outputs(self, shape: tuple[int, ...], names: Sequence[str], labels: np.ndarray, title: str) -> None:
        """Checks that there are two classes and one output."""
        if len(names) != 2:
            raise ValueError(f"`task` 'binary' needs two classes; {title} has {len(names)}.")
        if len(shape) != 2 or shape[-1] != 1:
            raise ValueError(f"`model` must have one output for the task 'binary'; got outputs of shape {shape}.")
        self._check_weights(1)

    def _rows(self, targets: jax.Array) -> jax.Array:
        return targets[:, None] if targets.ndim == 1 else targets

    def shown(self, labels: ArrayLike, classes: int) -> jax.Array:
        """Makes rows of one number."""
        return self._rows(jnp.asarray(labels, jnp.float32))

    def progress(self, counts: dict[str, Any], examples: int) -> dict[str, float]:
        """Computes the accuracy."""
        return {"accuracy": counts["exact"] / examples}

    def metrics(
        self, sums: dict[str, Any], outputs: np.ndarray | None, targets: np.ndarray, names: Sequence[str]
    ) -> dict[str, float]:
        """Computes the metrics from all outputs at once."""
        metrics = super().metrics(sums, outputs, targets, names)
        metrics["accuracy"] = metrics["exact_match"]
        return {name: metrics[name] for name in self.METRICS if name in metrics}

    def answers(self, outputs: jax.Array) -> jax.Array:
        """Computes the probabilities of both classes, `(N, 2)`."""
        return jnp.concatenate([jax.nn.sigmoid(-outputs), jax.nn.sigmoid(outputs)], -1)
