"""Trains trials of a sweep, and finds those to train.

What is done is read from the folders, so that a kill at any moment loses nothing.
"""

import contextlib
import json
import math
import os
import statistics
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn.cli import sweep_plan
from jaxcnn.cli.config_files import command_line
from jaxcnn.cli.listed_run import ListedRun, read_run
from jaxcnn.cli.runs import ARGUMENTS
from jaxcnn.cli.stopping import Pause, StopRequested
from jaxcnn.cli.sweep_plan import Plan, Trial
from jaxcnn.cli.usage import sentence
from jaxcnn.training import METRICS, read_log, write_atomically
from jaxcnn.training.lock import FolderInUseError, FolderLock, is_held

RECORD, OUTPUT, CLAIM = "trial.json", "output.txt", ".claim"
_MOST_DEATHS = 2  # of a process in one trial


class Work(NamedTuple):
    """A trial to train, and until when.

    Args:
      trial: the trial.
      epoch: the epoch after which it waits for the others; None trains it to its end.
    """

    trial: Trial
    epoch: int | None


class Progress(NamedTuple):
    """Where a sweep stands.

    Args:
      trials: all that are known.
      open: what is left to train now, the first first.
      stopped: by folder, the rung at which a trial was stopped.
      undecided: whether more settings will be chosen.
    """

    trials: list[Trial]
    open: list[Work]
    stopped: dict[Path, int]
    undecided: bool

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return not self.open and not self.undecided


def record(folder: Path) -> dict[str, Any]:
    """Reads how a trial ended; empty if it has not."""
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a record that is damaged is made once more
        return {}
    return content if isinstance(content, dict) else {}


def has_ended(folder: Path) -> bool:
    """Whether a trial was finished, or has failed."""
    return "state" in record(folder)


def epochs_of(folder: Path) -> list[dict[str, Any]]:
    """Reads the epochs of a trial from its log."""
    try:
        return [row for row in read_log(folder / "metrics.jsonl") if row["kind"] == "epoch"]
    except (OSError, ValueError):
        return []


def progress(out: Path) -> tuple[Plan, Progress]:
    """Reads where a sweep stands."""
    content = sweep_plan.read(out)
    plan = Plan.of(content["plan"])
    settings = plan.settings(content.get("settings", {}))
    by_setting = [
        [plan.trial(out, number, setting, repetition) for repetition in range(plan.seeds)]
        for number, setting in enumerate(settings)
    ]
    trials = [trial for some in by_setting for trial in some]
    ended = {trial.folder for trial in trials if has_ended(trial.folder)}
    stopped: dict[Path, int] = {}
    rungs = [] if len(ended) == len(trials) and not plan.halving else plan.rungs
    for rung in rungs:
        waiting = [
            Work(trial, rung)
            for trial in _in_order(plan, by_setting)
            if trial.folder not in ended and not any(row["epoch"] >= rung for row in epochs_of(trial.folder))
        ]
        if waiting:
            return plan, Progress(trials, waiting, stopped, False)
        kept = _best(plan, by_setting, rung)
        dropped = [some for some in by_setting if some not in kept]
        stopped |= {trial.folder: rung for some in dropped for trial in some if trial.folder not in ended}
        by_setting = kept
    left = [Work(trial, None) for trial in _in_order(plan, by_setting) if trial.folder not in ended]
    return plan, Progress(trials, left, stopped, len(settings) < plan.trials)


def _in_order(plan: Plan, by_setting: Sequence[Sequence[Trial]]) -> list[Trial]:
    """The trials in the order of training.

    Each setting comes once before any is repeated, unless results choose the next setting.
    """
    if plan.search == "optuna":
        return [trial for some in by_setting for trial in some]
    return [trial for some in zip(*by_setting, strict=True) for trial in some]


def _best(plan: Plan, by_setting: Sequence[list[Trial]], rung: int) -> list[list[Trial]]:
    """Finds the best settings at a rung, ordered by number."""
    assert plan.halving is not None
    scores = [_score(some, rung) for some in by_setting]
    order = sorted(range(len(by_setting)), key=lambda place: (-scores[place], place))
    return [by_setting[place] for place in sorted(order[: math.ceil(len(order) / plan.halving)])]


def _score(trials: Sequence[Trial], rung: int) -> float:
    """The mean result of a setting at a rung.

    Larger is better; a failed trial makes it the worst.
    """
    scores = []
    for trial in trials:
        rows = [row for row in epochs_of(trial.folder) if row["epoch"] <= rung]
        metric = monitor(read_run(trial.folder))
        value = rows[-1].get(f"ema_{metric}", rows[-1].get(f"eval_{metric}")) if rows and metric else None
        if value is None or not math.isfinite(value) or record(trial.folder).get("state") == "failed":
            return -math.inf
        scores.append(value if METRICS[metric].rises else -value)
    return statistics.fmean(scores)


def monitor(run: ListedRun) -> str:
    """The metric by which a run is compared.

    It is empty if the run has none.
    """
    return run.values.get("training.monitor") or run.metric


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Claims a trial that is free and has not ended.

    The system ends a claim with its process.
    """
    folder.mkdir(exist_ok=True)
    try:
        lock = FolderLock(folder, CLAIM)
    except FolderInUseError:
        yield False
        return
    try:
        yield not has_ended(folder)
    finally:
        lock.release()


def is_claimed(trial: Trial) -> bool:
    """Whether a process trains a trial now."""
    return is_held(trial.folder, CLAIM)


def train(plan: Plan, work: Work, stop: StopRequested, see: Callable[[dict[str, Any]], None]) -> str:
    """Trains a claimed trial, from its checkpoint if it has one.

    What the training prints is written to a file in its folder.

    Args:
      plan: the plan.
      work: the trial.
      stop: asked after every step.
      see: called with every row of the log.

    Returns:
      `finished`, `failed`, `paused` at its epoch, or `stopped`; `busy` if the folder is in use otherwise.
    """
    folder, pause = work.trial.folder, _Watched(stop, work.epoch, see)
    with (folder / OUTPUT).open("a", buffering=1, encoding="utf-8") as file:  # whole lines, for whoever looks
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            try:
                command = plan.command(work.trial)
                ARGUMENTS.set(("train", *command_line(command)))
                finished = command.run(pause)
            except FolderInUseError:
                return "busy"
            except Exception as error:
                traceback.print_exc()
                end(folder, "failed", sentence(error))
                return "failed"
    if finished:
        end(folder, "finished")
        return "finished"
    return "stopped" if stop() else "paused"


class _Watched(Pause):
    """A pause that also passes on the rows of the log."""

    def __init__(self, stop: StopRequested, epoch: int | None, watch: Callable[[dict[str, Any]], None]):
        super().__init__(stop, epoch)
        self._watch = watch

    def see(self, row: dict[str, Any]) -> None:
        super().see(row)
        self._watch(row)


def end(folder: Path, state: str, problem: str = "") -> None:
    """Records how a trial ended."""
    told = {"state": state} | ({"problem": problem} if problem else {})
    write_atomically(folder / RECORD, json.dumps(record(folder) | told) + "\n")


def note_death(folder: Path, why: str) -> bool:
    """Notes that a process died in a trial.

    Returns whether the trial is given up.
    """
    with claimed(folder) as free:
        if not free:
            return has_ended(folder)
        deaths = record(folder).get("deaths", 0) + 1
        write_atomically(folder / RECORD, json.dumps(record(folder) | {"deaths": deaths}) + "\n")
        if deaths >= _MOST_DEATHS:
            end(folder, "failed", f"its process {why}, {deaths} times.")
        return deaths >= _MOST_DEATHS


def reopen(trials: Sequence[Trial]) -> int:
    """Forgets how failed trials ended, so that they are tried again.

    Returns their number.
    """
    count = 0
    for trial in trials:
        if record(trial.folder).get("state") == "failed":
            os.unlink(trial.folder / RECORD)
            count += 1
    return count
