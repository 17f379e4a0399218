"""The results of a sweep: a table, `sweep.json` and `sweep.html`."""

import json
import math
import shlex
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn.cli import sweep_plan
from jaxcnn.cli.listed_run import ListedRun, read_run
from jaxcnn.cli.runs import metric_text
from jaxcnn.cli.sweep_plan import Plan, Trial, told
from jaxcnn.cli.sweep_space import written_value
from jaxcnn.cli.sweep_trials import Progress, is_claimed, monitor, record
from jaxcnn.training import METRICS


class Result(NamedTuple):
    """What one trial came to.

    Args:
      trial: the trial.
      state: `finished`, `failed`, `stopped at epoch N`, `training`, `interrupted` or `open`.
      metric: by which it is compared.
      split: on which it was measured.
      value: the result; None if there is none.
      test: the same metric on the test split, if that is another.
      epochs: number of epochs that are done.
      problem: why it failed, in a sentence.
    """

    trial: Trial
    state: str
    metric: str = ""
    split: str = ""
    value: float | None = None
    test: float | None = None
    epochs: int = 0
    problem: str = ""


class Summary(NamedTuple):
    """What a setting came to, over its seeds.

    Args:
      number: number of the setting.
      setting: the setting.
      metric: by which it is compared.
      results: of each seed.
      rung: the epoch after which it was stopped; None if it was not.
    """

    number: int
    setting: dict[str, Any]
    metric: str
    results: list[Result]
    rung: int | None

    @property
    def values(self) -> list[float]:
        """The results of trials that ended well."""
        ended = [result for result in self.results if result.state.startswith(("finished", "stopped"))]
        return [result.value for result in ended if result.value is not None and math.isfinite(result.value)]

    @property
    def mean(self) -> float | None:
        """Their mean; None if there are none."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Their standard deviation; None for fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def test(self) -> float | None:
        """The mean result on the test split, if that is another."""
        values = [result.test for result in self.results if result.test is not None]
        return statistics.fmean(values) if values else None

    @property
    def state(self) -> str:
        """The state of its trials, in words."""
        states = list(dict.fromkeys(result.state for result in self.results))
        if len(states) == 1:
            return states[0]
        counts = {state: sum(result.state == state for result in self.results) for state in states}
        return ", ".join(f"{count} {state}" for state, count in counts.items())


def summaries(where: Progress) -> list[Summary]:
    """Reads the results of all settings, the best first.

    A setting that was stopped comes after those that went on; one without a result comes last.
    """
    by_number: dict[int, list[Result]] = {}
    for trial in where.trials:
        by_number.setdefault(trial.number, []).append(result_of(trial, where.stopped.get(trial.folder)))
    found = []
    for number, results in by_number.items():
        metric = next((result.metric for result in results if result.metric), "")
        rungs = [where.stopped[some.trial.folder] for some in results if some.trial.folder in where.stopped]
        found.append(Summary(number, results[0].trial.setting, metric, results, min(rungs, default=None)))
    return sorted(found, key=_order)


def _order(summary: Summary) -> tuple[bool, float, float, int]:
    value = summary.mean
    rises = bool(summary.metric) and METRICS[summary.metric].rises
    rung = math.inf if summary.rung is None else summary.rung
    return value is None, -rung, 0.0 if value is None else -value if rises else value, summary.number


def result_of(trial: Trial, rung: int | None = None) -> Result:
    """Reads what a trial came to.

    Args:
      trial: the trial.
      rung: the epoch after which it was stopped.
    """
    noted = record(trial.folder)
    if not trial.folder.is_dir() or not (trial.folder / "config.json").exists():
        state = noted.get("state") or ("training" if is_claimed(trial) else "open")
        return Result(trial, state, problem=noted.get("problem", ""))
    run = read_run(trial.folder)
    state = noted.get("state") or f"stopped at epoch {rung}" * (rung is not None)
    state = state or ("training" if is_claimed(trial) else "interrupted")
    metric = monitor(run)
    value = run.value(metric) if metric else None
    test = _test(run, metric) if noted.get("state") == "finished" else None
    return Result(trial, state, metric, run.split, value, test, run.epochs, noted.get("problem", ""))


def _test(run: ListedRun, metric: str) -> float | None:
    """The result on a test split that training never saw."""
    try:
        content = json.loads((run.folder / "evaluation.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    value = content.get(metric)
    return value if content.get("split") != run.split and isinstance(value, int | float) else None


def table(plan: Plan, results: Sequence[Summary]) -> list[list[str]]:
    """Returns a row of cells for each setting, below the titles."""
    split = next((result.split for some in results for result in some.results if result.split), "")
    tested = any(some.test is not None for some in results)
    several, all_well = plan.seeds > 1, all(some.state == "finished" for some in results)
    names = [option.name.replace("_", "-") for option in plan.space]
    optional = [title for title, shown in (("test", tested), ("seeds", several), ("state", not all_well)) if shown]
    rows = [["trial", *names, split or "held out", *optional]]
    for some in results:
        values = [written_value(some.setting[option.name]) for option in plan.space]
        test = ["-" if some.test is None else metric_text(some.metric, some.test)] if tested else []
        seeds = [f"{len(some.values)}/{len(some.results)}"] if several else []
        state = [] if all_well else [some.state]
        rows.append([f"{some.number:03d}", *values, measured(some), *test, *seeds, *state])
    return rows


def heading(plan: Plan, results: Sequence[Summary]) -> str:
    """What the numbers of the table are."""
    metric = next((METRICS[some.metric].title for some in results if some.metric), "results")
    return metric if plan.seeds == 1 else f"{metric}, mean ± standard deviation over the seeds"


def measured(some: Summary) -> str:
    """The mean and the spread of a setting."""
    if some.mean is None:
        return "-"
    text = metric_text(some.metric, some.mean)
    if some.spread is None:
        return text
    spread = metric_text(some.metric, some.spread)
    return f"{text.removesuffix(' %')} ± {spread}"


def failures(results: Sequence[Summary]) -> list[str]:
    """Returns a sentence for each trial that failed."""
    every = [result for some in results for result in some.results if result.problem]
    every.sort(key=lambda result: result.trial.folder)
    return [f"{result.trial.folder.name} failed: {result.problem}" for result in every]


def best_lines(results: Sequence[Summary]) -> Iterator[str]:
    """Names the best setting, and how to repeat it."""
    if not results or results[0].mean is None:
        return
    best = results[0]
    run = best_run(best)
    setting = f", {told(best.setting)}" if best.setting else ""
    yield f"best: trial {best.number:03d}{setting}, {METRICS[best.metric].title} {measured(best)}"
    yield f"its best run: {run.trial.folder}"
    yield f"to repeat it: {repeat(run.trial)}"
    if run.split == "test":
        yield (
            "the settings were compared on the test split, so the best result is too good to report; "
            "hold out examples with --validation 0.1"
        )


def repeat(trial: Trial) -> str:
    """The command that repeats a trial."""
    return shlex.join(["jaxcnn", "train", "--config", str(trial.folder / "config.json")])


def best_run(some: Summary) -> Result:
    """The best trial of a setting."""
    rises = METRICS[some.metric].rises
    there = [result for result in some.results if result.value is not None and math.isfinite(result.value)]
    return (max if rises else min)(there, key=lambda result: result.value or 0.0)


def write(out: Path, plan: Plan, where: Progress, results: Sequence[Summary]) -> Path:
    """Writes the results into `sweep.json`, and the page.

    Args:
      out: folder of the sweep.
      plan: the plan.
      where: where it stands.
      results: the results, the best first.

    Returns:
      The page.
    """
    from jaxcnn.inspect.pages.sweep import write_sweep

    plain = [_plain(out, some) for some in results]
    best = results[0] if results and results[0].mean is not None else None
    command = (
        {} if best is None else {"folder": best_run(best).trial.folder.name, "repeat": repeat(best_run(best).trial)}
    )
    with sweep_plan.alone(out):
        sweep_plan.update(out, over=where.over, results=plain, best=command)
    names = [option.name.replace("_", "-") for option in plan.space]
    logarithmic = {option.name.replace("_", "-") for option in plan.space if option.log}
    settings = [[some.setting[option.name] for option in plan.space] for some in results]
    metric = next((some.metric for some in results if some.metric), "accuracy")
    links = [best_run(some).trial.folder.name if some.mean is not None else "" for some in results]
    return write_sweep(
        out / "sweep.html",
        names,
        settings,
        [some.mean for some in results],
        metric=metric,
        logarithmic=logarithmic,
        table=table(plan, results),
        heading=heading(plan, results),
        links=links,
        notes=[*best_lines(results), *failures(results)],
    )


def _plain(out: Path, some: Summary) -> dict[str, Any]:
    """A setting with its results, as plain values."""
    trials = [
        {"folder": result.trial.folder.name, "seed": result.trial.seed, "epochs": result.epochs, "state": result.state}
        | {"value": result.value, "split": result.split, "test": result.test}
        | ({"problem": result.problem} if result.problem else {})
        for result in some.results
    ]
    means = {"metric": some.metric, "mean": some.mean, "spread": some.spread, "test": some.test}
    return {"number": some.number, "setting": some.setting, **means, "trials": trials}
