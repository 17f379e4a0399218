"""Regression: real numbers for each example."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcnn import ops
from jaxcnn.data.labels import check_array
from jaxcnn.training.tasks.task import Sums, Task, one_per_name

_LOSSES = {
    "mean_squared_error": ops.mean_squared_error,
    "half_squared_error": ops.half_squared_error,
    "huber": lambda outputs, targets: ops.huber_loss(outputs, targets).mean(-1),
}


@dataclasses.dataclass(frozen=True)
class Regression(Task):
    """Real numbers for each example.

    The targets are `(N, K)` or `(N,)`; the outputs are the standardized numbers. The loss compares the outputs with
    `(target - mean) / std`; predictions and metrics are in the units of the targets.

    Args:
      loss: `"mean_squared_error"`, a mean over the K values; `"half_squared_error"`, their sum of 1/2 (y - t)^2; or
        `"huber"`, a mean that grows linearly beyond a distance of 1.
      mean: of the K values over the training examples.
      std: their standard deviation; 1 where all are equal.
    """

    loss: str = "mean_squared_error"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    name: ClassVar[str] = "regression"
    LOSSES: ClassVar[tuple[str, ...]] = tuple(_LOSSES)
    METRICS: ClassVar[tuple[str, ...]] = ("rmse", "mae", "r2")
    gathers: ClassVar[bool] = True
    counts_mixed: ClassVar[bool] = True

    @classmethod
    def measured(cls, loss: str, targets: np.ndarray) -> "Regression":
        """Makes the task with the mean and standard deviation of targets.

        Both are computed in float64.
        """
        rows = np.asarray(targets, np.float64).reshape(len(targets), -1)
        mean, std = rows.mean(0), rows.std(0)
        return cls(loss, tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist()))

    def check_targets(self, targets: np.ndarray, examples: int, title: str) -> None:
        """Checks that all targets are finite numbers of one shape."""
        check_array(targets, title)
        if targets.ndim not in (1, 2) or len(targets) != examples:
            raise ValueError(
                f"`labels` of {title} must be numbers, (N,) or (N, K), for {examples:,} examples; "
                f"got shape {targets.shape}."
            )
        if targets.dtype.kind not in "fiu":
            raise ValueError(f"`labels` of {title} must be real numbers; got {targets.dtype}.")
        wrong = ~np.isfinite(targets)
        if wrong.any():
            raise ValueError(
                f"`labels` of {title} must be finite; {wrong.sum():,} of {targets.size:,} are not, the first is "
                f"{targets[wrong][0]}."
            )

    def check_outputs(self, shape: tuple[int, ...], names: Sequence[str], labels: np.ndarray, title: str) -> None:
        """Checks that there is one output for each value."""
        values = 1 if labels.ndim == 1 else labels.shape[-1]
        if values != len(names) or values != len(self.mean):
            hint = "; a class is no value" if labels.ndim == 1 and labels.dtype.kind in "iu" else ""
            raise ValueError(
                f"`labels` of {title} must have {len(names)} values, one for each name; got {values}{hint}."
            )
        one_per_name(shape, names, "value")

    def losses(self, outputs: jax.Array, targets: ArrayLike) -> jax.Array:
        """Computes the losses of the standardized values."""
        rows = jnp.asarray(targets, outputs.dtype).reshape(outputs.shape)
        mean, std = (jnp.array(values, outputs.dtype)[None] for values in (self.mean, self.std))
        return _LOSSES[self.loss](outputs, (rows - mean) / std)

    def shown(self, labels: ArrayLike, classes: int) -> jax.Array:
        """Makes rows."""
        rows = jnp.asarray(labels, jnp.float32)
        return rows if rows.ndim == 2 else rows[:, None]

    def counts(self, outputs: jax.Array, targets: ArrayLike) -> Sums:
        """Adds the squared errors, in the units of the targets."""
        rows = jnp.asarray(targets, outputs.dtype).reshape(outputs.shape)
        return {"squared": jnp.sum(jnp.mean(jnp.square(self.answers(outputs) - rows), -1))}

    def progress(self, counts: dict[str, Any], examples: int) -> dict[str, float]:
        """Computes the root of the mean squared error."""
        return {"rmse": math.sqrt(counts["squared"] / examples)}

    def metrics(
        self, sums: dict[str, Any], outputs: np.ndarray | None, targets: np.ndarray, names: Sequence[str]
    ) -> dict[str, float]:
        """Computes the metrics in float64, from all outputs at once.

        R^2 is the mean over the values.
        """
        assert outputs is not None
        truth = np.asarray(targets, np.float64).reshape(outputs.shape)
        error = np.asarray(outputs, np.float64) * self.std + self.mean - truth
        metrics = {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))}
        spread = np.sum((truth - truth.mean(0)) ** 2, 0)
        if (spread > 0).all():  # undefined where all targets are equal
            metrics["r2"] = float(np.mean(1 - np.sum(error**2, 0) / spread))
        return metrics

    def answers(self, outputs: jax.Array) -> jax.Array:
        """Computes the values in their units."""
        return outputs * jnp.array(self.std, outputs.dtype)[None] + jnp.array(self.mean, outputs.dtype)[None]

    def details(self) -> dict[str, Any]:
        """Returns mean and standard deviation."""
        return {"mean": list(self.mean), "std": list(self.std)}
