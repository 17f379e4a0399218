"""The training loop: steps, evaluation, log, checkpoints."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxcnn.data.augmentation import Augmentation
from jaxcnn.data.batches import Batch, batches_ahead, steps_per_epoch
from jaxcnn.data.dataset import Dataset, Scaling, measure_scaling, symmetric_scaling
from jaxcnn.training.best import Best
from jaxcnn.training.checks import check_alike, check_examples, check_same_classes
from jaxcnn.training.config import TrainConfig, frozen_paths, make_optimizer, make_schedule
from jaxcnn.training.evaluation import evaluate_state, make_eval_step
from jaxcnn.training.lines import epoch_line
from jaxcnn.training.metrics import Tally
from jaxcnn.training.parallel import Layout, any_process, watching_processes
from jaxcnn.training.profiler import Profile
from jaxcnn.training.run_folder import RunFolder
from jaxcnn.training.speed import Speedometer
from jaxcnn.training.step import Metrics, Objective, Step, TrainState, ended_with, init_state, split

Row = dict[str, Any]

_ASK_OTHERS = 10  # steps between agreements with other processes on whether to stop


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
    """

    history: list[Row]
    steps: int
    scaling: Scaling
    folder: Path | None
    interrupted: bool
    best_step: int | None = None


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
      should_stop: a function that is called after every step; if it returns True, the run saves a checkpoint and
        returns.
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
        configuration does not fit, or the examples do not: labels without an output of the network, held-out examples
        of other classes, floats although the network's inputs are bytes.

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
    if held_out is not None:
        check_alike(held_out, train)
    if resume and force and folder is not None:
        check_same_classes(folder, train)
    scaling = _fed_by(config, train) if scaling is None else _fitting(scaling, train)
    per_epoch = steps_per_epoch(len(train.labels), config.batch_size)
    total = per_epoch * config.epochs
    schedule = make_schedule(config, total)
    step_of, state = _prepared(model, train, held_out, config, scaling, layout)
    train_step = step_of.compiled()
    eval_step = make_eval_step(step_of.graphs.eval, scaling, config.loss, layout, step_of.augmentation)

    description = describe(config, train, scaling) | {"devices": str(layout)} | (details or {})
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(RunFolder(folder, description, config, resume, force, sinks))
        stack.enter_context(watching_processes(run.last_good))
        best = Best(config.monitor, config.patience)
        state, tally, best = run.restore(state, Tally(config.batch_size), best)
        step, interrupted, compiling = int(state.step), False, True
        trace = None
        if profile is not None and folder is not None:
            writing = functools.partial(run.writing, "profile", "a trace")
            trace = stack.enter_context(Profile(folder / "profile", step + 3, profile, writing))
        ahead = batches_ahead(
            train,
            config.batch_size,
            config.seed,
            step,
            total,
            rows=layout.rows(config.batch_size, config.accumulate),
            workers=workers,
        )
        batches = _on_devices(stack.enter_context(ahead), config.accumulate, layout)
        speed = Speedometer(devices=layout.devices, dtype=getattr(model, "dtype", None) or np.float32)
        while step < total and not interrupted and not best.over:
            with speed.waiting():
                parts = next(batches)
            if trace is not None:
                trace.before(step + 1)
            state, metrics = train_step.run(state, parts)
            step += 1
            if trace is not None:
                trace.after(step, metrics)
            tally.add(step, metrics)
            speed.step(config.batch_size)
            if compiling:
                compiling = False
                jax.block_until_ready(metrics)
                speed.restart()
            interrupted = _stopping(should_stop, step)
            ended = step % per_epoch == 0
            due = ended or interrupted or step % config.checkpoint_every == 0
            if not due and step % config.log_every:
                continue
            tally.settle(run.last_good())
            speed.pause()
            if ended or step % config.log_every == 0:
                if speed.flops is None:
                    speed.flops = train_step.flops(state, parts)
                row = {
                    "kind": "epoch" if ended else "step",
                    "step": step,
                    "epoch": -(-step // per_epoch),
                    **(tally.means() if ended else tally.last),
                    "learning_rate": float(np.asarray(schedule(step - 1))),
                    **speed.row(),
                }
                if ended:
                    tally.start_epoch()
                    row |= {} if held_out is None else _evaluated(eval_step, layout, state, held_out)
                    best.see(row)
                run.log(row)
                if observer is not None and jax.process_index() == 0:
                    observer(row)
            if due:
                run.save(layout.across(state), tally, best)
            speed.restart()
        if (config.patience is not None or config.restore_best) and best.step not in (None, step) and not interrupted:
            state = run.restore_step(state, best.step)
        history = [row for row in run.rows if row["kind"] == "epoch"]
    nnx.update(model, *layout.gather(ended_with(state)))
    model.eval()
    return TrainResult(history, step, scaling, run.path, interrupted, best.step)


def _fed_by(config: TrainConfig, train: Dataset) -> Scaling:
    return measure_scaling(train) if config.scaling == "standard" else symmetric_scaling(train)


def _fitting(scaling: Scaling, train: Dataset) -> Scaling:
    channels = train.images.shape[-1]
    if len(scaling.mean) not in (0, channels):
        raise ValueError(f"`scaling` must have an entry for each of the {channels} channels; got {len(scaling.mean)}.")
    return scaling


def _prepared(
    model: nnx.Module,
    train: Dataset,
    held_out: Dataset | None,
    config: TrainConfig,
    scaling: Scaling,
    layout: Layout,
) -> tuple[Step, TrainState]:
    """The step of this training, and the state before the first step; refuses arguments that do not fit together."""
    layout.check_batch(config.batch_size, config.accumulate)
    per_epoch = steps_per_epoch(len(train.labels), config.batch_size)
    augmentation = make_augmentation(config, train, scaling)
    frozen = frozen_paths(config, nnx.state(model, nnx.Param))
    graphs, params, rest = split(model, frozen, layout.axis_name)
    part = config.batch_size // config.accumulate // (layout.data_devices if layout.axis_name else 1)
    examples = [train] if held_out is None else [train, held_out]
    outputs = check_examples(examples, graphs.eval, (params, rest), scaling, augmentation, part)
    step_of = Step(
        graphs,
        make_optimizer(config, per_epoch * config.epochs, frozen),
        scaling,
        Objective(config.loss, config.label_smoothing, getattr(model, "auxiliaries", {})),
        augmentation,
        config.seed,
        outputs,
        per_epoch,
        getattr(model, "max_norms", {}),
        frozen,
        config.ema_decay,
        config.accumulate,
        layout,
    )
    return step_of, layout.place(init_state(params, rest, step_of.optimizer, averaged=config.ema_decay is not None))


def _evaluated(eval_step: Callable[..., Metrics], layout: Layout, state: TrainState, held_out: Dataset) -> Row:
    """The results on held-out examples for a row: with the parameters, and with their moving averages."""
    found = evaluate_state(eval_step, layout, (state.params, state.rest), held_out)
    row = {"eval_split": held_out.split, "eval_loss": found.loss, "eval_accuracy": found.accuracy}
    if found.top5_accuracy is not None:
        row["eval_top5_accuracy"] = found.top5_accuracy
    if state.average is not None:
        found = evaluate_state(eval_step, layout, ended_with(state), held_out)
        row |= {"ema_loss": found.loss, "ema_accuracy": found.accuracy}
    return row


def make_augmentation(config: TrainConfig, train: Dataset, scaling: Scaling) -> Augmentation | None:
    """Makes the random changes that a configuration names, or returns None if it names none.

    Args:
      config: the configuration.
      train: the training examples.
      scaling: the scaling of the network's inputs.

    Returns:
      The augmentation, which fills with the mean of the data; or None.

    Raises:
      ValueError: if the examples are not pictures, or an augmentation that changes colors gets values of an unknown
        range.
    """
    if not config.augment:
        return None
    if train.images.ndim != 4:
        raise ValueError(f"`augment` needs pictures, (N, H, W, C); got {train.name} of {train.images.shape[1:]}.")
    fill = tuple(scaling.unit * mean for mean in scaling.mean)
    augmentation = Augmentation(config.augment, fill, scaling.unit)
    augmentation.resized(train.images.shape[1:])  # refuses what is larger than the pictures
    augmentation.check_range(train.images)
    return augmentation


def _stopping(should_stop: Callable[[], bool], step: int) -> bool:
    """Whether any process wants to stop; all stop after the same step."""
    if jax.process_count() == 1:
        return should_stop()
    return step % _ASK_OTHERS == 0 and any_process(should_stop())


def _on_devices(batches: Iterator[Batch], accumulate: int, layout: Layout) -> Iterator[list[Batch]]:
    """Batches in parts, moved to the devices one batch in advance."""

    def put(batch: Batch) -> list[Batch]:
        size = len(batch.labels) // accumulate
        cuts = [slice(start, start + size) for start in range(0, len(batch.labels), size)]
        return [layout.put(jax.tree.map(lambda a, cut=cut: a[cut], batch)) for cut in cuts]

    ready: list[Batch] | None = None
    for batch in batches:
        coming = put(batch)
        if ready is not None:
            yield ready
        ready = coming
    if ready is not None:
        yield ready


def describe(config: TrainConfig, train: Dataset, scaling: Scaling) -> dict[str, Any]:
    """Makes the content of `config.json`: the configuration, the data set and the scaling."""
    return {
        "training": dataclasses.asdict(config),
        "data": {
            "name": train.name,
            "split": train.split,
            "count": len(train.labels),
            "image_shape": list(train.images.shape[1:]),
            "features": train.features,
            "classes": list(train.classes),
        },
        "scaling": scaling._asdict(),
    }
