"""`jaxcnn sweep`."""

import dataclasses
import json
import math
import re
import shlex
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import tyro

from jaxcnn import geometry
from jaxcnn.cli import sweep_plan, sweep_result, sweep_search, sweep_trials
from jaxcnn.cli.config_files import written
from jaxcnn.cli.list_runs import lines_of
from jaxcnn.cli.progress import working
from jaxcnn.cli.runs import metric_text
from jaxcnn.cli.stopping import StopRequested
from jaxcnn.cli.sweep_jobs import Said, supervise
from jaxcnn.cli.sweep_plan import Plan
from jaxcnn.cli.sweep_space import Varied, varied
from jaxcnn.cli.train import Train
from jaxcnn.training import METRICS

_TRIALS = 20  # that are drawn, if the number is not given
_GOES_ON = ("resume", "jobs", "retry")  # options that may be given without the sweep's own


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Train a network with many settings, and compare the results.

    Give the network and the options of `jaxcnn train` too, for example:

    jaxcnn sweep lenet5 --data digits --epochs 3 --over learning-rate=0.01,0.03 optimizer=sgd,adamw --seeds 3

    Each trial is a run folder in the folder of the sweep. The same command again, or --resume, trains what is missing.
    """

    over: tuple[str, ...] = ()
    """Options of `jaxcnn train` or of the network that vary, each with a list or a range. Examples:
    optimizer=sgd,adamw; dropout=0..0.5; learning-rate=log:1e-4..1e-1 (the logarithm is uniform).
    Entries of an option with several are joined by a plus sign: augment=flip,flip+cutout=8."""
    search: Literal["grid", "random", "optuna"] | None = None
    """How to choose settings. grid: all combinations of lists; random: drawn from lists and ranges; optuna: chosen from
    the results so far by Optuna (extra `sweep`). None means grid, or random with a range or `--trials`."""
    trials: int | None = None
    """Number of settings for random and optuna; None means 20."""
    search_seed: int = 0
    """Seed of the search. A random setting depends only on it and on the number of the trial."""
    seeds: int = 1
    """Number of trainings with each setting; their seeds count up from `--seed`."""
    halving: int | None = None
    """Successive halving: with 3, all settings train for a short time, the best third goes on three times as long, the
    best third of these again, until the rest trains all epochs."""
    out: Path | None = None
    """Folder of the sweep; None means sweeps/MODEL-DATA."""
    resume: Path | None = None
    """Folder of a sweep to go on with; its own options need not be given again."""
    retry: tyro.conf.FlagCreatePairsOff[bool] = False
    """Try the trials again that failed."""
    jobs: int = 1
    """Number of processes that train at the same time. They divide the cores and GPUs of the machine."""

    def __call__(self, base: Train, space: tuple[Varied, ...]) -> int:
        """Trains what is missing, then prints and writes the results."""
        geometry.integer(self.jobs, "jobs")
        out, plan = self._begun(base, space)
        _, where = sweep_trials.progress(out)
        if self.retry:
            sweep_trials.reopen(where.trials)
            _, where = sweep_trials.progress(out)
        if where.over:
            print(f"{out} is complete: {_count(plan)}")
        else:
            print(f"{_count(plan)} in {out}{_standing(where)}", flush=True)
            if any(map(sweep_trials.is_claimed, where.trials)):
                print(f"another sweep works in {out} too; they share the trials, and each prints all results")
        with StopRequested() as stop:
            if not where.over:
                _train(out, plan, self.jobs, stop)
        plan, where = sweep_trials.progress(out)
        results = sweep_result.summaries(where)
        page = sweep_result.write(out, plan, where, results)
        print(sweep_result.heading(plan, results))
        print(*lines_of(sweep_result.table(plan, results)), sep="\n")
        for line in [*sweep_result.failures(results), *sweep_result.best_lines(results)]:
            print(line)
        print(f"page {page}")
        if not where.over:
            print(f"stopped; go on with: {shlex.join(['jaxcnn', 'sweep', '--resume', str(out)])}")
        return 130 if stop.signal == signal.SIGINT and not where.over else 0

    def _begun(self, base: Train, space: tuple[Varied, ...]) -> tuple[Path, Plan]:
        """The folder of the sweep, with its plan in it."""
        if self.resume is not None:
            usual = Sweep()
            own = [field.name for field in dataclasses.fields(self) if field.name not in _GOES_ON]
            given = [name for name in own if getattr(self, name) != getattr(usual, name)]
            if given or base != Train():
                told = f"`{given[0]}`" if given else "options of `jaxcnn train`"
                raise ValueError(f"`resume` goes on with a sweep as it is; got {told} too.")
            return self.resume, Plan.of(sweep_plan.read(self.resume)["plan"])
        plan = self._plan(base, space)
        out = self.out or Path("sweeps") / re.sub(r"[^\w.-]+", "-", f"{base.model}-{base.data}")
        return out, sweep_plan.begin(out, plan)

    def _plan(self, base: Train, space: tuple[Varied, ...]) -> Plan:
        """What to train.

        Raises:
          ValueError: if the options do not fit together.
        """
        for name in ("find_lr", "print_config", "force", "coordinator", "processes", "process"):
            if getattr(base, name):
                raise ValueError(f"`{name}` cannot be given with a sweep; it is for one training.")
        ranges = [option.name for option in space if not option.values]
        search = self.search or ("random" if ranges or self.trials is not None else "grid")
        if search == "optuna":
            sweep_search.check_installed()
        if search == "grid":
            if ranges:
                raise ValueError(f"`search` grid needs lists of values; {ranges[0]} has a range.")
            if self.trials is not None:
                raise ValueError(f"`trials` is for random and optuna; got {self.trials} for grid.")
        elif not space:
            raise ValueError(f"`search` {search} needs `over`; got none.")
        trials = math.prod(len(option.values) for option in space) if search == "grid" else (self.trials or _TRIALS)
        for name, value in (("trials", trials), ("seeds", self.seeds)):
            geometry.integer(value, name)
        geometry.integer(self.search_seed, "search_seed", minimum=0)
        if self.halving is not None:
            geometry.integer(self.halving, "halving", minimum=2)
            if search == "optuna" or any(option.name == "epochs" for option in space):
                other = "`search` optuna" if search == "optuna" else "epochs in `over`"
                raise ValueError(f"`halving` compares settings after the same epochs; it cannot be given with {other}.")
        plain = json.loads(json.dumps(written(base))) | {"out": None, "recipe": None}
        return Plan(plain, space, self.seeds, search, trials, self.search_seed, self.halving)


def _count(plan: Plan) -> str:
    words = f"{plan.trials} setting{'s' * (plan.trials != 1)}"
    words += f" with {plan.seeds} seeds each" if plan.seeds > 1 else ""
    rungs = f", halving after epochs {', '.join(map(str, plan.rungs))}" if plan.rungs else ""
    return f"{words}{rungs}"


def _standing(where: sweep_trials.Progress) -> str:
    ended = sum(sweep_trials.has_ended(trial.folder) for trial in where.trials)
    return f"; {ended} of {len(where.trials)} trials are done" if ended else ""


def _train(out: Path, plan: Plan, jobs: int, stop: StopRequested) -> None:
    """Trains what is open, and shows how it goes."""
    known = {trial.folder: trial for trial in sweep_trials.progress(out)[1].trials}
    done = {folder: len(sweep_trials.epochs_of(folder)) for folder, trial in known.items()}
    ended = {folder for folder in known if sweep_trials.has_ended(folder)}
    done |= {folder: plan.epochs(known[folder]) for folder in ended}
    with working("epochs", plan.all_epochs, done=sum(done.values()), stderr=False) as shown:

        def hear(said: Said) -> None:
            if said.folder not in known:  # Optuna has chosen it meanwhile
                known.update({trial.folder: trial for trial in sweep_trials.progress(out)[1].trials})
            trial = known[said.folder]
            if said.what == "row" and said.row["kind"] == "epoch":
                done[said.folder] = said.row["epoch"]
            elif said.what in ("finished", "failed", "given up"):  # perhaps before its last epoch
                done[said.folder] = plan.epochs(trial)
            shown.at(sum(done.values()))
            if line := _line(said.what, trial):
                shown.say(line)

        supervise(out, jobs, stop, hear)


def _line(what: str, trial: sweep_plan.Trial) -> str:
    """What is said of a trial when it ends."""
    name = f"trial {trial.number:03d} ({trial.title})"
    if what in ("failed", "given up"):
        return f"{name} failed: {sweep_trials.record(trial.folder).get('problem', '')}"
    if what == "died":
        return f"{name}: its process died; it is tried once more"
    if what in ("finished", "paused"):
        result = sweep_result.result_of(trial)
        value = (
            "" if result.value is None else f"{METRICS[result.metric].title} {metric_text(result.metric, result.value)}"
        )
        return f"{name}: {value}" if what == "finished" else f"{name}: {value} after {result.epochs} epochs"
    return ""


def parted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Parts the words of a sweep from those of its trainings.

    Args:
      words: the words behind `jaxcnn sweep`.

    Returns:
      The words of `Sweep`, and those of `Train`.
    """
    options = {"--" + field.name.replace("_", "-") for field in dataclasses.fields(Sweep)}
    own: list[str] = []
    over: list[str] = []
    theirs: list[str] = []
    left = list(reversed(words))
    while left:
        word = left.pop()
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if word in ("-h", "--help"):
            return ["--help"], []
        if name == "--over":
            over += [value] if equals else []
            while left and not left[-1].startswith("--"):
                over.append(left.pop())
        elif name in options:
            own.append(name + equals + value)
            if left and not equals and name != "--retry":
                own.append(left.pop())
        else:
            theirs.append(word)
    return [*own, *(["--over", *over] if over else [])], theirs


def training_of(words: Sequence[str], over: Sequence[str], parse: Callable[[Sequence[str]], Any]):
    """The training that all trials share, and what varies.

    Args:
      words: the words of `jaxcnn train`.
      over: what varies.
      parse: parses words of `jaxcnn`.

    Raises:
      ValueError: if an option is unknown, or a value is of the wrong kind.
    """
    base = parse(["train", *words])
    return base, varied(over, base.model, lambda some: parse(["train", *some]))
