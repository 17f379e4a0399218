"""The metrics of training steps."""

import math
from typing import Any

import jax

from jaxcnn.training.tasks.classification import Classification
from jaxcnn.training.tasks.task import Task


class NonFiniteError(RuntimeError):
    """The loss or the gradient is not finite.

    The message names the step.
    """


_AHEAD = 2  # steps that the host may be ahead of the devices: enough to hide its work, few enough to measure waiting


class Tally:
    """Sums over the steps of an epoch.

    They stay on the device until `settle`, so that the host does not wait.

    Args:
      batch_size: number of examples of a step.
      task: the task, which makes metrics of the sums.
      loss: sum of the losses of the epoch so far.
      batches: number of its steps so far.
      counts: the task's own sums so far.
    """

    def __init__(
        self,
        batch_size: int,
        task: Task | None = None,
        *,
        loss: float = 0.0,
        batches: int = 0,
        **counts: Any,
    ):
        self.batch_size, self.task = batch_size, task or Classification()
        self.loss, self.batches, self.counts = loss, batches, counts
        self.last: dict[str, float] = {}
        self._waiting: list[tuple[int, dict[str, jax.Array]]] = []

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Adds the metrics of one step without reading them.

        Waits only for a step a little earlier.
        """
        self._waiting.append((step, metrics))
        if len(self._waiting) > _AHEAD:
            jax.block_until_ready(self._waiting[-1 - _AHEAD][1]["loss"])

    def settle(self, last_good: str) -> None:
        """Reads the metrics of the pending steps and sums them.

        Raises:
          NonFiniteError: at the first step whose loss or gradient is not finite; `last_good` ends the message.
        """
        waiting, self._waiting = self._waiting, []
        for step, metrics in jax.device_get(waiting):
            loss, norm = float(metrics["loss"]), float(metrics["gradient_norm"])
            if not (math.isfinite(loss) and math.isfinite(norm)):
                failure = f"loss and gradient must be finite; got loss {loss:.4g} and gradient norm {norm:.4g}"
                raise NonFiniteError(f"{failure} at step {step}, {last_good}.")
            if not metrics["parameters_finite"]:
                raise NonFiniteError(f"parameters must be finite; got an overflow at step {step}, {last_good}.")
            counts = {name: value.tolist() for name, value in metrics["counts"].items()}
            self.loss, self.batches = self.loss + loss, self.batches + 1
            self.counts = {name: _sum(self.counts.get(name, 0), value) for name, value in counts.items()}
            self.last = {"loss": loss, **self.task.progress(counts, self.batch_size), "gradient_norm": norm}

    def means(self) -> dict[str, float]:
        """Returns the epoch's mean loss and the task's metrics so far."""
        progress = self.task.progress(self.counts, self.batches * self.batch_size)
        return {"loss": self.loss / self.batches, **progress}

    def start_epoch(self) -> None:
        """Resets the sums."""
        self.loss, self.batches, self.counts = 0.0, 0, dict.fromkeys(self.counts, 0)

    def position(self) -> dict[str, Any]:
        """Returns the sums for a checkpoint."""
        return {"loss": self.loss, "batches": self.batches, **self.counts}


def _sum(first: Any, second: Any) -> Any:
    """Adds two numbers, or two lists of numbers.

    The number 0 stands for a list of zeros.
    """
    if not isinstance(second, list):
        return first + second
    return [_sum(*pair) for pair in zip(first or [0] * len(second), second, strict=True)]
