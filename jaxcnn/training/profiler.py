"""A trace of a few steps, for TensorBoard's profiler or ui.perfetto.dev."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax


class Profile:
    """Records some steps as a JAX trace.

    The steps are `first_step` to `first_step + steps - 1`. It is a context manager that closes the trace. The first
    step of a session compiles: leave it out.

    Args:
      folder: folder of the trace; created if missing.
      first_step: the first step to record.
      steps: number of steps to record.
      writing: makes a context manager around writing.
    """

    def __init__(
        self,
        folder: Path,
        first_step: int,
        steps: int,
        writing: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    ):
        if steps < 1:
            raise ValueError(f"`steps` must be positive; got {steps}.")
        self.folder, self.first_step, self.last_step = folder, first_step, first_step + steps - 1
        self._running, self._writing = False, writing
        self._mark: jax.profiler.StepTraceAnnotation | None = None

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def before(self, step: int) -> None:
        """Call this before a step."""
        if step == self.first_step:
            with self._writing():
                self.folder.mkdir(parents=True, exist_ok=True)
                jax.profiler.start_trace(str(self.folder))
            self._running = True
        if self._running:
            self._mark = jax.profiler.StepTraceAnnotation("train", step_num=step)
            self._mark.__enter__()

    def after(self, step: int, wait_for: Any) -> None:
        """Call this after a step was dispatched to the device.

        Args:
          step: number of the step.
          wait_for: results of the step; after the last recorded step, this waits for them.
        """
        if self._running:
            self._end_step()
            if step >= self.last_step:
                jax.block_until_ready(wait_for)
                self.close()

    def close(self) -> None:
        """Ends the trace if it is running.

        The steps so far are kept.
        """
        if self._running:
            self._end_step()
            self._running = False
            with self._writing():
                jax.profiler.stop_trace()

    def _end_step(self) -> None:
        if self._mark is not None:
            self._mark.__exit__(None, None, None)
            self._mark = None
