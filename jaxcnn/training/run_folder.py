"""The folder of a run: `config.json`, `metrics.jsonl`, `checkpoints/`."""

import json
from pathlib import Path
from typing import Any

from flax import nnx

from jaxcnn.data.batches import steps_per_epoch
from jaxcnn.data.dataset import Scaling
from jaxcnn.training.checkpoint import Checkpoints
from jaxcnn.training.config import TrainConfig, make_optimizer
from jaxcnn.training.metrics import Tally, read_log, write_atomically
from jaxcnn.training.step import TrainState, init_state, split

_OF_THE_SITTING = ("command", "versions")  # may differ between the sittings of one run


class RunFolder:
    """A run's folder while it trains; a context that ends with everything written. Without a path it keeps nothing.

    Args:
      path: the folder; made if missing.
      description: what `config.json` says.
      keep: how many checkpoints stay.
      resume: go on with the run that the folder holds.

    Raises:
      ValueError: if the folder holds a run and `resume` is false, or holds another run than this one.
    """

    def __init__(self, path: Path | None, description: dict[str, Any], keep: int, resume: bool):
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self._checkpoints: Checkpoints | None = None
        if path is None:
            return
        if (path / "config.json").exists():
            if not resume:
                raise ValueError(f"{path} already holds a run; resume it, or name another folder.")
            _check_same(path, description)
        path.mkdir(parents=True, exist_ok=True)
        write_atomically(path / "config.json", json.dumps(description, indent=2) + "\n")
        self._checkpoints = Checkpoints(path / "checkpoints", keep)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        if self._checkpoints is not None:
            self._checkpoints.close()

    def restore(self, state: TrainState, tally: Tally) -> tuple[TrainState, Tally]:
        """State and sums of the newest checkpoint, or what was given if there is none; rewinds the log to it."""
        if self.path is None or self._checkpoints is None:
            return state, tally
        if self._checkpoints.latest() is not None:
            state, position = self._checkpoints.restore(state)
            tally = Tally(tally.batch_size, **position)
        log = self.path / "metrics.jsonl"
        self.rows = [row for row in read_log(log) if row["step"] <= int(state.step)]
        write_atomically(log, "".join(json.dumps(row) + "\n" for row in self.rows))
        return state, tally

    def log(self, row: dict[str, Any]) -> None:
        """Appends a row to the log."""
        self.rows.append(row)
        if self.path is not None:
            with (self.path / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")

    def save(self, state: TrainState, tally: Tally) -> None:
        """Begins to write a checkpoint."""
        if self._checkpoints is not None:
            self._checkpoints.save(state, tally.position())

    def last_good(self) -> str:
        """Where a run that fails now can be taken up, in words."""
        step = None if self._checkpoints is None else self._checkpoints.latest()
        return (
            "no checkpoint was written before"
            if step is None
            else f"the last good checkpoint is step {step} in {self.path}"
        )


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
        raise ValueError(f"{path} must be resumed with its own configuration; {changes}.")


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
    like = init_state(params, rest, make_optimizer(config, total))
    if not (Path(path) / "checkpoints").is_dir():
        raise ValueError(f"{path} must hold a checkpoint; it holds none.")
    checkpoints = Checkpoints(Path(path) / "checkpoints", config.keep_checkpoints)
    try:
        state, _ = checkpoints.restore(like)
    finally:
        checkpoints.close()
    nnx.update(model, state.params, state.rest)
    model.eval()
    told = description["scaling"]
    return Scaling(tuple(told["mean"]), tuple(told["std"]), told.get("unit", 255.0))
