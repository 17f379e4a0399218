"""A network that begins with the parameters of another."""

import dataclasses
from typing import Any

import jax
from flax import nnx

from jaxcnn import models
from jaxcnn.cli.runs import Run
from jaxcnn.data import Dataset, Preprocessing, Scaling
from jaxcnn.data.labels import few, spelled
from jaxcnn.training import Task


def begin_with(run: Run, model: nnx.Module, train: Dataset, seed: int, task: Task) -> tuple[Scaling, str]:
    """Gives a network the parameters and statistics of another.

    The network gets a new head if the classes or the task differ.

    Args:
      run: the other, from a run folder or from weights.
      model: the network that gets them.
      train: what it will be trained on.
      seed: of the new head.
      task: what it will be trained for.

    Returns:
      The scaling that the parameters were trained with, and in words what was done.

    Raises:
      ValueError: if its network is of another kind or size.
    """
    source = run.folder
    old, new = len(run.classes), len(train.classes)
    same = spelled(run.classes) == spelled(train.classes) and run.task.name == task.name
    others = old != new or run.task.name != task.name or (run.named and not same)
    if others and not hasattr(run.model, "replace_head"):
        raise ValueError(
            f"`init` must be of the same classes and task for a network without `replace_head`, as "
            f"{type(run.model).__name__}; {source} is of {run.task.name} with {few(run.classes)}."
        )
    if others:
        run.model.replace_head(task.outputs(train.classes), rngs=nnx.Rngs(seed))
    given, wanted = (nnx.state(network, nnx.Any(nnx.Param, nnx.BatchStat)) for network in (run.model, model))
    there, here = _shapes(given), _shapes(wanted)
    differ = sorted(path for path in there.keys() | here.keys() if there.get(path) != here.get(path))
    if differ:
        path = differ[0]
        sizes = f"{path} is {there.get(path, 'missing')} in it and {here.get(path, 'missing')} here"
        raise ValueError(f"`init` must hold weights of the network to train; {sizes} ({source}).")
    nnx.update(model, jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), given, wanted))
    if others:
        kept = f" in place of {old}" if old != new else f", which are not its {few(run.classes)}"
        what = {"multi_label": "label", "regression": "value"}.get(task.name, "class")
        what += "" if new == 1 else "es" if what == "class" else "s"
        if run.task.name != task.name:
            return run.scaling, f"beginning with {source}, with a new head for {task.name} in place of {run.task.name}"
        return run.scaling, f"beginning with {source}, with a new head for {new} {what}{kept}"
    by_number = "" if same else ", with outputs matched by number, because it has no class names"
    return run.scaling, f"beginning with {source}{by_number}"


def as_fed(run: Run, data_name: str, given: int | None) -> int | Preprocessing | None:
    """Returns how to resize the training pictures.

    A given size takes precedence over the preprocessing of published weights.
    """
    return given if run.preprocessing is None else run.image_size(data_name, given)


def began_with(run: Run, fed: int | Preprocessing | None) -> dict[str, Any]:
    """Returns what a run records about its initial weights.

    This includes the preprocessing if the run uses that of published weights.
    """
    kept = {"preprocessing": dataclasses.asdict(fed)} if isinstance(fed, Preprocessing) else {}
    source = {"source": run.description["source"]} if "source" in run.description else {}
    return {"init": str(run.folder), **kept, **source}


def lowered(model: models.Network) -> tuple[str, ...]:
    """The factors on the layers' learning rates.

    The factor is 0.1 for the trained layers, and 1 for the last layers, which are new.
    """
    heads = {id(layer) for layer in model.head_layers()}
    paths = ["/".join(map(str, path)) for path, module in nnx.iter_modules(model) if id(module) in heads]
    return ("*=0.1", *(f"{path}=1" for path in paths))


def _shapes(state: nnx.State) -> dict[str, tuple[int, ...]]:
    return {"/".join(map(str, path)): leaf.shape for path, leaf in nnx.to_flat_state(state)}
