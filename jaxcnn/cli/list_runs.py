"""`jaxcnn runs`."""

import dataclasses
import datetime
import fnmatch
import json as json_module
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro

from jaxcnn.cli.listed_run import ListedRun, listed_runs
from jaxcnn.cli.runs import check_place, metric_text
from jaxcnn.data.labels import few
from jaxcnn.inspect.pages.comparison import write_comparison
from jaxcnn.training import METRICS

_GAP = "  "
_WORDS = ("name", "network", "data", "task", "state")
_ORDERS: dict[str, Callable[[ListedRun], Any]] = {
    "name": lambda run: run.folder.as_posix(),
    "network": lambda run: run.network,
    "data": lambda run: run.data,
    "task": lambda run: run.task,
    "state": lambda run: run.state,
    "epochs": lambda run: run.epochs,
    "date": lambda run: -run.changed,
}
_WIDEST = 44  # characters of a value that are printed


@dataclasses.dataclass(frozen=True)
class Runs:
    """List runs and their results, or compare their options and curves."""

    folders: tyro.conf.Positional[tuple[Path, ...]] = (Path("runs"),)
    """Run folders, or folders that contain runs."""
    sort: str = "name"
    """Order: name, network, data, task, state, epochs, date (newest first), or a metric like accuracy (best first)."""
    filter: tuple[str, ...] = ()
    """Only runs with these values, patterns allowed; for example: data=digits state=finished optimizer=sgd."""
    compare: bool = False
    """Print which configuration values differ, and write a page with all learning curves."""
    out: Path | None = None
    """HTML file of the comparison; None means runs-compared.html."""
    json: bool = False
    """Print JSON with all details instead of a table."""

    def __call__(self) -> None:
        """Prints a table of the runs, or of their differences."""
        if self.out is not None and not self.compare:
            raise ValueError(f"`out` needs `compare`; got {self.out} without it.")
        if self.json and self.compare:
            raise ValueError("`json` and `compare` print different things; give one of them.")
        check_place(self.out, (".html", ".htm"))
        every = listed_runs(self.folders)
        runs = _sorted(_filtered(every, self.filter), self.sort)
        if self.compare:
            self._compare(runs)
        elif self.json:
            print(json_module.dumps([_told(run) for run in runs], indent=1))
        elif runs:
            problems = [f"{run.folder} is damaged: {run.problem}" for run in runs if run.problem]
            print(*lines_of(_table(runs)), *problems, sep="\n")
        else:
            print(f"none of {len(every)} runs has {' '.join(self.filter)}")

    def _compare(self, runs: list[ListedRun]) -> None:
        """Prints what differs, and writes the page."""
        whole = [run for run in runs if not run.problem]
        if len(whole) < 2:
            got = few([run.folder.as_posix() for run in whole]) or "none"
            raise ValueError(f"`compare` needs two undamaged runs or more; got {got}.")
        for run in runs:
            if run.problem:
                print(f"{run.folder} is damaged, and left out: {run.problem}")
        table, differences = _table(whole), _differences(whole)
        print(*lines_of(table), "", sep="\n")
        if differences:
            names = [run.folder.as_posix() for run in whole]
            print(*_sides(names, differences, shutil.get_terminal_size().columns), sep="\n")
        else:
            print("their configurations do not differ")
        metrics = {run.folder: run.metric or "accuracy" for run in whole}
        out = self.out or Path("runs-compared.html")
        rows = {run.folder: run.rows for run in whole}
        print(f"page {write_comparison(out, rows, table, differences, metrics=metrics)}")


def _filtered(runs: list[ListedRun], conditions: Sequence[str]) -> list[ListedRun]:
    """The runs that meet all conditions.

    Raises:
      ValueError: if one is not NAME=VALUE, or no run has a value of its name.
    """
    for condition in conditions:
        name, equals, wanted = condition.partition("=")
        if not equals:
            raise ValueError(f"`filter` must be NAME=VALUE; got {condition!r}.")
        values = [_values(run, name) for run in runs]
        if runs and not any(values):
            raise ValueError(f"`filter` must name {', '.join(_WORDS)} or a value of config.json; got {name!r}.")
        runs = [run for run, own in zip(runs, values, strict=True) if any(_is(value, wanted) for value in own)]
    return runs


def _values(run: ListedRun, name: str) -> list[str]:
    """Returns a run's values of a name, in words.

    They are a list and its elements. The result is empty if the run has no value of this name.
    """
    name = name.replace("-", "_")
    if name in _WORDS:
        return [run.folder.name if name == "name" else getattr(run, name)]
    for place in (name, f"training.{name}", f"model.options.{name}", f"data.{name}"):
        if place in run.values:
            value = run.values[place]
            return [_written(value), *(map(_written, value) if isinstance(value, list) else ())]
    return []


def _is(value: str, wanted: str) -> bool:
    """Whether a value matches a pattern, or is an equal number."""
    try:
        return float(value) == float(wanted)
    except ValueError:
        return fnmatch.fnmatchcase(value.lower(), wanted.lower())


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json_module.dumps(value)


def _sorted(runs: list[ListedRun], order: str) -> list[ListedRun]:
    """The runs in an order; those without a value come last.

    Raises:
      ValueError: if there is no such order.
    """
    metric = order.replace("-", "_")
    runs = sorted(runs, key=_ORDERS["name"])
    if order in _ORDERS:
        return sorted(runs, key=_ORDERS[order])
    if metric not in METRICS:
        raise ValueError(f"`sort` must be one of {', '.join([*_ORDERS, *METRICS])}; got {order!r}.")
    sign = -1 if METRICS[metric].rises else 1

    def key(run: ListedRun) -> tuple[bool, float]:
        value = run.value(metric)
        return value is None or value != value, sign * (value or 0.0)

    return sorted(runs, key=key)


def _told(run: ListedRun) -> dict[str, Any]:
    """The values of a run for JSON."""
    told = {key: value for key, value in run._asdict().items() if key not in ("rows", "values", "final", "changed")}
    told |= {"folder": run.folder.as_posix(), "changed": _date(run, "%Y-%m-%dT%H:%M:%S")}
    return told | {"value": run.value(run.metric) if run.metric else None, "configuration": run.values}


def _date(run: ListedRun, form: str = "%Y-%m-%d") -> str:
    return datetime.datetime.fromtimestamp(run.changed).strftime(form)


def _table(runs: Sequence[ListedRun]) -> list[list[str]]:
    """A row of cells for each run, below the titles."""
    metrics = {run.metric for run in runs if run.metric}
    only = METRICS[next(iter(metrics))].title if len(metrics) == 1 else ""
    tasks = {run.task for run in runs if run.task} - {"classification"}
    rows = [["run", "network", "data", *(["task"] if tasks else []), "epochs", only or "held out", "date", "state"]]
    for run in runs:
        value = run.value(run.metric) if run.metric else None
        result = "-" if value is None else metric_text(run.metric, value)
        if run.metric and value is not None and not only:
            result = f"{METRICS[run.metric].title} {result}"
        data = run.data if len(run.data) <= 24 else f"…{run.data[-23:]}"
        task = [run.task or "-"] if tasks else []
        epochs = "-" if run.problem else f"{run.epochs}/{run.planned}"
        rows.append([str(run.folder), run.network or "-", data or "-", *task, epochs, result, _date(run), run.state])
    return rows


def lines_of(rows: Sequence[Sequence[str]]) -> list[str]:
    """The table in columns.

    If a row is too wide for a line, the run's name gets its own line.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    narrow = sum(widths) + len(_GAP) * (len(widths) - 1) > shutil.get_terminal_size().columns
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines += [row[0], _GAP + _GAP.join(cells[1:]).rstrip()] if narrow else [_GAP.join(cells).rstrip()]
    return lines


def _differences(runs: Sequence[ListedRun]) -> dict[str, list[str]]:
    """The configuration values that are not the same everywhere.

    A dash stands for a value that a run does not have.
    """
    names = dict.fromkeys(name for run in runs for name in run.values)
    by_name = {name: [_written(run.values[name]) if name in run.values else "-" for run in runs] for name in names}
    return {name: values for name, values in by_name.items() if len(set(values)) > 1}


def _sides(names: Sequence[str], differences: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """Values side by side, or below each other if too wide."""
    rows = [["", *names], *([name, *map(_cut, values)] for name, values in differences.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + len(_GAP) * len(names) <= width:
        return [_GAP.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    longest = max(map(len, names))
    lines = []
    for name, *values in rows[1:]:
        lines += [name, *(f"{_GAP}{run:<{longest}}{_GAP}{value}" for run, value in zip(names, values, strict=True))]
    return lines


def _cut(value: str) -> str:
    return value if len(value) <= _WIDEST else f"{value[: _WIDEST - 1]}…"
