"""The training loop: steps, evaluation, log, checkpoints."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx

from jaxcnn.data.batches import eval_batches, steps_per_epoch, train_batch
from jaxcnn.data.dataset import Dataset, Scaling, measure_scaling, symmetric_scaling
from jaxcnn.training.config import TrainConfig, make_optimizer, make_schedule
from jaxcnn.training.metrics import Evaluation, Tally
from jaxcnn.training.run_folder import RunFolder
from jaxcnn.training.step import Objective, init_state, make_eval_step, make_train_step, split

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a run left behind."""

    history: list[Row]  # the log's rows, one an epoch
    steps: int  # steps done, over all sittings
    scaling: Scaling  # how images were fed to the network
    folder: Path | None
    interrupted: bool  # stopped early because it was asked to


def print_epoch(row: Row) -> None:
    """Prints one line for every epoch."""
    if row["kind"] == "epoch":
        held_out = (
            f"{row['eval_split']} loss {row['eval_loss']:.4f} accuracy {row['eval_accuracy']:.2%}"
            if "eval_split" in row
            else ""
        )
        parts = f"epoch {row['epoch']:3d}", f"loss {row['loss']:.4f} accuracy {row['accuracy']:.2%}", held_out
        print("  ".join([*filter(None, parts), f"{row['images_per_second']:,.0f} images/s"]))


def evaluate(
    model: nnx.Module,
    dataset: Dataset,
    scaling: Scaling,
    batch_size: int = 256,
    *,
    loss: Literal["cross_entropy", "mean_squared_error"] = "cross_entropy",
) -> Evaluation:
    """Loss and accuracy over every example of a data set.

    Args:
      model: the network; it is used in evaluation mode and left as it was.
      dataset: the examples.
      scaling: the scaling that the network was trained with.
      batch_size: examples per call.
      loss: as in `TrainConfig`.

    Raises:
      ValueError: if the data set is empty.
    """
    graphs, params, rest = split(nnx.clone(model))
    return _evaluate(make_eval_step(graphs, scaling, Objective(loss)), params, rest, dataset, batch_size)


def _evaluate(eval_step, params, rest, dataset: Dataset, batch_size: int) -> Evaluation:
    count = len(dataset.labels)
    if not count:
        raise ValueError(f"the {dataset.split} split of {dataset.name} must hold examples; got none.")
    sums = [eval_step(params, rest, batch) for batch in eval_batches(dataset, min(batch_size, count))]
    loss, correct = (sum(float(part[name]) for part in jax.device_get(sums)) for name in ("loss", "correct"))
    return Evaluation(loss / count, correct / count, count)


def fit(
    model: nnx.Module,
    train: Dataset,
    held_out: Dataset | None = None,
    config: TrainConfig | None = None,
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    details: dict[str, Any] | None = None,
    observer: Callable[[Row], None] | None = print_epoch,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Trains a network in place.

    Two runs with the same configuration on the same CPU end with the same bits, and so does one that was killed and
    resumed: batches are a function of seed and step, and a checkpoint holds the rest.

    Args:
      model: the network; at the end it has the trained parameters and is in evaluation mode.
      train: examples to learn from.
      held_out: examples to evaluate on after every epoch.
      config: how to train.
      folder: where log, configuration and checkpoints go; without it nothing is written.
      resume: go on from the folder's newest checkpoint, if it has one.
      details: what else `config.json` should tell, as the model's name and options.
      observer: is told every row of the log as it is written.
      should_stop: asked after every step; if true, the run saves a checkpoint and returns.

    Returns:
      The history and how images were scaled.

    Raises:
      NonFiniteError: if the loss or the gradient stops being finite; the last good checkpoint stays.
      ValueError: if the folder holds another run, or a configuration does not fit.
    """
    config = config or TrainConfig()
    per_epoch = steps_per_epoch(len(train.labels), config.batch_size)
    total = per_epoch * config.epochs
    scaling = measure_scaling(train) if config.scaling == "standard" else symmetric_scaling(train)
    optimizer, schedule = make_optimizer(config, total), make_schedule(config, total)
    graphs, params, rest = split(model)
    state = init_state(params, rest, optimizer)
    objective = Objective(config.loss, config.label_smoothing, getattr(model, "auxiliaries", {}))
    train_step = make_train_step(graphs, optimizer, scaling, objective, getattr(model, "max_norms", {}))
    eval_step = make_eval_step(graphs, scaling, Objective(config.loss))
    description = describe(config, train, scaling) | (details or {})
    with RunFolder(None if folder is None else Path(folder), description, config.keep_checkpoints, resume) as run:
        state, tally = run.restore(state, Tally(config.batch_size))
        step, interrupted = int(state.step), False
        while step < total and not interrupted:
            state, metrics = train_step(state, train_batch(train, config.batch_size, config.seed, step))
            step += 1
            tally.add(step, metrics)
            interrupted = should_stop()
            ended = step % per_epoch == 0
            due = ended or interrupted or step % config.checkpoint_every == 0
            if not due and step % config.log_every:
                continue
            tally.settle(run.last_good())
            if ended or step % config.log_every == 0:
                row = {
                    "kind": "epoch" if ended else "step",
                    "step": step,
                    "epoch": -(-step // per_epoch),
                    **(tally.means() if ended else tally.last),
                    "learning_rate": float(np.asarray(schedule(step - 1))),
                    "images_per_second": tally.images_per_second(),
                }
                if ended:
                    tally.start_epoch()
                    if held_out is not None:
                        found = _evaluate(eval_step, state.params, state.rest, held_out, 256)
                        row |= {"eval_split": held_out.split, "eval_loss": found.loss, "eval_accuracy": found.accuracy}
                run.log(row)
                if observer is not None:
                    observer(row)
                tally.restart_clock()
            if due:
                run.save(state, tally)
        history = [row for row in run.rows if row["kind"] == "epoch"]
    nnx.update(model, state.params, state.rest)
    model.eval()
    return TrainResult(history, step, scaling, run.path, interrupted)


def describe(config: TrainConfig, train: Dataset, scaling: Scaling) -> dict[str, Any]:
    """What a run's `config.json` says of itself: how it trains, on what, and what the network is fed with."""
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
