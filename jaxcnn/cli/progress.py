"""Progress with the time left.

It is a live bar on a terminal, and lines elsewhere.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from jaxcnn import training
from jaxcnn.cli.stopping import StopRequested
from jaxcnn.training.formatting import epoch_line, format_fields, format_metrics, format_speed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

_EVERY = 30.0  # seconds between two lines, where there is no terminal


class Working:
    """Shows how far some work is.

    Args:
      what: the units of the work, in words.
      total: their number.
      done: number of those that were done before.
      console: where to show it.
      bar: the live bar; without it, where there is no terminal, lines are printed, at most one in 30 seconds.
    """

    def __init__(self, what: str, total: int, done: int, console: "Console", bar: "Progress | None" = None):
        self.done, self.total = done, total
        self._what, self._state, self._console, self._bar = what, "", console, bar
        self._since = self._said = time.monotonic()
        self._before = done
        self._task = None if bar is None else bar.add_task(what, total=total, completed=done, state="")

    def advance(self, count: int = 1) -> None:
        """Counts units that are done."""
        self.at(self.done + count)

    def at(self, done: int, state: str | None = None, what: str | None = None) -> None:
        """Shows that so many units are done.

        Args:
          done: their number.
          state: text behind the bar; None leaves it as it is.
          what: the units in words; None leaves them as they are.
        """
        self.done, self._what, self._state = done, what or self._what, self._state if state is None else state
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=self._what, completed=done, state=self._state)
        elif not self._console.is_terminal and time.monotonic() - self._said >= _EVERY and done < self.total:
            parts = [f"{self._what}  {done:,} of {self.total:,}", self._state, self.left()]
            self.say("  ".join(filter(None, parts)))

    def begin_at(self, done: int) -> None:
        """Counts from here on, as work that goes on does."""
        self.done = self._before = done
        self._since = time.monotonic()
        if self._bar is not None and self._task is not None:
            self._bar.reset(self._task, completed=done)

    def left(self) -> str:
        """The time left in words; empty while nothing is known."""
        new, seconds = self.done - self._before, time.monotonic() - self._since
        return f"{duration(seconds / new * (self.total - self.done))} left" if new > 0 else ""

    def say(self, text: str) -> None:
        """Prints a line, above the bar if there is one."""
        self._said = time.monotonic()
        print(text, file=sys.stderr if self._console.stderr else sys.stdout, flush=True)  # rich lifts it above the bar


def duration(seconds: float) -> str:
    """Formats a time in words."""
    if seconds < 59.5:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{round(hours / 24)} days"


@contextlib.contextmanager
def working(what: str, total: int, *, done: int = 0, stderr: bool = True) -> Iterator[Working]:
    """Shows how far some work is, while it lasts.

    Args:
      what: the units of the work, in words.
      total: their number.
      done: number of those that were done before.
      stderr: show it on stderr, beside the results on stdout.

    Yields:
      What counts the units.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    console = Console(stderr=stderr)
    if not console.is_terminal:
        yield Working(what, total, done, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        TextColumn("{task.fields[state]}", table_column=Column(ratio=1, no_wrap=True)),  # what is cut when it is narrow
    )
    with Progress(*columns, console=console, expand=True, transient=stderr) as bar:
        yield Working(what, total, done, console, bar)


class Observer:
    """An observer for `training.fit` that also counts single steps.

    Args:
      work: what shows the steps.
    """

    def __init__(self, work: Working):
        self._work, self._what, self._ticked = work, "epoch -", False

    def __call__(self, row: dict[str, Any]) -> None:
        """Shows a row of the log.

        A row of an epoch is also printed.
        """
        self._what = f"epoch {row.get('epoch', '-')}"
        self._work.at(row["step"], state(row), self._what)
        if row["kind"] == "epoch":
            self._work.say(epoch_line(row))

    def tick(self) -> None:
        """Counts a step."""
        if not self._ticked:  # the time of the first step is that of the compiler
            self._ticked = True
            self._work.begin_at(self._work.done + 1)
        elif self._work.done < self._work.total:
            self._work.at(self._work.done + 1, what=self._what)


@contextlib.contextmanager
def observing(total_steps: int, done: int = 0) -> Iterator[Observer]:
    """An observer for `training.fit`, live on a terminal, plain lines elsewhere.

    Args:
      total_steps: steps of the whole run.
      done: number of those that were done before.
    """
    with working("epoch -", total_steps, done=done, stderr=False) as work:
        yield Observer(work)


@contextlib.contextmanager
def counting(total: int) -> Iterator[Callable[[int, str], None]]:
    """An observer of named parts, which is called before each.

    It shows a bar on a terminal, plain lines elsewhere.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console()
    if not console.is_terminal:
        yield lambda number, name: print(f"{number + 1}/{total} {name}", flush=True)
        return
    columns = (BarColumn(bar_width=16), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda number, name: bar.update(task, completed=number, description=name)


def state(row: dict[str, Any]) -> str:
    """The text of the bar for a row of the log.

    Values that the row lacks are left out.
    """
    result = format_metrics(row)
    use = format_fields(row, {"input_wait": "input wait {:.0%}", "flops_utilization": "MFU {:.0%}"})
    return "  ".join(filter(None, (result, format_speed(row), use)))


def watching(
    observer: Observer, stop: StopRequested, writing: Callable[[], contextlib.AbstractContextManager[None]]
) -> tuple[Callable[[dict[str, Any]], None], Callable[[], bool]]:
    """What a training calls with every row, and after every step.

    Args:
      observer: what shows the rows and steps, on process 0.
      stop: what sees the rows, and says whether to stop.
      writing: what errors of showing pass through; they say where to go on, on a full disk behind the standard output.

    Returns:
      The observer for `training.fit`, and its `should_stop`.
    """
    first = training.is_first()

    def observe(row: dict[str, Any]) -> None:
        with writing():
            observer(row)
        stop.see(row)

    def asked() -> bool:
        if first:
            with writing():
                observer.tick()
        return stop()

    return observe, asked
