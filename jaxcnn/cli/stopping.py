"""When a training stops before its last step."""

import signal
from typing import Any


class StopRequested:
    """True once SIGINT or SIGTERM has come.

    A second SIGINT interrupts at once.
    """

    def __init__(self):
        self.signal: int | None = None

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.signal is not None

    def __enter__(self) -> "StopRequested":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def see(self, row: dict[str, Any]) -> None:
        """Reads a row of the log, which changes nothing here."""

    def _note(self, number: int, _: object) -> None:
        self.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Pause(StopRequested):
    """True once another stop is requested, or an epoch is done.

    It leaves the signals to the other.

    Args:
      stop: the other.
      epoch: the epoch; None for none.
    """

    def __init__(self, stop: StopRequested, epoch: int | None = None):
        super().__init__()
        self._stop, self._epoch, self._reached = stop, epoch, False

    def __call__(self) -> bool:
        """Whether to stop."""
        self.signal = self._stop.signal
        return self._reached or self._stop()

    def __enter__(self) -> "Pause":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def see(self, row: dict[str, Any]) -> None:
        """Reads a row of the log."""
        if row["kind"] == "epoch" and self._epoch is not None and row["epoch"] >= self._epoch:
            self._reached = True
