"""Reads run folders like files of weights.

It also builds networks from their configurations.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxcnn import models, training
from jaxcnn.data import Augmentation
from jaxcnn.weights.files import Stored, read
from jaxcnn.weights.schemes import leaves

_DECIDED = ("num_classes", "in_features", "rngs")  # by data and seed
WEIGHTS = "model.safetensors"  # of the folders that `save_pretrained` writes, and of repositories
_SIZED = {"image_size": 3, "clip_shape": 4}  # the options that an example's rank decides


def read_any(path: str | Path) -> Stored:
    """Reads a file or folder of weights as arrays by name.

    Of a run folder, the newest parameters are read; a folder may also be one of `save_pretrained`.

    Raises:
      FileNotFoundError: if there is no such file or folder.
      ValueError: if it is damaged, its format is unknown, or reading it would need to run code from it.
      ImportError: if it needs PyTorch, which is not installed.
    """
    path = Path(path)
    if not path.is_dir():
        return read(path)
    if (path / WEIGHTS).is_file():  # by `save_pretrained`
        return read(path / WEIGHTS)
    config = run_config(path)
    model = empty(config, nnx.Rngs(0))
    training.restore_model(model, path)
    return Stored(path, {name: np.asarray(leaf) for name, leaf in leaves(model).items()}, config)


def run_config(folder: Path) -> dict[str, Any]:
    """Reads the configuration of a run's network, as `save` stores it.

    Returns:
      `name`, `num_classes`, `in_features` and `options`, as arguments of `models.create`; and for its inputs `classes`,
      `image_shape` (of one input of the network), `scaling`, `augment`, `loss` and, but for classification, `task`; for
      a network that began with published weights also `preprocessing` and `source`.

    Raises:
      FileNotFoundError: if the folder is not that of a run.
      ValueError: if its configuration is incomplete.
    """
    description = training.read_description(folder)
    try:
        network, shown = description["model"], description["data"]
        shape, classes = tuple(shown["image_shape"]), list(shown["classes"])
        config, task = training.TrainConfig(**description["training"]), training.task_of(description)
        fed = sized(config, shape)
        return {
            "name": network["name"],
            "num_classes": task.outputs(classes),
            "in_features": shown.get("features", shape[-1]),
            "options": options_for(network["name"], fed, network["options"]),
            "classes": classes,
            "image_shape": list(fed),
            "scaling": description["scaling"],
            "augment": list(config.augment),
            "loss": task.loss,
            **({} if task.name == "classification" else {"task": {"name": task.name, **task.details()}}),
            **{key: description[key] for key in ("preprocessing", "source") if key in description},
        }
    except KeyError as missing:
        raise ValueError(f"{folder / 'config.json'} must have {missing}; it does not.") from None
    except TypeError as error:
        raise ValueError(f"{folder / 'config.json'} must describe this version's training; {error}.") from None


def options_for(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Adds options that follow from the examples' shape.

    They are options of the network.

    Raises:
      ValueError: if the name is unknown, or an option is one that data and seed determine.
    """
    decided = [name for name in options if name in _DECIDED]
    if decided:
        raise ValueError(f"`model_options` must not set {', '.join(decided)}, which data and seed determine.")
    known = models.options_of(name)
    return {key: shape[:-1] for key, rank in _SIZED.items() if key in known and len(shape) == rank} | options


def build(
    name: str, num_classes: int, in_features: int, shape: tuple[int, ...], options: dict[str, Any], seed: int
) -> models.Network:
    """Builds a network by its name, for examples of this shape.

    Its parameters are drawn from a seed.

    Raises:
      ValueError: if the name or an option is unknown, or an option is one that data and seed determine.
    """
    options = options_for(name, shape, options)
    config = {"name": name, "num_classes": num_classes, "in_features": in_features, "options": options}
    return build_from(config, nnx.Rngs(seed))


def build_from(config: dict[str, Any], rngs: nnx.Rngs) -> models.Network:
    """Builds the network that a configuration describes.

    Raises:
      ValueError: if it describes no network, or options that the network does not have.
    """
    name, options = config.get("name"), config.get("options", {})
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ValueError(f"`config` must have the `name` and the `options` of a network; got {str(config)[:60]}.")
    dtypes: dict[str, Any] = {
        key: jnp.dtype(options[key]) for key in ("dtype", "param_dtype") if isinstance(options.get(key), str)
    }
    classes, features = config.get("num_classes"), config.get("in_features")
    return models.create(name, num_classes=classes, in_features=features, rngs=rngs, **(options | dtypes))


def sized(config: training.TrainConfig, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Computes a network's input shape from that of stored examples.

    Crops make it smaller.
    """
    return Augmentation(config.augment).resized(shape) if config.augment and len(shape) == 3 else shape


def abstract(config: dict[str, Any]) -> models.Network:
    """Builds the same network without values.

    It serves only for its names and shapes.
    """
    return nnx.eval_shape(lambda: build_from(config, nnx.Rngs(0)))


def fill(model: nnx.Module, rngs: nnx.Rngs) -> None:
    """Gives an abstract network random streams and zero parameters.

    The zeros are for all parameters that were not loaded.
    """

    def number(leaf: nnx.Variable) -> nnx.Variable:
        value = leaf.get_value()
        if not isinstance(value, jax.ShapeDtypeStruct):
            return leaf
        if isinstance(leaf, nnx.RngKey):
            return leaf.replace(jax.random.split(rngs.dropout(), value.shape) if value.shape else rngs.dropout())
        return leaf.replace(jax.device_put(np.zeros(value.shape, value.dtype)))

    nnx.update(model, nnx.map_state(lambda _, leaf: number(leaf), nnx.state(model)))


def empty(config: dict[str, Any], rngs: nnx.Rngs) -> models.Network:
    """Builds the same network with zeros as parameters.

    This saves the time to draw values that are then replaced.
    """
    model = abstract(config)
    fill(model, rngs)
    return model
