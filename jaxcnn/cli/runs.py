"""Between a run's folder and its network."""

import ast
import json
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, cast

from flax import nnx

from jaxcnn import data, models, training, weights
from jaxcnn.data import Augmentation, Dataset, Scaling
from jaxcnn.data.labels import spelled
from jaxcnn.weights.runs import empty, options_for, sized

ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("ARGUMENTS", default=())  # what the command was called with


class Run(NamedTuple):
    """A trained network and what its folder says of it."""

    folder: Path
    model: models.Network
    scaling: Scaling
    image_shape: tuple[int, ...]  # of the stored examples
    classes: tuple[str, ...]
    task: training.Task
    augmentation: Augmentation | None
    description: dict[str, Any]
    named: bool = True  # whether the classes have names of their own, and not numbers in their place

    @property
    def about(self) -> str:
        """What the network was trained on, in words."""
        name = self.description["data"].get("name")
        return f"{name}, shape {self.image_shape}" if name else f"shape {self.image_shape}"

    def data_name(self, given: str | None) -> str:
        """The data set that was given, else that of the training.

        Raises:
          ValueError: if neither is known.
        """
        name = given or self.description["data"].get("name")
        if name is None:
            raise ValueError(f"`data` must be given with a file of weights; {self.folder} does not tell of any.")
        return name


def open_run(folder: Path) -> Run:
    """Builds the network of a run, or of a file of weights, and gives it its newest parameters.

    Raises:
      FileNotFoundError: if the folder is none of a run.
      ValueError: if it holds no checkpoint, or its configuration is incomplete.
    """
    if folder.is_file():
        return _open_file(folder)
    description = training.read_description(folder)
    try:
        network, shown = description["model"], description["data"]
        shape, classes = tuple(shown["image_shape"]), tuple(shown["classes"])
        features = shown.get("features", shape[-1])
        config, task = training.TrainConfig(**description["training"]), training.task_of(description)
        options = options_for(network["name"], sized(config, shape), network["options"])
        sizes = {"num_classes": task.outputs(classes), "in_features": features}
        built = {"name": network["name"], **sizes, "options": options}
        model = empty(built, nnx.Rngs(0))
    except KeyError as missing:
        raise ValueError(f"{folder / 'config.json'} must have {missing}; it does not.") from None
    except TypeError as error:
        raise ValueError(f"{folder / 'config.json'} must describe this version's training; {error}.") from None
    augmentation = Augmentation(config.augment) if config.augment else None
    scaling = training.restore_model(model, folder)
    return Run(folder, model, scaling, shape, classes, task, augmentation, description)


def _open_file(file: Path) -> Run:
    """The network of a file of weights, with what the file says of pictures and classes, or what is usual."""
    model, config = weights.open_model(file)
    shape = tuple(config.get("image_shape") or models.CARDS[config["name"]].input_shape)
    named = bool(config.get("classes"))
    classes = config["classes"] if named else map(str, range(config["num_classes"]))
    told: dict[str, Any] | None = config.get("scaling")
    if told is None:
        print(f"jaxcnn: {file} tells of no scaling; images are fed from -1 to 1.", file=sys.stderr)
        told = {"mean": [0.5] * shape[-1], "std": [0.5] * shape[-1]}
    scaling = Scaling(tuple(told["mean"]), tuple(told["std"]), told.get("unit", 255.0))
    described = {"model": {"name": config["name"], "options": config.get("options", {})}, "data": {}}
    network = cast(models.Network, model)
    details = dict(config.get("task", {}))
    trained = {"task": details.pop("name", None), "loss": config.get("loss")}
    task = training.task_of({"training": trained, "task": details})
    return Run(file, network, scaling, shape, tuple(classes), task, None, described, named)


def check_classes(run: Run, what: str) -> None:
    """Refuses a run whose examples do not have one class each, for what works with classes only.

    Raises:
      ValueError: if its task is another.
    """
    if not run.task.of_classes:
        raise ValueError(f"{what} needs a run with one class for each example; {run.folder} is of {run.task.name}.")


def check_place(out: Path | None) -> None:
    """Refuses a file to be written where there is no folder, before anything is computed.

    Raises:
      ValueError: if its folder does not exist.
    """
    if out is not None and not out.parent.is_dir():
        raise ValueError(f"`out` must be in a folder that exists; got {out}.")


def matched(run: Run, dataset: Dataset) -> tuple[Dataset, str]:
    """A data set as a run's network numbers its classes, found by name; and in words what that took.

    Raises:
      ValueError: if the network does not know one of its classes, or numbers words otherwise.
    """
    trained_on = run.description["data"]
    if dataset.vocabulary and (dataset.name, dataset.features) != (trained_on.get("name"), trained_on.get("features")):
        raise ValueError(f"`data` must be what {run.folder} learned its words from, {run.about}; got {dataset.name}.")
    theirs, ours = len(dataset.classes), len(run.classes)
    if spelled(dataset.classes) == spelled(run.classes):
        return dataset.for_classes(run.classes), ""
    if run.named:
        found = dataset.for_classes(run.classes)
        return found, f"{dataset.name}: its classes are {theirs} of the network's {ours}, found by name"
    if theirs != ours:
        raise ValueError(f"`data` must have {ours} classes, as {run.folder} tells no names of its own; got {theirs}.")
    return dataset, f"{dataset.name}: its classes are compared by number, as {run.folder} tells no names of its own"


def known_examples(run: Run, data_dir: Path | None) -> Dataset:
    """Examples of the run's data set that it did not learn from, where there are any, in the size of its pictures.

    Raises:
      FileNotFoundError: if the data set is not at hand.
      ValueError: if the run does not tell of any, or its classes are no longer those of the run.
    """
    name = run.description["data"].get("name")
    if name is None:
        raise ValueError(f"{run.folder} tells of no data set.")
    splits = data.splits(name, data_dir)
    split = next(split for split in ("test", "validation", *splits) if split in splits)
    size = run.image_shape[0] if name.startswith("folder:") else None
    return matched(run, data.load(name, split, data_dir, image_size=size))[0]


def record_evaluation(folder: Path, split: str, found: training.Evaluation) -> None:
    """Keeps a run's result on a split as `evaluation.json`."""
    training.write_atomically(
        folder / "evaluation.json",
        json.dumps({"split": split, "loss": found.loss, "count": found.count, **found.metrics}) + "\n",
    )


def told(found: training.Evaluation) -> str:
    """An evaluation in words."""
    parts = [f"{training.METRICS[name].title} {_written(name, value)}" for name, value in found.metrics.items()]
    for name in ("accuracy", "exact_match"):
        if name in found.metrics:
            place = list(found.metrics).index(name)
            parts[place] += f" ({round(found[name] * found.count)} of {found.count})"
            if name == "accuracy":
                parts.insert(place + 1, f"error {100 - 100 * found.accuracy:.2f} %")
    return ", ".join([*parts, f"loss {found.loss:.4f}"])


def _written(name: str, value: float) -> str:
    form = training.METRICS[name].form
    return f"{100 * value:.2f} %" if form.endswith("%}") else form.format(value)


def parse_options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`name=value` pairs, values read as Python literals where they are."""
    options = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"`model_options` must be NAME=VALUE; got {pair!r}.")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        options[name.replace("-", "_")] = value
    return options
