"""Opens a file of weights as a network.

The network is found by the file's description, or by its names and shapes.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import nnx

from jaxcnn.layers.with_options import with_options
from jaxcnn.models.importing import is_own
from jaxcnn.models.resnet import IMAGENET
from jaxcnn.ops.rule import Rule
from jaxcnn.weights.files import Stored
from jaxcnn.weights.loading import Report, put, warn_of_others
from jaxcnn.weights.parts import canonical, holders, part_of, under
from jaxcnn.weights.runs import abstract, fill, read_any

Shapes = Mapping[str, tuple[int, ...]]

# a name by which each kind of network is looked for
_MARKS = ("inception3a.branch1.conv.weight", "features.0.weight", "layer1.0.conv1.weight", "fc3.weight")
_FLAX_MARK = r"params\.\w*ResNetBlock_\d+\.Conv_0\.kernel"

# what torchvision's and Flax's networks for ImageNet were trained on, and what torchvision's GoogLeNet was
_IMAGENET_SCALING = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "unit": 255.0}
_HALF_SCALING = {"mean": [0.5] * 3, "std": [0.5] * 3, "unit": 255.0}


def open_model(
    file: str | Path, *, rngs: nnx.Rngs | None = None, part: str | None = None, rule: Rule = "hand"
) -> tuple[nnx.Module, dict[str, Any]]:
    """Builds a file's network, and loads the weights into it.

    Args:
      file: as in `load`. Files of `save` and run folders describe their network. In other files, these networks are
        recognized by names and shapes: those of torchvision, timm's ResNets and VGG, ResNets for CIFAR, the LeNet-5 of
        PyTorch's tutorials (for 32x32 images, without a border) and those of Flax's example.
      rngs: random streams, for dropout in further training.
      part: key in the file under which the weights are, as in `load`.
      rule: `"hand"` or `"autodiff"`, which also differentiates in forward mode; as in `models.with_options`.

    Returns:
      The network, in evaluation mode, and its configuration: `name`, `num_classes`, `in_features` and `options`, as
      arguments of `models.create`, and further values from the file, as `classes`, `image_shape` and `scaling`.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged, or its network is not known.
      ImportError: if it needs PyTorch, which is not installed.
    """
    model, config, _ = open_stored(read_any(file), rngs, part=part)
    return (model if rule == "hand" else with_options(model, rule=rule)), config


def open_stored(
    stored: Stored,
    rngs: nnx.Rngs | None = None,
    config: dict[str, Any] | None = None,
    part: str | None = None,
) -> tuple[nnx.Module, dict[str, Any], Report]:
    """The same as `open_model`, for a file that is read.

    It also returns the report of the loading.
    """
    asked, config = part, config or stored.config
    if config is None:
        part, config = _recognized(stored, part)
    if is_own(config.get("name")) and stored.path.is_file():
        code = f"code, {config['name']}, which opening a file does not run; build it yourself and use `weights.load`"
        raise ValueError(f"{stored.path} must be of a network of jaxcnn; its network is made by {code}.")
    try:
        model = abstract(config)
    except Exception as error:  # whatever a constructor makes of values that nobody checked
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise ValueError(f"{stored.path} must describe a network that can be built; {reason}.") from None
    report = put(model, stored, part=part)  # before anything as large as the network is allocated
    warn_of_others(report, asked, stacklevel=4)
    fill(model, nnx.Rngs(0) if rngs is None else rngs)
    model.eval()
    return model, config, report


def recognize(stored: Stored) -> dict[str, Any]:
    """Recognizes the network of a file by names and shapes.

    It returns its configuration.

    Raises:
      ValueError: if the network is not known.
    """
    return _recognized(stored, None)[1]


def _recognized(stored: Stored, part: str | None) -> tuple[str, dict[str, Any]]:
    """The part with a known network's weights, and the network's configuration."""
    for label in holders(stored.arrays, lambda name: name in _MARKS or re.fullmatch(_FLAX_MARK, name) is not None):
        if not under(label, part):
            continue
        shapes = {canonical(name): array.shape for name, array in part_of(stored.arrays, label).arrays.items()}
        for reader in (_inception, _plain, _residual, _tutorial, _flax):
            try:
                config = reader(shapes)
            except (KeyError, IndexError, ValueError, StopIteration):  # names of the kind, but not all, or other shapes
                continue
            if config is not None:
                return label, config
    where = "" if part is None else f" in {part}"
    raise ValueError(
        f"{stored.path} must describe its network, or have{where} the names of a known one; "
        f"its names begin with {next(iter(stored.arrays))}."
    )


def _config(
    name: str, classes: int, channels: int, image_size: int, scaling: Mapping[str, Any] | None, **options: Any
) -> dict[str, Any]:
    config = {"name": name, "num_classes": classes, "in_features": channels, "options": options}
    config["image_shape"] = [image_size, image_size, channels]
    return config if scaling is None or channels != 3 else config | {"scaling": dict(scaling)}


def _inception(shapes: Shapes) -> dict[str, Any] | None:
    if "inception3a.branch1.conv.weight" not in shapes:
        return None
    classes, channels = shapes["fc.weight"][0], shapes["conv1.conv.weight"][1]
    aids = "aux1.fc1.weight" in shapes
    return _config("googlenet_torchvision", classes, channels, 224, _HALF_SCALING, auxiliary=aids)


def _plain(shapes: Shapes) -> dict[str, Any] | None:
    """AlexNet and VGG, by their convolutions."""
    if "features.0.weight" not in shapes:
        return None
    timm = "pre_logits.fc1.weight" in shapes  # whose dense layers are convolutions
    head, dense = ("head.fc", "pre_logits.fc1") if timm else ("classifier.6", "classifier.0")
    convs = sum(len(shape) == 4 and name.startswith("features.") for name, shape in shapes.items())
    classes, channels = shapes[f"{head}.weight"][0], shapes["features.0.weight"][1]
    common = classes, channels, 224, _IMAGENET_SCALING
    if shapes["features.0.weight"][-1] == 11:
        hidden = shapes["classifier.1.weight"][0], shapes["classifier.4.weight"][0]
        return _config("alexnet_torchvision", *common, hidden=hidden)
    normalized = "_bn" if any(name.endswith("running_mean") for name in shapes) else ""
    hidden = shapes[f"{dense}.weight"][0]
    return _config(f"vgg{convs + 3}{normalized}", *common, grid=(7, 7), hidden=hidden)


def _residual(shapes: Shapes) -> dict[str, Any] | None:
    if "layer1.0.conv1.weight" not in shapes:
        return None
    blocks = {match[0] for name in shapes if (match := re.match(r"layer(\d+)\.\d+\.", name))}
    counts = tuple(count for _, count in sorted(Counter(block.split(".")[0] for block in blocks).items()))
    bottleneck = "layer1.0.conv3.weight" in shapes
    head = next(shapes[name] for name in ("fc.weight", "linear.weight") if name in shapes)
    projected = any(".downsample." in name or ".shortcut." in name for name in shapes)
    return _by_depth(counts, bottleneck, head[0], shapes["conv1.weight"], projected)


def _tutorial(shapes: Shapes) -> dict[str, Any] | None:
    """LeNet-5 as in PyTorch's tutorials: for images without a border."""
    channels, classes = shapes["conv1.weight"][1], shapes["fc3.weight"][0]
    wanted = {"conv1": (6, channels, 5, 5), "conv2": (16, 6, 5, 5), "fc1": (120, 400), "fc2": (84, 120)}
    if any(shapes[f"{name}.weight"] != shape for name, shape in wanted.items()):
        return None
    return _config("lenet5", classes, channels, 32, None, border=0)


def _flax(shapes: Shapes) -> dict[str, Any] | None:
    blocks = [name for name in shapes if re.fullmatch(_FLAX_MARK, name)]
    if not blocks:
        return None
    widths = Counter(shapes[name][-1] for name in blocks)
    counts = tuple(count for _, count in sorted(widths.items()))
    kernel, classes = shapes["params.conv_init.kernel"], shapes["params.Dense_0.kernel"][1]
    config = _by_depth(counts, "Bottleneck" in blocks[0], classes, kernel[::-1], True)
    return None if config is None else config | {"options": config["options"] | {"padding": "same"}}


def _by_depth(
    counts: tuple[int, ...], bottleneck: bool, classes: int, stem: tuple[int, ...], projected: bool
) -> dict[str, Any] | None:
    """The residual network with these numbers of blocks in its stages.

    Its first kernel is (O, I, height, width).
    """
    width, channels, _, window = stem
    for depth, plan in IMAGENET.items():
        if plan == (counts, bottleneck) and window == 7:
            options = _widths(width, 64, 4) | ({} if projected else {"shortcut": "A"})
            return _config(f"resnet{depth}", classes, channels, 224, _IMAGENET_SCALING, **options)
    if len(counts) == 3 and len(set(counts)) == 1 and not bottleneck:
        options = _widths(width, 16, 3) | {"shortcut": "B" if projected else "A"}
        return _config(f"resnet{6 * counts[0] + 2}", classes, channels, 32, None, **options)
    return None


def _widths(first: int, usual: int, stages: int) -> dict[str, Any]:
    return {} if first == usual else {"widths": [first * 2**stage for stage in range(stages)]}
