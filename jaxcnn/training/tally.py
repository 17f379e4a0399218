"""The metrics of training steps."""

import math
from typing import Any

import jax


class NonFiniteError(RuntimeError):
    """The loss or the gradient is not finite.

    The message names the step.
    """


_AHEAD = 2  # steps that the host may be ahead of the devices: enough to hide its work, few enough to measure waiting


class Tally:
    """Sums over the steps of an epoch.

    They stay on the device until `settle`, so that the host does not wait.
    """

    def __init__(self, batch_size: int, loss: float = 0.0, correct: int = 0, batches: int = 0):
        self.batch_size = batch_size
        self.loss, self.correct, self.batches = loss, correct, batches
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
            self.loss, self.correct, self.batches = (
                self.loss + loss,
                self.correct + int(metrics["correct"]),
                self.batches + 1,
            )
            self.last = {"loss": loss, "accuracy": int(metrics["correct"]) / self.batch_size, "gradient_norm": norm}

    def means(self) -> dict[str, float]:
        """Returns the mean loss and accuracy of the epoch so far."""
        return {"loss": self.loss / self.batches, "accuracy": self.correct / (self.batches * self.batch_size)}

    def start_epoch(self) -> None:
        """Resets the sums."""
        self.loss, self.correct, self.batches = 0.0, 0, 0

    def position(self) -> dict[str, Any]:
        """Returns the sums for a checkpoint."""
        return {"loss": self.loss, "correct": self.correct, "batches": self.batches}
