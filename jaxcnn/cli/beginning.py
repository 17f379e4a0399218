"""A network that begins with the parameters of another."""

from pathlib import Path

import jax
from flax import nnx

from jaxcnn.cli.runs import open_run
from jaxcnn.data import Dataset, Scaling
from jaxcnn.data.labels import few, spelled
from jaxcnn.training import Task


def begin_with(source: Path, model: nnx.Module, train: Dataset, seed: int, task: Task) -> tuple[Scaling, str]:
    """Gives a network the parameters and statistics of another, which is left with a new head for other classes.

    Args:
      source: run folder or file of weights.
      model: the network that gets them.
      train: what it will be trained on.
      seed: of the new head.
      task: what it will be trained for.

    Returns:
      The scaling that the parameters were trained with, and in words what was done.

    Raises:
      FileNotFoundError: if there is no such run or file.
      ValueError: if its network is of another kind or size.
    """
    run = open_run(source)
    old, new = len(run.classes), len(train.classes)
    same = spelled(run.classes) == spelled(train.classes) and run.task.name == task.name
    others = old != new or run.task.name != task.name or (run.named and not same)
    if others:
        run.model.replace_head(task.outputs(train.classes), rngs=nnx.Rngs(seed))
    given, wanted = (nnx.state(network, nnx.Any(nnx.Param, nnx.BatchStat)) for network in (run.model, model))
    there, here = _shapes(given), _shapes(wanted)
    differ = sorted(path for path in there.keys() | here.keys() if there.get(path) != here.get(path))
    if differ:
        path = differ[0]
        sizes = f"{path} is {there.get(path, 'missing')} in it and {here.get(path, 'missing')} here"
        raise ValueError(f"`init` must be of the network that is trained; {sizes} ({source}).")
    nnx.update(model, jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), given, wanted))
    if others:
        kept = f" in place of {old}" if old != new else f", which are not its {few(run.classes)}"
        if run.task.name != task.name:
            return run.scaling, f"beginning with {source}, with a new head for {task.name} in place of {run.task.name}"
        return run.scaling, f"beginning with {source}, with a new head for {new} classes{kept}"
    by_number = "" if same else ", its outputs taken by number, as it tells no names of classes"
    return run.scaling, f"beginning with {source}{by_number}"


def _shapes(state: nnx.State) -> dict[str, tuple[int, ...]]:
    return {"/".join(map(str, path)): leaf.shape for path, leaf in nnx.to_flat_state(state)}
