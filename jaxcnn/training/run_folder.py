"""The folder of a run: `config.json`, `metrics.jsonl`, `checkpoints/`."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flax import nnx

from jaxcnn.data.batches import steps_per_epoch
from jaxcnn.data.dataset import Scaling
from jaxcnn.training.checkpoint import Checkpoints
from jaxcnn.training.claim import begin, expect_none, read_description, write_description
from jaxcnn.training.config import TrainConfig
from jaxcnn.training.early_stopping import EarlyStopping
from jaxcnn.training.files import CheckpointError, write_atomically, writing
from jaxcnn.training.log import read_log
from jaxcnn.training.optimizer import frozen_paths, make_optimizer
from jaxcnn.training.parallel import first_decides, is_first, process_barrier
from jaxcnn.training.sinks import PLACES, Sink, known_sinks, open_sinks
from jaxcnn.training.state import TrainState, first_state, split
from jaxcnn.training.tally import Tally

_NOWHERE = "no checkpoint was written before"


class RunFolder:
    """The folder of a run while it trains.

    It is a context manager that ends when everything is written.

    Args:
      path: the folder; created if missing. Without a path nothing is written.
      description: the content of `config.json`.
      config: the configuration of the run.
      resume: resume the run that the folder holds.
      force: resume even with another description.
      sinks: further formats of the log: `csv`, `tensorboard` or `wandb`.

    Raises:
      CheckpointError: if the folder cannot be written to.
      RuntimeError: if another process trains in it.
      ValueError: if the folder holds a run and `resume` is false, or holds another run, or parts of a run without its
        `config.json`.
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
        self._description, self._config, self._resumed = description, config, resume
        self._names = known_sinks(sinks)
        self._sinks: list[Sink] = []
        self._checkpoints: Checkpoints | None = None
        with contextlib.ExitStack() as closing:
            if path is not None:
                process_barrier("every process has chosen its folder")
                with first_decides():
                    if is_first():
                        closing.callback(begin(path, description, resume, force).release)
                self._checkpoints = self._opened(path / "checkpoints", config.keep_checkpoints)
            elif sinks:
                raise ValueError(f"`sinks` need a `folder` to write to; got {', '.join(sinks)} without one.")
            elif config.patience is not None or config.restore_best:  # the best parameters have to be somewhere
                temporary = closing.enter_context(tempfile.TemporaryDirectory(prefix="jaxcnn-"))
                self._checkpoints = self._opened(Path(temporary) / "checkpoints", 1)
            self._closing = closing.pop_all()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.ExitStack() as last:
            last.callback(self._closing.close)
            if self._checkpoints is not None:
                last.callback(self._close, "checkpoints", self._checkpoints.close, kind is None)
            for name, sink in zip(self._names, self._sinks, strict=False):
                last.callback(self._close, PLACES[name], sink.close, kind is None)

    def _close(self, name: str, close: Callable[[], None], told: bool) -> None:
        try:
            with self.writing(name, "all of the run"):
                close()
        except CheckpointError:
            if told:  # else the failure that is on its way says more
                raise

    def _opened(self, folder: Path, keep: int) -> Checkpoints:
        with self.writing("", "checkpoints"):
            return Checkpoints(folder, keep)

    def writing(self, name: str, what: str) -> contextlib.AbstractContextManager[None]:
        """Converts errors of writing to one sentence.

        It says where the run can resume.

        Args:
          name: name of the file.
          what: the content that is written, in words.
        """
        place = "a temporary folder" if self.path is None else self.path / name
        return writing(place, what, self._last_written)

    def restore(self, state: TrainState, tally: Tally, best: EarlyStopping) -> tuple[TrainState, Tally, EarlyStopping]:
        """Restores the newest checkpoint and truncates the log to its step.

        Returns the arguments if there is none.

        Raises:
          CheckpointError: if the system refuses to read or to write.
          ValueError: if there should be a checkpoint and all are damaged, or the log is damaged; nothing is changed.
        """
        if self.path is None or self._checkpoints is None:
            return state, tally, best
        log = self.path / "metrics.jsonl"
        rows = list(read_log(log))
        if self._checkpoints.latest() is None:
            expect_none(self.path, self._config, self._description["data"]["count"], rows)
        else:
            state, position, step = self._checkpoints.restore(state, aside=True)
            with _of_this_form(self.path, step):
                tally = Tally(tally.batch_size, tally.task, **position["tally"])
                best.go_on(position["best"])
        self.rows = [row for row in rows if row["step"] <= int(state.step)]
        process_barrier("log read")
        if is_first():
            if self._resumed:
                with self.writing("config.json", "the configuration"):
                    write_description(self.path, self._description)
            with self.writing("metrics.jsonl", "the log"):
                write_atomically(log, "".join(json.dumps(row) + "\n" for row in self.rows))
            for name in self._names:
                with self.writing(PLACES[name], "the log"):
                    self._sinks += open_sinks([name], self.path, self._description, self.rows)
        return state, tally, best

    def log(self, row: dict[str, Any]) -> None:
        """Appends a row to the log.

        Raises:
          CheckpointError: if it cannot be written.
        """
        self.rows.append(row)
        if self.path is not None and is_first():
            with self.writing("metrics.jsonl", "a row"), (self.path / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            for name, sink in zip(self._names, self._sinks, strict=True):
                with self.writing(PLACES[name], "a row"):
                    sink.write(row)

    def save(self, state: TrainState, tally: Tally, best: EarlyStopping) -> None:
        """Starts to write a checkpoint."""
        if self._checkpoints is not None:
            position = {"tally": tally.position(), "best": best.position()}
            self._checkpoints.save(state, position, best.step)

    def restore_step(self, state: TrainState, step: int) -> TrainState:
        """Returns the state of a checkpoint that was kept.

        The best one is kept, for instance.
        """
        if self._checkpoints is None:
            raise ValueError(f"`step` must be that of a checkpoint; got {step} in a run without any.")
        self._checkpoints.wait()
        return self._checkpoints.restore(state, step).state

    def last_good(self) -> str:
        """Describes the checkpoint from which a failing run can resume."""
        return _NOWHERE if self._checkpoints is None else self._checkpoints.last_good()

    def _last_written(self) -> str:
        return _NOWHERE if self._checkpoints is None else self._checkpoints.last_written()


@contextlib.contextmanager
def _of_this_form(path: Path, step: int) -> Iterator[None]:
    """Converts errors on another form of position to one sentence.

    Perhaps the checkpoint is of another version.
    """
    try:
        yield
    except (KeyError, TypeError) as error:
        told = f"checkpoint {step} in {path / 'checkpoints'} must hold the position of a run of this version"
        raise ValueError(f"{told}; {type(error).__name__} {error}.") from None


def restore_model(model: nnx.Module, path: str | Path) -> Scaling:
    """Loads the parameters of a run's newest checkpoint into a network.

    The network is then in evaluation mode.

    Args:
      model: a network of the same kind and size as that of the run.
      path: the folder of the run.

    Returns:
      The scaling with which the network was trained.

    Raises:
      FileNotFoundError: if the folder is not that of a run.
      ValueError: if it holds no checkpoint, or the network does not fit.
    """
    description = read_description(path)
    try:
        config, told = TrainConfig(**description["training"]), description["scaling"]
        total = config.epochs * steps_per_epoch(description["data"]["count"], config.batch_size)
        scaling = Scaling(tuple(told["mean"]), tuple(told["std"]), told.get("unit", 255.0))
    except (AttributeError, KeyError, TypeError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}/config.json must describe this version's training; {said}.") from None
    _, params, rest = split(model)
    optimizer = make_optimizer(config, total, frozen_paths(config, params))
    like = first_state(params, rest, optimizer, averaged=config.ema_decay is not None)
    if not (Path(path) / "checkpoints").is_dir():
        raise ValueError(f"{path} must hold a checkpoint; it holds none.")
    checkpoints = Checkpoints(Path(path) / "checkpoints", config.keep_checkpoints)
    try:
        state, position, step = checkpoints.restore(like)
        with _of_this_form(Path(path), step):
            best = position["best"]["step"]
        if (config.patience is not None or config.restore_best) and best not in (None, step):
            state = checkpoints.restore(like, best).state
    finally:
        checkpoints.close()
    nnx.update(model, *state.trained())
    model.eval()
    return scaling
