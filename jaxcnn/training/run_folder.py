"""The folder of a run: `config.json`, `metrics.jsonl`, `checkpoints/`."""

import contextlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flax import nnx

from jaxcnn.data.batches import steps_per_epoch
from jaxcnn.data.dataset import Scaling
from jaxcnn.training.best import Best
from jaxcnn.training.checkpoint import CheckpointError, Checkpoints
from jaxcnn.training.config import TrainConfig, frozen_paths, make_optimizer
from jaxcnn.training.metrics import Tally, read_log, write_atomically
from jaxcnn.training.parallel import first_decides, is_first, process_barrier
from jaxcnn.training.sinks import Sink, open_sinks
from jaxcnn.training.step import TrainState, ended_with, init_state, split

_OF_THE_SITTING = ("command", "versions", "devices")  # may differ between the sittings of one run


class RunFolder:
    """A run's folder while it trains; a context that ends with everything written. Without a path it keeps nothing.

    Args:
      path: the folder; made if missing.
      description: what `config.json` says.
      config: how the run trains.
      resume: go on with the run that the folder holds.
      force: go on even under another description.
      sinks: where else the log goes, `csv`, `tensorboard` or `wandb`.

    Raises:
      ValueError: if the folder holds a run and `resume` is false, or holds another run than this one.
    """

    def __init__(
        self,
        path: Path | None,
        description: dict[str, Any],
        config: TrainConfig,
        resume: bool = False,
        force: bool = False,
        sinks: Sequence[str] = (),
    ):
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self._description, self._names = description, sinks
        self._sinks: list[Sink] = []
        self._checkpoints: Checkpoints | None = None
        self._temporary: tempfile.TemporaryDirectory | None = None
        if path is None:
            if sinks:
                raise ValueError(f"`sinks` need a `folder` to write to; got {', '.join(sinks)} without one.")
            if config.patience is not None or config.restore_best:  # the best parameters have to be somewhere
                self._temporary = tempfile.TemporaryDirectory(prefix="jaxcnn-")
                self._checkpoints = Checkpoints(Path(self._temporary.name) / "checkpoints", 1)
            return
        process_barrier("every process has chosen its folder")
        with first_decides():
            if is_first():
                _begin(path, description, resume, force)
        self._checkpoints = Checkpoints(path / "checkpoints", config.keep_checkpoints)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.ExitStack() as last:
            if self._temporary is not None:
                last.callback(self._temporary.cleanup)
            if self._checkpoints is not None:
                last.callback(self._close_checkpoints, kind is None)
            for sink in self._sinks:
                last.callback(sink.close)

    def _close_checkpoints(self, told: bool) -> None:
        try:
            if self._checkpoints is not None:
                self._checkpoints.close()
        except CheckpointError:
            if told:  # else the failure that is on its way says more
                raise

    def restore(self, state: TrainState, tally: Tally, best: Best) -> tuple[TrainState, Tally, Best]:
        """State and position of the newest checkpoint, or what was given if there is none; rewinds the log to it."""
        if self.path is None or self._checkpoints is None:
            return state, tally, best
        if self._checkpoints.latest() is not None:
            state, position, _ = self._checkpoints.restore(state, aside=True)
            tally = Tally(tally.batch_size, **position["tally"])
            best.go_on(position["best"])
        log = self.path / "metrics.jsonl"
        self.rows = [row for row in read_log(log) if row["step"] <= int(state.step)]
        process_barrier("log read")
        if is_first():
            write_atomically(log, "".join(json.dumps(row) + "\n" for row in self.rows))
            self._sinks = open_sinks(self._names, self.path, self._description, self.rows)
        return state, tally, best

    def log(self, row: dict[str, Any]) -> None:
        """Appends a row to the log."""
        self.rows.append(row)
        if self.path is not None and is_first():
            with (self.path / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            for sink in self._sinks:
                sink.write(row)

    def save(self, state: TrainState, tally: Tally, best: Best) -> None:
        """Begins to write a checkpoint."""
        if self._checkpoints is not None:
            position = {"tally": tally.position(), "best": best.position()}
            self._checkpoints.save(state, position, best.step)

    def restore_step(self, state: TrainState, step: int) -> TrainState:
        """The state of a checkpoint that is still there, the best one for instance."""
        if self._checkpoints is None:
            raise ValueError(f"`step` must be that of a checkpoint; got {step} in a run without any.")
        self._checkpoints.wait()
        return self._checkpoints.restore(state, step).state

    def last_good(self) -> str:
        """Where a run that fails now can be taken up, in words."""
        return "no checkpoint was written before" if self._checkpoints is None else self._checkpoints.last_good()


def _begin(path: Path, description: dict[str, Any], resume: bool, force: bool) -> None:
    if (path / "config.json").exists():
        if not resume:
            raise ValueError(f"{path} already holds a run; resume it, or name another folder.")
        if not force:
            _check_same(path, description)
    path.mkdir(parents=True, exist_ok=True)
    write_atomically(path / "config.json", json.dumps(description, indent=2) + "\n")


def read_description(path: str | Path) -> dict[str, Any]:
    """What a run's `config.json` says.

    Raises:
      FileNotFoundError: if the folder is none of a run.
      ValueError: if the file is damaged.
    """
    file = Path(path) / "config.json"
    try:
        description = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path} must be the folder of a run; it has no config.json.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} must be JSON; {error}.") from None
    if not isinstance(description, dict):
        raise ValueError(f"{file} must be a JSON object; got {type(description).__name__}.")
    return description


def _check_same(path: Path, description: dict[str, Any]) -> None:
    """Refuses to go on with a run under another description, naming every field that differs."""
    before, now = _flat(read_description(path)), _flat(json.loads(json.dumps(description)))
    fields = sorted(field for field in before.keys() | now.keys() if before.get(field) != now.get(field))
    if fields:
        changes = ", ".join(f"{field} was {before.get(field)!r}, now {now.get(field)!r}" for field in fields)
        raise ValueError(f"{path} must be resumed with its own configuration, or with force; {changes}.")


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        if prefix or key not in _OF_THE_SITTING:
            flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def restore_model(model: nnx.Module, path: str | Path) -> Scaling:
    """Gives a network the parameters of a run's newest checkpoint, and puts it in evaluation mode.

    Args:
      model: a network of the run's kind and size.
      path: the run's folder.

    Returns:
      The scaling that the network was trained with.

    Raises:
      FileNotFoundError: if the folder is none of a run.
      ValueError: if it holds no checkpoint, or the network does not fit.
    """
    description = read_description(path)
    try:
        config = TrainConfig(**description["training"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}/config.json must describe this version's training; {error}.") from None
    total = config.epochs * steps_per_epoch(description["data"]["count"], config.batch_size)
    _, params, rest = split(model)
    optimizer = make_optimizer(config, total, frozen_paths(config, params))
    like = init_state(params, rest, optimizer, averaged=config.ema_decay is not None)
    if not (Path(path) / "checkpoints").is_dir():
        raise ValueError(f"{path} must hold a checkpoint; it holds none.")
    checkpoints = Checkpoints(Path(path) / "checkpoints", config.keep_checkpoints)
    try:
        state, position, step = checkpoints.restore(like)
        best = position["best"]["step"]
        if (config.patience is not None or config.restore_best) and best not in (None, step):
            state = checkpoints.restore(like, best).state
    finally:
        checkpoints.close()
    nnx.update(model, *ended_with(state))
    model.eval()
    told = description["scaling"]
    return Scaling(tuple(told["mean"]), tuple(told["std"]), told.get("unit", 255.0))
