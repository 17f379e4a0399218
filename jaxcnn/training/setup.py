"""The constant parts of a run: step, evaluation, scaling, schedule."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from flax import nnx
from jax.typing import DTypeLike

from jaxcnn.data.augmentation import Augmentation
from jaxcnn.data.batches import steps_per_epoch
from jaxcnn.data.dataset import Dataset, Scaling, measure_scaling, symmetric_scaling
from jaxcnn.training.checks import check_alike, check_examples
from jaxcnn.training.class_weights import class_weights
from jaxcnn.training.config import TrainConfig
from jaxcnn.training.evaluation import make_eval_step
from jaxcnn.training.objective import Objective
from jaxcnn.training.optimizer import frozen_paths, make_optimizer, make_schedule
from jaxcnn.training.parallel import Layout
from jaxcnn.training.state import TrainState, first_state, split
from jaxcnn.training.tasks.choosing import settled, task_for
from jaxcnn.training.tasks.task import Task
from jaxcnn.training.train_step import TrainStep


@dataclasses.dataclass(frozen=True)
class Setup:
    """The parts of a run that do not change.

    Args:
      config: how to train, with everything that it left to the data.
      task: what to train for.
      train: training examples.
      held_out: examples for evaluation after every epoch.
      scaling: the scaling of the inputs.
      layout: the devices.
      step: the step of training.
      eval_step: the compiled evaluation of a batch.
      schedule: the learning rate, by step.
      epoch_steps: number of steps in an epoch.
      dtype: dtype of the computation.
    """

    config: TrainConfig
    task: Task
    train: Dataset
    held_out: Dataset | None
    scaling: Scaling
    layout: Layout
    step: TrainStep
    eval_step: Callable[..., Any]
    schedule: optax.Schedule
    epoch_steps: int
    dtype: DTypeLike

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole run."""
        return self.epoch_steps * self.config.epochs

    def describe(self) -> dict[str, Any]:
        """Makes the content of `config.json`.

        It holds the configuration, the data set, the scaling and the devices.
        """
        train, details = self.train, self.task.details()
        return {
            "training": dataclasses.asdict(self.config),
            "data": {
                "name": train.name,
                "split": train.split,
                "count": len(train.labels),
                "image_shape": list(train.images.shape[1:]),
                "features": train.features,
                "classes": list(train.classes),
            },
            "scaling": self.scaling._asdict(),
            **({"task": details} if details else {}),
            "devices": str(self.layout),
        }


def prepare(
    model: nnx.Module,
    train: Dataset,
    held_out: Dataset | None,
    config: TrainConfig,
    scaling: Scaling | None,
    layout: Layout,
) -> tuple[Setup, TrainState]:
    """Makes a run's constant parts, and its state before training.

    The arguments are those of `fit`.

    Raises:
      ValueError: if the arguments do not fit together.
    """
    config, task = settled(config, train), task_for(config, train)
    if held_out is not None:
        check_alike(held_out, train)
    scaling = _scaling_of(config, train) if scaling is None else _fitting(scaling, train)
    layout.check_batch(config.batch_size, config.accumulate)
    epoch_steps = steps_per_epoch(len(train.labels), config.batch_size)
    augmentation = make_augmentation(config, train, scaling)
    frozen = frozen_paths(config, nnx.state(model, nnx.Param))
    graphs, params, rest = split(model, frozen, layout.axis_name)
    part = config.batch_size // config.accumulate // (layout.data_devices if layout.axis_name else 1)
    examples = [train] if held_out is None else [train, held_out]
    classes = check_examples(examples, graphs.eval, (params, rest), scaling, augmentation, part, task)
    step = TrainStep(
        graphs,
        make_optimizer(config, epoch_steps * config.epochs, frozen),
        scaling,
        objective=Objective(task, getattr(model, "auxiliaries", {}), class_weights(config.class_weights, train)),
        augmentation=augmentation,
        seed=config.seed,
        classes=classes,
        epoch_steps=epoch_steps,
        max_norms=getattr(model, "max_norms", {}),
        frozen=frozen,
        decay=config.ema_decay,
        accumulate=config.accumulate,
        layout=layout,
    )
    eval_step = make_eval_step(graphs.eval, scaling, task, layout, augmentation)
    schedule = make_schedule(config, epoch_steps * config.epochs)
    dtype = getattr(model, "dtype", None) or jnp.float32
    setup = Setup(
        config=config,
        task=task,
        train=train,
        held_out=held_out,
        scaling=scaling,
        layout=layout,
        step=step,
        eval_step=eval_step,
        schedule=schedule,
        epoch_steps=epoch_steps,
        dtype=dtype,
    )
    return setup, layout.place(first_state(params, rest, step.optimizer, averaged=config.ema_decay is not None))


def make_augmentation(config: TrainConfig, examples: Dataset, scaling: Scaling) -> Augmentation | None:
    """Makes the random changes that a configuration names, or None.

    Args:
      config: the configuration.
      examples: examples of the size on which it works.
      scaling: the scaling of the network's inputs.

    Returns:
      The augmentation, which fills with the mean of the data; or None.

    Raises:
      ValueError: if the examples are not pictures, or an augmentation that changes colors gets values of an unknown
        range.
    """
    if not config.augment:
        return None
    if examples.images.ndim != 4:
        raise ValueError(f"`augment` needs pictures, (N, H, W, C); got {examples.name} of {examples.images.shape[1:]}.")
    fill = tuple(scaling.unit * mean for mean in scaling.mean)
    augmentation = Augmentation(config.augment, fill, scaling.unit)
    augmentation.resized(examples.images.shape[1:])  # refuses what is larger than the pictures
    augmentation.check_range(examples.images)
    return augmentation


def _scaling_of(config: TrainConfig, train: Dataset) -> Scaling:
    return measure_scaling(train) if config.scaling == "standard" else symmetric_scaling(train)


def _fitting(scaling: Scaling, train: Dataset) -> Scaling:
    channels = train.images.shape[-1]
    if len(scaling.mean) not in (0, channels):
        raise ValueError(f"`scaling` must have an entry for each of the {channels} channels; got {len(scaling.mean)}.")
    return scaling
