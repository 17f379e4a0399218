"""Determines the task from a configuration and its data."""

import dataclasses
from typing import Any

from jaxcnn.data.augmentation import Augmentation
from jaxcnn.data.dataset import Dataset, Scaling
from jaxcnn.training.config import TrainConfig
from jaxcnn.training.tasks.classification import Classification
from jaxcnn.training.tasks.labels import Binary, MultiLabel
from jaxcnn.training.tasks.regression import Regression
from jaxcnn.training.tasks.segmentation import Segmentation
from jaxcnn.training.tasks.task import Task

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Classification, Binary, MultiLabel, Regression, Segmentation)
}


def settled(config: TrainConfig, examples: Dataset) -> TrainConfig:
    """Fills in what a configuration leaves to the data.

    That is the task, the loss, and the metric that is monitored.

    Args:
      config: the configuration.
      examples: the training examples.

    Returns:
      The configuration with these values.

    Raises:
      ValueError: if a value does not belong to the task.
    """
    name = config.task or examples.task
    if name not in TASKS:
        raise ValueError(f"`task` of {examples.title} must be one of {', '.join(TASKS)}; got {name!r}.")
    kind = TASKS[name]
    loss, monitor = config.loss or kind.LOSSES[0], config.monitor or kind.METRICS[0]
    if loss not in kind.LOSSES:
        raise ValueError(f"`loss` of the task {name!r} must be one of {', '.join(kind.LOSSES)}; got {loss!r}.")
    if monitor not in ("loss", *kind.METRICS):
        raise ValueError(
            f"`monitor` of the task {name!r} must be one of loss, {', '.join(kind.METRICS)}; got {monitor!r}."
        )
    known = {field.name for field in dataclasses.fields(kind)}
    for option in ("label_smoothing", "pos_weight"):
        if getattr(config, option) and option not in known:
            raise ValueError(f"`{option}` is not for the task {name!r}; got {getattr(config, option)}.")
    if config.class_weights and name != "classification":
        raise ValueError(f"`class_weights` is not for the task {name!r}; got {' '.join(config.class_weights)}.")
    if config.sampling != "uniform" and not kind.of_classes:
        raise ValueError(f"`sampling` of the task {name!r} must be uniform; got {config.sampling}.")
    if kind.of_pixels:
        Augmentation(config.augment).check_masks()
    return dataclasses.replace(config, task=name, loss=loss, monitor=monitor)


def task_for(config: TrainConfig, examples: Dataset) -> Task:
    """Makes the task of a training.

    Args:
      config: the configuration.
      examples: the training examples, whose targets a regression standardizes.

    Returns:
      The task.

    Raises:
      ValueError: if the targets have another form than the task's, or a value of the configuration is not for it.
    """
    config = settled(config, examples)
    assert config.loss is not None
    kind = TASKS[config.task or ""]
    if kind is Regression:
        Regression().check_targets(examples.labels, len(examples.images), examples.title)
        return Regression.measured(config.loss, examples.labels)
    return _made(config.task or "", config.loss, config.label_smoothing, config.pos_weight, {})


def task_of(description: dict[str, Any]) -> Task:
    """Makes the task that a run's `config.json` describes.

    If it contains no task, the task is classification.

    Raises:
      KeyError: if the description lacks something that the task needs.
    """
    config, details = description["training"], description.get("task", {})
    name = config.get("task") or Classification.name
    loss = config.get("loss") or TASKS[name].LOSSES[0]
    return _made(name, loss, config.get("label_smoothing", 0.0), tuple(config.get("pos_weight", ())), details)


def _made(name: str, loss: str, smoothing: float, pos_weight: tuple[float, ...], details: dict[str, Any]) -> Task:
    options = {"label_smoothing": smoothing, "pos_weight": pos_weight}
    known = {field.name for field in dataclasses.fields(TASKS[name])}
    own = {key: tuple(value) for key, value in details.items()}
    if TASKS[name] is Regression and not {"mean", "std"} <= own.keys():
        raise KeyError("task")
    return TASKS[name](loss, **{key: value for key, value in options.items() if key in known}, **own)


def usual_task(examples: Dataset, loss: str | None = None) -> Task:
    """Makes the default task of a data set.

    `loss` is one of the task's losses; None means its usual one.

    Raises:
      ValueError: if the task needs what only its training knows.
    """
    if examples.task == Regression.name:
        raise ValueError(
            f"`task` must be given for {examples.title}, as `fit` returns it; the task 'regression' has "
            "standardized targets."
        )
    return task_for(TrainConfig(loss=loss), examples)  # pyright: ignore[reportArgumentType]


def units_of(task: Task) -> Scaling | None:
    """Returns the scaling that standardized the targets of a regression.

    It is None for other tasks.
    """
    return Scaling(task.mean, task.std, 1.0) if isinstance(task, Regression) else None
