"""The names of our networks' modules in other libraries.

There is one small table for each library.
"""

from collections.abc import Callable, Iterator
from typing import TypeGuard, cast

from flax import nnx

from jaxcnn import layers, models

Names = dict[str, str]  # from the path of a module of ours to its name in the other library


def torchvision(model: nnx.Module) -> Names | None:
    """Returns the names of torchvision, for ResNets also those of timm.

    It returns None for a network that torchvision does not have.
    """
    if isinstance(model, models.AlexNet):
        places = {f"convs/{i}": f"features.{place}" for i, place in enumerate((0, 3, 6, 8, 10))}
        return places | {"dense1": "classifier.1", "dense2": "classifier.4", "head": "classifier.6"}
    if isinstance(model, models.VGG):
        return dict(_vgg(model))
    if isinstance(model, models.GoogLeNet):
        return dict(_googlenet(model))
    return residual(model, "fc", "downsample")


def timm(model: nnx.Module) -> Names | None:
    """Returns the names of timm, where VGG's dense layers are convolutions."""
    if isinstance(model, models.VGG):
        dense = {"dense1": "pre_logits.fc1", "dense2": "pre_logits.fc2", "head": "head.fc"}
        return dict(_vgg(model)) | dense
    return residual(model, "fc", "downsample")


def residual(model: nnx.Module, head: str, shortcut: str) -> Names | None:
    """Returns the names of residual networks in PyTorch.

    They differ only in those of head and shortcut.
    """
    if not is_residual(model):
        return None
    names = {"conv1/conv": "conv1", "conv1/norm": "bn1", "head": head}
    for path, stage, place, block in _blocks(model):
        theirs = f"layer{stage + 1}.{place}"
        for unit in range(len(block.units)):
            names[f"{path}/units/{unit}/conv"] = f"{theirs}.conv{unit + 1}"
            names[f"{path}/units/{unit}/norm"] = f"{theirs}.bn{unit + 1}"
        names |= {f"{path}/shortcut/{ours}": f"{theirs}.{shortcut}.{i}" for i, ours in enumerate(("conv", "norm"))}
    return names


def lenet(model: nnx.Module, names: tuple[str, ...]) -> Names | None:
    """Returns LeNet-5's names in PyTorch, in the layers' order."""
    ours = ("conv1", "conv2", "dense1", "dense2", "head")
    return dict(zip(ours, names, strict=True)) if isinstance(model, models.LeNet5) else None


def tutorial(model: nnx.Module) -> Names | None:
    """Returns the names in PyTorch's tutorials.

    They are those of LeNet-5 and of multilayer perceptrons.
    """
    if isinstance(model, models.MLP):
        paths = [*(f"dense/{i}" for i in range(len(model.dense))), "head"]
        return {path: f"fc{number}" for number, path in enumerate(paths, start=1)}
    return lenet(model, ("conv1", "conv2", "fc1", "fc2", "fc3"))


def flax(model: nnx.Module) -> Names | None:
    """Returns the names in Flax's ImageNet example.

    It numbers blocks through all stages.
    """
    if not isinstance(model, models.ResNet) or not is_residual(model):
        return None
    names = {"conv1/conv": "conv_init", "conv1/norm": "bn_init", "head": "Dense_0"}
    for number, (path, *_, block) in enumerate(_blocks(model)):
        theirs = f"{'BottleneckResNetBlock' if len(block.units) == 3 else 'ResNetBlock'}_{number}"
        for unit in range(len(block.units)):
            names[f"{path}/units/{unit}/conv"] = f"{theirs}/Conv_{unit}"
            names[f"{path}/units/{unit}/norm"] = f"{theirs}/BatchNorm_{unit}"
        names |= {f"{path}/shortcut/conv": f"{theirs}/conv_proj", f"{path}/shortcut/norm": f"{theirs}/norm_proj"}
    return names


def is_residual(model: nnx.Module) -> TypeGuard[models.ResNet | models.CifarResNet]:
    """Whether a network is a residual or plain one, version 1.

    All other libraries have this version.
    """
    return isinstance(model, models.ResNet | models.CifarResNet) and model.final_norm is None


def _blocks(model: models.ResNet | models.CifarResNet) -> Iterator[tuple[str, int, int, layers.ResidualBlock]]:
    for stage, blocks in enumerate(model.blocks):
        for place, block in enumerate(blocks):
            yield f"blocks/{stage}/{place}", stage, place, cast(layers.ResidualBlock, block)


def _vgg(model: models.VGG) -> Iterator[tuple[str, str]]:
    number = 0
    for stage, block in enumerate(model.blocks):
        for place, unit in enumerate(block):
            path, normalized = f"blocks/{stage}/{place}", unit.norm is not None
            yield f"{path}/conv", f"features.{number}"
            yield f"{path}/norm", f"features.{number + 1}"
            number += 2 + normalized  # and the activation
        number += 1  # the pool
    yield from {"dense1": "classifier.0", "dense2": "classifier.3", "head": "classifier.6"}.items()


def _googlenet(model: models.GoogLeNet) -> Iterator[tuple[str, str]]:
    units = {"conv1": "conv1", "conv2_reduce": "conv2", "conv2": "conv3"}
    for block in model.blocks:
        ours, theirs = f"blocks/{block}", f"inception{block}"
        units |= {f"{ours}/branches/0/0": f"{theirs}.branch1", f"{ours}/projection": f"{theirs}.branch4.1"}
        units |= {f"{ours}/branches/{i}/{j}": f"{theirs}.branch{i + 1}.{j}" for i in (1, 2) for j in (0, 1)}
    for aid in model.auxiliary_heads:
        units[f"auxiliary_heads/{aid}/conv"] = f"{aid}.conv"
        yield f"auxiliary_heads/{aid}/dense", f"{aid}.fc1"
        yield f"auxiliary_heads/{aid}/head", f"{aid}.fc2"
    for ours, theirs in units.items():
        yield f"{ours}/conv", f"{theirs}.conv"
        yield f"{ours}/norm", f"{theirs}.bn"
    yield "head", "fc"


def by_path(model: nnx.Module) -> Names | None:
    """Returns our own paths, with dots as in PyTorch."""
    if isinstance(model, models.PReLUNet):  # flattens a pyramid, whose order is no single layout's
        return None
    paths = ("/".join(map(str, path)) for path, _ in nnx.iter_modules(model))
    return {path: path.replace("/", ".") for path in paths if path}


MODULES: dict[str, Callable[[nnx.Module], Names | None]] = {
    "torchvision": torchvision,
    "timm": timm,
    "cifar": lambda model: residual(model, "linear", "shortcut"),
    "cifar_fc": lambda model: residual(model, "fc", "shortcut"),
    "cifar_linear": lambda model: residual(model, "linear", "downsample"),
    "tutorial": tutorial,
    # LeNet-5 of two parts, flattened between or at the beginning of the second, and of one
    "features": lambda model: lenet(model, ("features.0", "features.3", *(f"classifier.{i}" for i in (0, 2, 4)))),
    "features_flatten": lambda model: lenet(
        model, ("features.0", "features.3", *(f"classifier.{i}" for i in (1, 3, 5)))
    ),
    "sequential": lambda model: lenet(model, ("0", "3", "7", "9", "11")),
    "flax": flax,
    "pytorch": by_path,
}
