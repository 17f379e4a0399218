"""Reads the configurations of timm's repositories.

It refuses by name the variants that our networks do not cover.
"""

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcnn.data import Preprocessing, imagenet_classes
from jaxcnn.models.resnet import IMAGENET
from jaxcnn.models.vgg import BLOCKS

NETWORKS = (*(f"resnet{depth}" for depth in IMAGENET), *(f"vgg{depth}{bn}" for depth in BLOCKS for bn in ("", "_bn")))
IMAGENET_CLASSES = 1000
_DEEP = "a stem of three 3x3 convolutions"
# timm's other residual networks: some have the very names and shapes of these, and compute something else
_OTHERS = {
    r"(legacy_)?(se|sene|seresne)\w*": "squeeze-and-excitation",
    r"ecaresnet\w*": "efficient channel attention",
    r"(sk|gc)resnet\w*": "channel attention",
    r"resnetrs\w*": f"squeeze-and-excitation and {_DEEP}",
    r"resnet(aa|blur)\w*|\w*resnet\d*blur\w*": "anti-aliasing in its strides",
    r"resnetv2\w*": "pre-activation with standardized weights",
    r"(wide_resnet|resnext)\w*": "wider or grouped 3x3 convolutions",
    r"resnet\d+_gn": "group normalization",
    r"resnet\d+(d|t|ts|q)": f"{_DEEP} and shortcuts with average pooling",
    r"resnet\d+(c|s)": _DEEP,
    r"resnet\d+": "another depth or another kind of block",
}
_HARMLESS = ("drop_path_rate", "drop_rate", "in_chans", "num_classes")


def read_config(file: Path) -> dict[str, Any]:
    """Reads a configuration, which is one object in JSON.

    Raises:
      ValueError: if it is anything else.
    """
    try:
        config = json.loads(file.read_text("utf-8"))
    except (ValueError, UnicodeDecodeError):
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"{file.name} must be one object in JSON; got {file.read_bytes()[:40]!r}.")
    return config


def network_of(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Converts timm's configuration of a network to ours.

    Args:
      config: the content of `config.json`.
      name: name of the weights, for messages.

    Returns:
      `name`, `num_classes`, `in_features` and `options`, as arguments of `models.create`; `preprocessing`; and
      `classes` if they are known.

    Raises:
      ValueError: if it is of a network that ours do not cover; the message says in what it differs.
    """
    kind = config.get("architecture")
    if kind is None:
        raise ValueError(
            f"`name` must be of a repository in timm's form, or written by `save_pretrained`; config.json of {name} "
            "tells no `architecture`."
        )
    if kind not in NETWORKS:
        other = next((what for pattern, what in _OTHERS.items() if re.fullmatch(pattern, str(kind))), None)
        differs = f", which has {other}" if other else ""
        raise ValueError(f"`name` must be of a network that jaxcnn has; {name} is timm's {kind}{differs}.")
    strange = {key: value for key, value in (config.get("model_args") or {}).items() if key not in _HARMLESS}
    if strange:
        told = ", ".join(f"{key}={value}" for key, value in strange.items())
        raise ValueError(f"`name` must be of a network that jaxcnn has; {name} is a {kind} with {told}.")
    pool = config.get("global_pool", "avg")
    if pool not in ("avg", "", None):
        raise ValueError(f"`name` must be of a network with average pooling at its end; {name} has {pool!r}.")
    preprocessing = preprocessing_of(config, name)
    classes = config.get("num_classes") or _cfg(config).get("num_classes", IMAGENET_CLASSES)
    labels = _cfg(config).get("label_names") or config.get("label_names")
    ours: dict[str, Any] = {
        "name": kind,
        "num_classes": classes,
        "in_features": len(preprocessing.mean),
        "options": {"grid": [7, 7]} if kind.startswith("vgg") else {},
        "preprocessing": dataclasses.asdict(preprocessing),
    }
    if labels and len(labels) == classes:
        ours["classes"] = list(map(str, labels))
    elif classes == IMAGENET_CLASSES:  # as in timm
        ours["classes"] = list(imagenet_classes().ids)
    return ours


def preprocessing_of(config: Mapping[str, Any], name: str) -> Preprocessing:
    """Reads how pictures are resized, cut and scaled.

    Args:
      config: the content of `config.json`.
      name: name of the weights, for messages.

    Returns:
      The preprocessing for timm's usual size of evaluation; `test_input_size` is not used, as in timm.

    Raises:
      ValueError: if a field is missing, or pictures are fitted in another way.
    """
    told = _cfg(config)
    try:
        channels, height, width = told["input_size"]
        mean, std, crop = told["mean"], told["std"], told.get("crop_pct") or 0.875
        mode = told.get("crop_mode") or "center"
        if mode != "center" or height != width or len(mean) != channels:
            raise ValueError(f"{name} must cut a square out of the middle; got {mode!r} and {height}x{width}.")
        return Preprocessing((height, width), math.floor(height / crop), told["interpolation"], mean, std)
    except (KeyError, TypeError):
        needed = "input_size, interpolation, mean and std"
        raise ValueError(f"config.json of {name} must describe how pictures are prepared: {needed}.") from None


def _cfg(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part about pictures, which older files have at the top."""
    inner = config.get("pretrained_cfg")
    return inner if isinstance(inner, dict) else config
