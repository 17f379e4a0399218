"""Early stopping: the best epoch so far, and when to stop."""

import math
from typing import Any

from jaxcnn.training.tasks.task import METRICS


class EarlyStopping:
    """Early stopping (Morgan & Bourlard 1990; Prechelt 1998).

    Flax's own class does not know the best step, and never improves on a first loss that is not a number.

    Args:
      monitor: `"loss"` or the name of a metric; of the moving averages, if they are evaluated.
      patience: number of epochs without improvement after which to stop; None never stops.

    Attributes:
      step: the last step of the best epoch; the later epoch, if two are equal.
      score: of the best epoch; larger is better.
      waited: number of epochs since the last improvement.
    """

    def __init__(self, monitor: str, patience: int | None):
        self.monitor, self.patience = monitor, patience
        self.step: int | None = None
        self.score: float | None = None
        self.waited = 0

    def see(self, row: dict[str, Any]) -> None:
        """Reads an epoch's row of the log.

        A row without held-out examples changes nothing.
        """
        value = row.get(f"ema_{self.monitor}", row.get(f"eval_{self.monitor}"))
        if value is None:
            return
        score = -math.inf if not math.isfinite(value) else value if METRICS[self.monitor].rises else -value
        self.waited = 0 if self.score is None or score > self.score else self.waited + 1
        if self.score is None or score >= self.score:
            self.step, self.score = row["step"], score

    @property
    def over(self) -> bool:
        """Whether to stop."""
        return self.patience is not None and self.waited >= self.patience

    def position(self) -> dict[str, Any]:
        """Returns the values that a checkpoint saves."""
        return {"step": self.step, "score": self.score, "waited": self.waited}

    def go_on(self, position: dict[str, Any]) -> None:
        """Restores the values that a checkpoint saved."""
        self.step, self.score, self.waited = position["step"], position["score"], position["waited"]
