"""The best epoch so far, by held-out examples, and when to stop waiting for a better one."""

import math
from typing import Any, Literal


class Best:
    """Early stopping (Morgan & Bourlard 1990; Prechelt 1998).

    Args:
      monitor: `"accuracy"` or `"loss"`; of the moving averages, where they are evaluated.
      patience: epochs without a better one after which waiting is over; None waits for ever.

    Attributes:
      step: the end of the best epoch; of equals, of the later one.
      score: of the best epoch, the larger the better.
      waited: epochs since one was better than all before.
    """

    def __init__(self, monitor: Literal["accuracy", "loss"], patience: int | None):
        self.monitor, self.patience = monitor, patience
        self.step: int | None = None
        self.score: float | None = None
        self.waited = 0

    def see(self, row: dict[str, Any]) -> None:
        """Looks at an epoch's row of the log; one without held-out examples tells nothing."""
        value = row.get(f"ema_{self.monitor}", row.get(f"eval_{self.monitor}"))
        if value is None:
            return
        score = -math.inf if not math.isfinite(value) else value if self.monitor == "accuracy" else -value
        self.waited = 0 if self.score is None or score > self.score else self.waited + 1
        if self.score is None or score >= self.score:
            self.step, self.score = row["step"], score

    @property
    def over(self) -> bool:
        """Whether waiting is over."""
        return self.patience is not None and self.waited >= self.patience

    def position(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"step": self.step, "score": self.score, "waited": self.waited}

    def go_on(self, position: dict[str, Any]) -> None:
        """Goes on where a checkpoint was."""
        self.step, self.score, self.waited = position["step"], position["score"], position["waited"]
