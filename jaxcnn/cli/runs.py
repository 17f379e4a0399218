"""Between a run's folder and its network."""

import ast
import json
import re
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, cast

from flax import nnx

from jaxcnn import data, models, training, weights
from jaxcnn.data import Augmentation, Dataset, Preprocessing, Scaling
from jaxcnn.data.labels import spelled
from jaxcnn.weights.by_name import is_name
from jaxcnn.weights.runs import WEIGHTS, empty, options_for, sized

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
    preprocessing: Preprocessing | None = None  # the preprocessing of published weights

    @property
    def about(self) -> str:
        """What the network was trained on, in words."""
        name = self.description["data"].get("name")
        return f"{name}, shape {self.image_shape}" if name else f"shape {self.image_shape}"

    def image_size(self, data_name: str, given: int | None = None) -> int | Preprocessing | None:
        """Returns how to resize a data set's pictures for the network.

        A given size takes precedence over that of the training.
        """
        if given is not None:
            return given
        if self.preprocessing is not None and data.resizes(data_name):
            return self.preprocessing
        own = data_name.startswith(("folder:", "masks:")) and self.image_shape[0] == self.image_shape[1]
        return self.image_shape[0] if own else None  # no one size makes pictures that are not square

    @property
    def words(self) -> tuple[str, ...]:
        """The classes as they are printed.

        Those of ImageNet are in words, not WordNet ids.
        """
        tree = data.imagenet_classes()
        return tree.names if self.classes == tree.ids else self.classes

    def division(self, data_name: str, data_dir: Path | None) -> data.Division | None:
        """Returns how to divide a data set, as in training.

        It is None where the training divided nothing, and for data that has splits. A copy of the data set is divided
        as the data set was, so that no training example comes into another split.
        """
        told = self.description.get("division")
        if not told:
            return None
        try:
            division = data.Division(**told)
            data.splits(data_name, data_dir, division=division)
        except ValueError:
            return None
        return division

    def data_name(self, given: str | None) -> str:
        """The data set that was given, else that of the training.

        Raises:
          ValueError: if neither is known.
        """
        name = given or self.description["data"].get("name")
        if name is None:
            raise ValueError(f"`data` must be given with a file of weights; {self.folder} does not record a data set.")
        return name


def open_run(folder: Path) -> Run:
    """Builds a network with the newest parameters of a run.

    The weights may also be those of a file, or of a published name.

    Raises:
      FileNotFoundError: if the folder is not that of a run, or there are no weights of that name.
      ValueError: if it holds no checkpoint, or its configuration is incomplete.
    """
    name = re.sub(r"^(https?):/(?!/)", r"\1://", folder.as_posix())  # Path removes one slash of an address
    if is_name(name):
        return _open_weights(name, *weights.pretrained(name))
    if folder.is_file() or (folder / WEIGHTS).is_file():
        return _open_weights(folder, *weights.open_model(folder))
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
    fed = _preprocessing(description)
    return Run(folder, model, scaling, shape, classes, task, augmentation, description, preprocessing=fed)


def _preprocessing(described: dict[str, Any]) -> Preprocessing | None:
    told = described.get("preprocessing")
    return None if told is None else Preprocessing.of(told)


def _open_weights(file: Path | str, model: nnx.Module, config: dict[str, Any]) -> Run:
    """A network of published weights or a file, as a run.

    The weights' configuration describes pictures and classes; what it lacks has defaults of the network.
    """
    shape = tuple(config.get("image_shape") or models.CARDS[config["name"]].input_shape)
    named = bool(config.get("classes"))
    classes = config["classes"] if named else map(str, range(config["num_classes"]))
    told: dict[str, Any] | None = config.get("scaling")
    if told is None:
        print(f"jaxcnn: {file} has no scaling; images are scaled to [-1, 1].", file=sys.stderr)
        told = {"mean": [0.5] * shape[-1], "std": [0.5] * shape[-1]}
    scaling = Scaling(tuple(told["mean"]), tuple(told["std"]), told.get("unit", 255.0))
    described = {"model": {"name": config["name"], "options": config.get("options", {})}, "data": {}}
    described |= {key: config[key] for key in ("preprocessing", "source") if key in config}
    described["config"] = {**config, "image_shape": list(shape), "scaling": told}
    network = cast(models.Network, model)
    details = dict(config.get("task", {}))
    trained = {"task": details.pop("name", None), "loss": config.get("loss")}
    task = training.task_of({"training": trained, "task": details})
    fed = _preprocessing(config)
    return Run(Path(file), network, scaling, shape, tuple(classes), task, None, described, named, fed)


def told_of(run: Run) -> dict[str, Any]:
    """The configuration of a run's network, as weights files hold it."""
    if (run.folder / "config.json").is_file() and not (run.folder / WEIGHTS).is_file():
        return weights.run_config(run.folder)
    return run.description["config"]


def check_classes(run: Run, what: str) -> None:
    """Checks that a run's task is one class for each example.

    Raises:
      ValueError: if it has another task; the message begins with `what`.
    """
    if not run.task.of_classes:
        raise ValueError(
            f"{what} needs a run with one class for each example; the task of {run.folder} is {run.task.name}."
        )


def check_place(out: Path | None, endings: tuple[str, ...] = ()) -> None:
    """Refuses a file in no folder, or with another ending.

    It does so before anything is computed. Without `endings`, all are allowed.

    Raises:
      ValueError: if its folder does not exist, or its name has another ending.
    """
    if out is not None and not out.parent.is_dir():
        raise ValueError(f"`out` must be in a folder that exists; got {out}.")
    if out is not None and endings and out.suffix.lower() not in endings:
        raise ValueError(f"`out` must end in {' or '.join(endings)}; got {out}.")


def matched(run: Run, dataset: Dataset) -> tuple[Dataset, str]:
    """A data set with a network's numbers of classes.

    Classes are found by name; the second result says in words what that took.

    Raises:
      ValueError: if the network does not know one of its classes, or numbers words otherwise.
    """
    kinds = {run.task.name, dataset.task}
    if len(kinds) > 1 and not kinds <= {"classification", "binary"}:
        raise ValueError(f"`data` must be for {run.task.name}, as {run.folder}; {dataset.name} is for {dataset.task}.")
    trained_on = run.description["data"]
    if dataset.vocabulary and (dataset.name, dataset.features) != (trained_on.get("name"), trained_on.get("features")):
        raise ValueError(f"`data` must be what {run.folder} learned its words from, {run.about}; got {dataset.name}.")
    theirs, ours = len(dataset.classes), len(run.classes)
    if spelled(dataset.classes) == spelled(run.classes):
        return dataset.for_classes(run.classes), ""
    if run.named:
        renumbered = dataset.for_classes(run.classes)
        return renumbered, f"{dataset.name}: its classes are matched by name, {theirs} of the network's {ours}"
    if theirs != ours:
        raise ValueError(f"`data` must have {ours} classes, as {run.folder} tells no names of its own; got {theirs}.")
    return dataset, f"{dataset.name}: its classes are compared by number, as {run.folder} tells no names of its own"


def known_examples(run: Run, data_dir: Path | None) -> Dataset:
    """Examples that a run did not learn from, if any.

    They are from its data set, in the size of its pictures.

    Raises:
      FileNotFoundError: if the data set is not at hand.
      ValueError: if the run records no data set, or its classes are no longer those of the run.
    """
    name = run.description["data"].get("name")
    if name is None:
        raise ValueError(f"{run.folder} does not record a data set.")
    division = run.division(name, data_dir)
    splits = data.splits(name, data_dir, division=division)
    split = next(split for split in ("test", "validation", *splits) if split in splits)
    how = {"image_size": run.image_size(name), "task": run.task.name, "division": division}
    return matched(run, data.load(name, split, data_dir, **how))[0]


def record_evaluation(folder: Path, split: str, evaluation: training.Evaluation) -> None:
    """Keeps a run's result on a split as `evaluation.json`."""
    training.write_atomically(
        folder / "evaluation.json",
        json.dumps({"split": split, "loss": evaluation.loss, "count": evaluation.count, **evaluation.metrics}) + "\n",
    )


def told(evaluation: training.Evaluation) -> str:
    """An evaluation in words."""
    parts = [f"{training.METRICS[name].title} {metric_text(name, value)}" for name, value in evaluation.metrics.items()]
    for name in ("accuracy", "exact_match"):
        if name in evaluation.metrics:
            place = list(evaluation.metrics).index(name)
            parts[place] += f" ({round(evaluation[name] * evaluation.count)} of {evaluation.count})"
            if name == "accuracy":
                parts.insert(place + 1, f"error {100 - 100 * evaluation.accuracy:.2f} %")
    return ", ".join([*parts, f"loss {evaluation.loss:.4f}"])


def metric_text(name: str, value: float) -> str:
    """A metric's value, shares in percent."""
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
