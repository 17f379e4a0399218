"""Further formats of a run's log, besides `metrics.jsonl`.

They are CSV, TensorBoard, Weights & Biases.
"""

import csv
import io
import json
import numbers
import os
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from jaxcnn.training.files import write_atomically

Row = dict[str, Any]

_COLUMNS = ("kind", "step", "epoch", "loss", "accuracy", "gradient_norm", "learning_rate", "images_per_second")
_SPEED = {"images_per_second", "steps_per_second", "input_wait", "flops_per_second", "flops_utilization"}
_SPEED |= {"device_memory", "host_memory"}
_PLACE = {"step", "epoch"}  # where a row stands, not what was measured


class Sink(Protocol):
    """Writes the rows of a log, one by one."""

    def write(self, row: Row) -> None:
        """Writes a row."""
        ...

    def close(self) -> None:
        """Writes everything that is pending, and closes."""
        ...


def open_sinks(names: Iterable[str], folder: Path, description: dict[str, Any], rows: Sequence[Row]) -> list[Sink]:
    """Opens sinks for a run's rows.

    On several hosts, only the first process should call this.

    Args:
      names: `csv` (`metrics.csv`), `tensorboard` (event files in `tensorboard/`), `wandb` (Weights & Biases).
      folder: the folder of the run.
      description: the content of its `config.json`.
      rows: the rows that the log already has when a run resumes; later rows in a sink are removed.

    Returns:
      The sinks.

    Raises:
      ValueError: if a name is unknown.
      ModuleNotFoundError: if a sink's library is missing.
    """
    names = known_sinks(names)
    folder.mkdir(parents=True, exist_ok=True)
    sinks: list[Sink] = []
    try:
        for name in names:
            sinks.append(SINKS[name](folder, description, rows))
    except BaseException:
        for sink in sinks:
            sink.close()
        raise
    return sinks


def known_sinks(names: Iterable[str]) -> list[str]:
    """Checks names of sinks and removes duplicates.

    Raises:
      ValueError: if a name is unknown.
    """
    names = list(dict.fromkeys(names))
    unknown = [name for name in names if name not in SINKS]
    if unknown:
        raise ValueError(f"`sinks` must be among {', '.join(SINKS)}; got {', '.join(unknown)}.")
    return names


class _Csv:
    """`metrics.csv` (RFC 4180): a header and the rows.

    A missing value is an empty field.
    """

    def __init__(self, folder: Path, description: dict[str, Any], rows: Sequence[Row]):
        self._path = folder / "metrics.csv"
        self._rows = list(rows)
        self._columns = list(dict.fromkeys([*_COLUMNS, *(key for row in rows for key in row)]))
        self._rewrite()

    def write(self, row: Row) -> None:
        self._rows.append(row)
        new = [key for key in row if key not in self._columns]
        if new:
            self._columns += new
            self._rewrite()
        else:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(self._fields(row))

    def close(self) -> None:
        pass

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([self._columns, *map(self._fields, self._rows)])
        write_atomically(self._path, text.getvalue())

    def _fields(self, row: Row) -> list[Any]:
        values = (row.get(column) for column in self._columns)
        return [json.dumps(value) if isinstance(value, (dict, list, tuple)) else value for value in values]


class _TensorBoard:
    """Event files for TensorBoard, one per session.

    Every row is flushed to disk. A `SummaryWriter` writes in a thread: rows come later than `flush`, and a full disk is
    not reported. Two sessions within a second give it one file, so that the first is lost.
    """

    def __init__(self, folder: Path, description: dict[str, Any], rows: Sequence[Row]):
        try:
            from tensorboardX import RecordWriter
            from tensorboardX.proto import event_pb2, summary_pb2
            from tensorboardX.summary import text
        except ModuleNotFoundError:
            raise _missing("tensorboardX", "tensorboard") from None
        events: Any = event_pb2  # protobuf makes its classes at run time
        summaries: Any = summary_pb2
        self._event, self._summary = events.Event, summaries.Summary
        folder = folder / "tensorboard"
        folder.mkdir(exist_ok=True)
        sitting = len(list(folder.glob("events.out.tfevents.*")))
        # TensorBoard reads files in the order of their names
        path = folder / f"events.out.tfevents.{int(time.time()):010d}.{sitting:04d}"
        self._writer = RecordWriter(str(path))
        self._add(file_version="brain.Event:2")
        if sitting:
            start = events.SessionLog(status=events.SessionLog.START)
            self._add(step=_last_step(rows) + 1, session_log=start)  # hides what an earlier sitting did from there on
        if not (sitting and rows):
            self._add(step=0, summary=text("config", f"```json\n{json.dumps(description, indent=2)}\n```"))
        for row in () if sitting else rows:
            self.write(row)

    def write(self, row: Row) -> None:
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in _scalars(row).items()]
        self._add(step=row["step"], summary=self._summary(value=values))

    def close(self) -> None:
        self._writer.close()

    def _add(self, **fields: Any) -> None:
        self._writer.write(self._event(wall_time=time.time(), **fields).SerializeToString())
        self._writer.flush()


class _WeightsAndBiases:
    """A run of Weights & Biases, one over all sessions.

    It is configured by its own variables, as `WANDB_MODE`.
    """

    def __init__(self, folder: Path, description: dict[str, Any], rows: Sequence[Row]):
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError:
            raise _missing("wandb", "wandb") from None
        identity = folder / "wandb_id.txt"
        if not identity.exists():
            identity.write_text(secrets.token_hex(4) + "\n")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "jaxcnn"),
            id=identity.read_text().strip(),
            name=os.environ.get("WANDB_NAME", folder.resolve().name),
            dir=str(folder),
            config=json.loads(json.dumps(description)),
            resume="allow",
            settings=wandb.Settings(console="off"),  # it would record every redrawing of a progress bar
        )
        # by our own step, as its counter takes no step twice and a resumed run begins before where it had come
        self._run.define_metric("*", step_metric="step")

    def write(self, row: Row) -> None:
        place = {key: row[key] for key in ("kind", "step", "epoch") if key in row}
        self._run.log(place | _scalars(row))

    def close(self) -> None:
        self._run.finish()


SINKS: dict[str, Callable[[Path, dict[str, Any], Sequence[Row]], Sink]] = {
    "csv": _Csv,
    "tensorboard": _TensorBoard,
    "wandb": _WeightsAndBiases,
}


PLACES = {"csv": "metrics.csv", "tensorboard": "tensorboard", "wandb": "wandb"}  # in a run's folder


def _scalars(row: Row) -> dict[str, float]:
    """The numbers of a row, named `train/`, `eval/` and `speed/`.

    Sequences give one each; text is left out.
    """
    scalars = {}
    for key, value in row.items():
        if key in _PLACE:
            continue
        if isinstance(value, (list, tuple)):
            parts = {f"{_tag(row, key)}/{i}": part for i, part in enumerate(value)}
        else:
            parts = {_tag(row, key): value}
        scalars |= {tag: float(part) for tag, part in parts.items() if isinstance(part, numbers.Real)}
    return scalars


def _tag(row: Row, key: str) -> str:
    if key.startswith(("eval_", "ema_")):
        return f"eval/{key.removeprefix('eval_')}"
    if key in _SPEED:
        return f"speed/{key}"
    # an epoch's loss is a mean over its steps, a step's is of its batch: two curves
    mean = row.get("kind") == "epoch" and key != "learning_rate"
    return f"train/epoch_{key}" if mean else f"train/{key}"


def _last_step(rows: Sequence[Row]) -> int:
    return max((row["step"] for row in rows), default=-1)


def _missing(library: str, extra: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"`{library}` is needed to write to `{extra}`; install it with: pip install 'jaxcnn[{extra}]'."
    )
