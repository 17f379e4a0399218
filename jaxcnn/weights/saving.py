"""Writes a network's weights, in our names or another library's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from jaxcnn import models
from jaxcnn.weights.files import PYTORCH, known_suffix, write
from jaxcnn.weights.runs import abstract
from jaxcnn.weights.schemes import entries, leaves, objection


def save(
    model: nnx.Module,
    file: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    scheme: str | None = None,
) -> Path:
    """Writes a network's weights: parameters, statistics, fixed vectors.

    Args:
      model: the network.
      file: `.safetensors` or `.npz`; with PyTorch installed also `.pt`, `.pth`, `.th`.
      config: the values from which `open_model` rebuilds the network: `name`, `num_classes`, `in_features` and
        `options`, as arguments of `models.create`. They are stored as JSON in the metadata, with further values, as
        `classes` and `scaling`. A PyTorch file cannot contain them.
      scheme: the naming scheme, of `SCHEMES`, for names and layouts; by default ours. In a PyTorch file the default is
        that of `to_torch`, or `"pytorch"` if `to_torch` has no names for the network or `open_model` would mistake them
        for another network.

    Returns:
      The path of the file.

    Raises:
      ValueError: if the suffix or the scheme is unknown, the scheme has no names for the network, or `config` describes
        another network.
    """
    file = Path(file)
    in_pytorch = known_suffix(file) in PYTORCH
    if scheme is None:
        scheme = "jaxcnn" if not in_pytorch else _for_pytorch(model)
    if config is not None:
        config = dict(config)
        _check_config(model, config)
    kind = "flax" if scheme in ("jaxcnn", "flax") else "pt"
    write(file, to_torch(model, scheme), None if in_pytorch else config, kind)
    return file


def to_torch(model: nnx.Module, scheme: str | None = None) -> dict[str, np.ndarray]:
    """Converts a network's weights to another library's names and layouts.

    It is the inverse of `load`.

    Args:
      model: the network.
      scheme: `"torchvision"`, `"timm"`, `"cifar"` (`linear` and `shortcut`; `"cifar_fc"` and `"cifar_linear"` have one
        of the two), `"tutorial"` (`conv1` to `fc3`, for LeNet-5 and perceptrons), `"features"`, `"features_flatten"`
        and `"sequential"` (LeNet-5 in `Sequential` modules), `"pytorch"` (our paths with dots, PyTorch's layouts, for
        your own network), `"flax"` or `"jaxcnn"`. By default that of torchvision, or of the tutorials for networks that
        torchvision does not have.

    Returns:
      Arrays by name. `torch.from_numpy` converts them to tensors for `load_state_dict`.

    Raises:
      ValueError: if the scheme is unknown, has no names for the network, or names one that computes something else.
    """
    if scheme is None:
        scheme = "torchvision" if entries(model, "tutorial") is None else "tutorial"
    reason = _why_not(model, scheme)
    if reason is not None:
        raise ValueError(f"`scheme` {scheme!r} must have names for the network; {reason}.")
    ours, arrays = leaves(model), {}
    for entry in entries(model, scheme) or []:
        array = np.asarray(ours[entry.path])
        arrays[entry.name] = np.array(entry.layout.write(array), order="C")
        if entry.less is not None:
            arrays[entry.less] = np.zeros_like(array)
        if entry.name.endswith(".running_mean"):  # PyTorch counts, and asks for the count
            arrays[entry.name.removesuffix("running_mean") + "num_batches_tracked"] = np.array(0)
    return arrays


def _for_pytorch(model: nnx.Module) -> str:
    """The scheme of a PyTorch file.

    Such a file describes its network only by names.
    """
    bordered = isinstance(model, models.LeNet5) and model.input_shape[0] != 32
    known = ("torchvision", "pytorch") if bordered else ("torchvision", "tutorial")
    return next((scheme for scheme in known if _why_not(model, scheme) is None), "pytorch")


def _why_not(model: nnx.Module, scheme: str) -> str | None:
    if entries(model, scheme) is None:
        return f"it has none for a {type(model).__name__} with these options"
    return objection(model, scheme)


def _check_config(model: nnx.Module, config: dict[str, Any]) -> None:
    """Refuses a configuration that builds another network than this one."""
    wanted = {path: leaf.shape for path, leaf in leaves(model).items()}
    built = {path: leaf.shape for path, leaf in leaves(abstract(config)).items()}
    differ = sorted(path for path in wanted.keys() | built.keys() if wanted.get(path) != built.get(path))
    if differ:
        at = differ[0]
        raise ValueError(
            f"`config` must build the network that is saved; {at} is {wanted.get(at)} in the network, "
            f"{built.get(at)} in that of `config`."
        )
