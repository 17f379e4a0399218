"""Training in one call."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flax import nnx

from jaxcnn.data.dataset import Dataset, Scaling
from jaxcnn.training.checks import check_same_classes
from jaxcnn.training.config import TrainConfig
from jaxcnn.training.formatting import epoch_line
from jaxcnn.training.parallel import Layout, watching_processes
from jaxcnn.training.run_folder import RunFolder
from jaxcnn.training.setup import prepare
from jaxcnn.training.tasks.classification import Classification
from jaxcnn.training.tasks.task import Task
from jaxcnn.training.trainer import Row, Trainer


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """The result of a run.

    Args:
      history: the rows of the log, one per epoch.
      steps: number of steps done, over all sessions.
      scaling: the scaling of the network's inputs.
      folder: the folder of the run; None if it has none.
      interrupted: whether `should_stop` ended the run early.
      best_step: the last step of the best epoch on held-out examples.
      task: what the network was trained for, as `evaluate` and `predict` take it.
    """

    history: list[Row]
    steps: int
    scaling: Scaling
    folder: Path | None
    interrupted: bool
    best_step: int | None = None
    task: Task = Classification()


def print_epoch(row: Row) -> None:
    """Prints one line per epoch.

    Args:
      row: a row of the log; other rows than those of epochs are ignored.
    """
    if row["kind"] == "epoch":
        print(epoch_line(row))


def fit(
    model: nnx.Module,
    train: Dataset,
    held_out: Dataset | None = None,
    config: TrainConfig | None = None,
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    details: dict[str, Any] | None = None,
    observer: Callable[[Row], None] | None = print_epoch,
    should_stop: Callable[[], bool] = lambda: False,
    layout: Layout | None = None,
    sinks: Sequence[str] = (),
    profile: int | None = None,
    workers: int | None = None,
    freeze: str | Sequence[str] | None = None,
    scaling: Scaling | None = None,
) -> TrainResult:
    """Trains a network in place.

    Two runs with the same configuration on the same CPU end with the same bits, and so does a run that was killed and
    resumed: batches and their random changes are a function of seed and step, and a checkpoint contains everything
    else. A run can also resume on another number of devices or processes; the results are then equal up to rounding.

    Args:
      model: the network; at the end it has the trained parameters and is in evaluation mode.
      train: training examples; the same on every process.
      held_out: examples for evaluation after every epoch.
      config: how to train; by default `TrainConfig()`.
      folder: folder for log, configuration and checkpoints; without it nothing is written.
      resume: resume from the newest checkpoint in the folder, if there is one.
      force: resume even if the folder holds a run with another configuration.
      details: further values for `config.json`, as the name and options of the model.
      observer: a function that is called with every row of the log, on process 0.
      should_stop: a function that is called after every step, with several processes after every tenth; if it returns
        True, the run saves a checkpoint and returns.
      layout: the devices, and what each of them holds; by default `jit` over all devices.
      sinks: further formats of the log, in the folder: `"csv"`, `"tensorboard"`, `"wandb"`.
      profile: number of steps of which a JAX trace is written to the folder.
      workers: number of processes that decode a stream; by default as in `data.batches_ahead`.
      freeze: patterns of parameters that are not trained, instead of those of the configuration.
      scaling: scaling of the inputs, instead of that of the configuration; for a network that was already trained, that
        of its training.

    Returns:
      The history of the run, the scaling of the inputs, and how the run ended.

    Raises:
      CheckpointError: if a file of the run cannot be written, for instance on a full disk, or a checkpoint cannot be
        read; the last good checkpoint stays.
      NonFiniteError: if the loss or the gradient is no longer finite; the last good checkpoint stays.
      RuntimeError: if another process trains in the folder.
      ValueError: if the folder holds another run or parts of one, all checkpoints are damaged, the log is damaged, the
        configuration does not fit, or the examples do not: targets of another task, labels without an output of the
        network, held-out examples of other classes, floats although the network's inputs are bytes.

    Example:
      >>> from flax import nnx
      >>> from jaxcnn import data, models, training
      >>> model = models.create("lenet5", num_classes=10, in_features=1, rngs=nnx.Rngs(0))
      >>> train, held_out = data.load("digits", "train"), data.load("digits", "validation")
      >>> run = training.fit(model, train, held_out, training.TrainConfig(epochs=1), observer=None)
      >>> run.history[-1]["eval_accuracy"] > 0.5
      True
    """
    config, layout = config or TrainConfig(), layout or Layout()
    folder = None if folder is None else Path(folder).expanduser()
    if freeze is not None:
        config = dataclasses.replace(config, freeze=freeze)
    if config.patience is not None and held_out is None:
        raise ValueError(f"`patience` needs held-out examples; got {config.patience} without any.")
    if profile is not None and folder is None:
        raise ValueError(f"`profile` needs a `folder` to write to; got {profile} without one.")
    if resume and force and folder is not None:
        check_same_classes(folder, train)
    setup, state = prepare(model, train, held_out, config, scaling, layout)
    with contextlib.ExitStack() as stack:
        described = setup.describe() | (details or {})
        run = stack.enter_context(RunFolder(folder, described, setup.config, resume, force, sinks))
        stack.enter_context(watching_processes(run.last_good))
        trainer = Trainer(setup, state, run, observer, should_stop)
        del state  # its arrays are the trainer's, which gives their memory to the next state
        trainer.train(workers=workers, profile=profile)
        history = [row for row in run.rows if row["kind"] == "epoch"]
    nnx.update(model, *layout.gather(trainer.state.trained()))
    model.eval()
    ended = trainer.interrupted, trainer.stopping.step
    return TrainResult(history, trainer.step, setup.scaling, run.path, *ended, setup.task)
