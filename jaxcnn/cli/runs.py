"""Between a run's folder and its network."""

import dataclasses
import json
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, NamedTuple

from flax import nnx

from jaxcnn import data, models, training
from jaxcnn.data import Scaling

ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("ARGUMENTS", default=())  # what the command was called with

_DECIDED = ("num_classes", "in_features", "rngs")  # by data and seed


class Run(NamedTuple):
    """A trained network and what its folder says of it."""

    folder: Path
    model: nnx.Module
    scaling: Scaling
    image_shape: tuple[int, ...]
    classes: tuple[str, ...]
    loss: Literal["cross_entropy", "mean_squared_error"]
    description: dict[str, Any]


def open_run(folder: Path) -> Run:
    """Builds the network of a run and gives it its newest parameters.

    Raises:
      FileNotFoundError: if the folder is none of a run.
      ValueError: if it holds no checkpoint, or its configuration is incomplete.
    """
    description = training.read_description(folder)
    try:
        told, shown = description["model"], description["data"]
        shape, classes = tuple(shown["image_shape"]), tuple(shown["classes"])
        features = shown.get("features", shape[-1])
        model = build(told["name"], len(classes), features, shape, told["options"], seed=0)
    except KeyError as missing:
        raise ValueError(f"{folder / 'config.json'} must tell of {missing}; it does not.") from None
    loss = description.get("training", {}).get("loss", "cross_entropy")
    return Run(folder, model, training.restore_model(model, folder), shape, classes, loss, description)


def build(
    name: str, num_classes: int, in_features: int, shape: tuple[int, ...], options: dict[str, Any], seed: int
) -> nnx.Module:
    """The network by its name, as large as the examples of a shape need it, its parameters drawn from a seed.

    Raises:
      ValueError: if the name or an option is unknown, or an option is one that data and seed decide.
    """
    decided = [name for name in options if name in _DECIDED]
    if decided:
        raise ValueError(f"`model_options` must not set {', '.join(decided)}, which data and seed decide.")
    sized = {"image_size": 3, "clip_shape": 4}  # the options that an example's rank decides
    given = {key: shape[:-1] for key, rank in sized.items() if key in models.options_of(name) and len(shape) == rank}
    return models.create(
        name, num_classes=num_classes, in_features=in_features, rngs=nnx.Rngs(seed), **(given | options)
    )


def record_evaluation(folder: Path, split: str, found: training.Evaluation) -> None:
    """Keeps a run's result on a split as `evaluation.json`."""
    training.write_atomically(
        folder / "evaluation.json", json.dumps({"split": split, **dataclasses.asdict(found)}) + "\n"
    )


def held_out_split(name: str) -> str:
    """The split to watch while training: validation where there is one, else test."""
    return "validation" if "validation" in data.splits(name) else "test"
