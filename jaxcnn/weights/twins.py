"""Compares a network with its twin in PyTorch, stage by stage.

Both have the same weights and get the same pictures.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import models
from jaxcnn.weights.comparison import Comparison, compare
from jaxcnn.weights.names import is_residual
from jaxcnn.weights.saving import to_torch


def parity(
    model: models.Network,
    twin: Any,
    images: ArrayLike,
    *,
    scheme: str = "torchvision",
    tolerance: float = 1e-4,
    loaded: bool = False,
) -> Comparison:
    """Compares a network with its PyTorch twin on the same images.

    Without `loaded`, the twin first gets the network's weights.

    Args:
      model: the network; it is used in evaluation mode and stays unchanged.
      twin: a `torch.nn.Module` with the names of torchvision or timm, as `timm.create_model("resnet50")`. It gets the
        network's weights, unless it is `loaded`.
      images: `(N, H, W, C)`, as the network takes them.
      scheme: the names of the twin's weights, as in `to_torch`.
      tolerance: the largest difference allowed, as a share of the largest value of the twin's stage.
      loaded: whether the twin has its weights already, from the file from which the network's came.

    Returns:
      The differences by stage, the logits last, as `head`.

    Raises:
      ValueError: if the scheme has no names for the network, or the twin is of another network.
      ImportError: if PyTorch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise ModuleNotFoundError("`parity` needs PyTorch: pip install 'jaxcnn[torch]'.") from None
    if not loaded:
        fill(twin, to_torch(model, scheme), scheme)
    modules, seen, hooks = dict(twin.named_modules()), {}, []
    for stage, name in _modules(model).items():
        if name in modules:

            def keep(module: Any, inputs: Any, output: Any, stage: str = stage) -> None:
                seen[stage] = output.detach().clone()  # an activation in place may follow

            hooks.append(modules[name].register_forward_hook(keep))
    twin.eval()
    try:
        with torch.no_grad():
            logits = twin(torch.from_numpy(np.moveaxis(np.asarray(images, np.float32), -1, 1).copy()))
    finally:
        for hook in hooks:
            hook.remove()
    reference = {"images": np.moveaxis(np.asarray(images, np.float32), -1, 1)}
    reference |= {stage: _flat(output.numpy()) for stage, output in seen.items()} | {"head": logits.numpy()}
    return compare(model, reference, channels_first=True, tolerance=tolerance)


def fill(twin: Any, arrays: Mapping[str, np.ndarray], names: str) -> None:
    """Gives a module of PyTorch its weights.

    Raises:
      ValueError: if it has other weights; `names` says in the message whose the given ones are.
    """
    import torch

    try:
        twin.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"`twin` must have the names of {names} for this network; {reason}.") from None


def _modules(model: nnx.Module) -> Mapping[str, str]:
    """The names of torchvision's and timm's modules for our stages.

    The outputs of these modules are our stages.
    """
    if isinstance(model, models.VGG):
        return _vgg(model)
    if isinstance(model, models.GoogLeNet):
        return {f"inception{block}": f"inception{block}" for block in model.blocks}
    if isinstance(model, models.AlexNet):
        return {f"pool{number}": f"features.{place}" for number, place in ((1, 2), (2, 5), (5, 12))}
    if not is_residual(model):
        return {}
    names = {"pool1": "maxpool"} if isinstance(model, models.ResNet) else {}
    for number, stage in enumerate(model.blocks):
        names |= {f"conv{number + 2}_{place + 1}": f"layer{number + 1}.{place}" for place in range(len(stage))}
    return names


def _vgg(model: models.VGG) -> dict[str, str]:
    """The pools, after which nothing is changed in place."""
    names, place = {}, 0
    for number, block in enumerate(model.blocks, start=1):
        place += sum(2 + (unit.norm is not None) for unit in block)
        names[f"pool{number}"] = f"features.{place}"
        place += 1
    return names


def _flat(array: np.ndarray) -> np.ndarray:
    """Removes the axes of length 1 that global pooling leaves."""
    return array.reshape(array.shape[:2]) if array.ndim == 4 and array.shape[2:] == (1, 1) else array
