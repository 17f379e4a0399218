"""Reads the folders of runs without building their networks."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn import training
from jaxcnn.training.claim import flat_values
from jaxcnn.training.early_stopping import EarlyStopping
from jaxcnn.training.lock import is_held
from jaxcnn.weights.runs import WEIGHTS

_SIGNS = ("config.json", "metrics.jsonl", "checkpoints", "damaged")  # by which the folder of a run is known
_DEPTH = 4  # levels of folders that are searched


class ListedRun(NamedTuple):
    """A run as described by its `config.json` and `metrics.jsonl`."""

    folder: Path
    state: str  # finished, interrupted, training or damaged
    changed: float  # when its log was last written, in seconds since 1970
    network: str = ""
    data: str = ""
    task: str = ""
    epochs: int = 0  # that are done
    planned: int = 0
    metric: str = ""  # the first of its task that was measured on held-out examples
    split: str = ""  # of the held-out examples
    final: dict[str, Any] = {}  # row of the log whose parameters the run ends with
    rows: tuple[dict[str, Any], ...] = ()  # one for each epoch
    values: dict[str, Any] = {}  # the configuration, by dotted name
    problem: str = ""  # of a damaged folder

    def value(self, metric: str) -> float | None:
        """A metric on held-out examples.

        It is that of the moving averages, if there are any.
        """
        value = self.final.get(f"ema_{metric}", self.final.get(f"eval_{metric}"))
        return value if isinstance(value, int | float) else None


def listed_runs(places: Iterable[Path]) -> list[ListedRun]:
    """Reads the runs in folders.

    A place may itself be the folder of a run. No run is listed twice.

    Raises:
      FileNotFoundError: if a place does not exist.
      ValueError: if a place holds no run.
    """
    folders: dict[Path, Path] = {}
    for place in places:
        if not place.is_dir():
            raise FileNotFoundError(f"`folders` must be runs or folders of runs; {place} is no folder.")
        inside = list(_inside(place, _DEPTH))
        if not inside:
            raise ValueError(f"`folders` must be runs or folders of runs; {place} holds none.")
        for folder in inside:
            folders.setdefault(folder.resolve(), folder)
    return [read_run(folder) for folder in folders.values()]


def _inside(folder: Path, depth: int) -> Iterator[Path]:
    if any((folder / name).exists() for name in _SIGNS):
        if not (folder / WEIGHTS).is_file():  # published weights have a config.json too
            yield folder
    elif depth:
        try:
            below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except PermissionError:
            return
        for path in below:
            yield from _inside(path, depth - 1)


def read_run(folder: Path) -> ListedRun:
    """Reads the folder of a run.

    A folder that cannot be read is returned as a damaged run, with the reason.
    """
    changed = max((path.stat().st_mtime for name in _SIGNS if (path := folder / name).exists()), default=0.0)
    try:
        description = training.read_description(folder)
        log = folder / "metrics.jsonl"
        rows = tuple(row for row in training.read_log(log) if row["kind"] == "epoch" and "epoch" in row)
        changed = log.stat().st_mtime if log.exists() else changed
        return _read(folder, description, rows, changed)
    except KeyError as missing:
        problem = f"{folder / 'config.json'} must have {missing}; it does not."
    except (TypeError, AttributeError) as error:
        problem = f"{folder / 'config.json'} must describe a run; {error}."
    except (OSError, ValueError) as error:
        problem = str(error)
    return ListedRun(folder, "damaged", changed, problem=problem)


def _read(folder: Path, description: dict[str, Any], rows: tuple[dict[str, Any], ...], changed: float) -> ListedRun:
    config, task = description["training"], training.task_of(description)
    epochs, planned = int(rows[-1]["epoch"]) if rows else 0, int(config["epochs"])
    patience = config.get("patience")
    stopping = EarlyStopping(config.get("monitor") or task.METRICS[0], patience)
    for row in rows:
        stopping.see(row)
    best = next((row for row in rows if row["step"] == stopping.step), None)
    ends_with_best = best is not None and (patience is not None or config.get("restore_best"))
    final = (best if ends_with_best else rows[-1]) if rows else None
    done = epochs >= planned or stopping.over
    state = "training" if is_held(folder) else "finished" if done else "interrupted"
    return ListedRun(
        folder,
        state,
        changed,
        network=str(description.get("model", {}).get("name", "-")),  # runs started from Python may have no name
        data=str(description["data"]["name"]),
        task=task.name,
        epochs=epochs,
        planned=planned,
        metric=next((name for name in task.METRICS if f"eval_{name}" in (final or {})), ""),
        split=(final or {}).get("eval_split", ""),
        final=final or {},
        rows=rows,
        values=flat_values(description, ("command", "arguments")),
    )
