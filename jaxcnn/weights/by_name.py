"""Opens trained networks by name.

They come from the hub, from plain addresses, or from folders.
"""

import dataclasses
import difflib
from pathlib import Path
from typing import Any, NamedTuple, cast

from flax import nnx

from jaxcnn import models
from jaxcnn.data import Preprocessing
from jaxcnn.layers.with_options import with_options
from jaxcnn.ops.rule import Rule
from jaxcnn.weights import hub, timm, urls
from jaxcnn.weights.files import SUFFIXES, Stored
from jaxcnn.weights.opening import open_stored, recognize
from jaxcnn.weights.published import PRETRAINED, default_of
from jaxcnn.weights.runs import read_any

_HUB = "hf-hub:"  # timm's prefix
_ADDRESS = ("http://", "https://")


class TrainedWeights(NamedTuple):
    """Trained weights on this machine.

    Args:
      stored: what the file holds.
      config: configuration of the network, as arguments of `models.create`, with what is known of its inputs.
      source: the origin: `name`, `license`, `sha256`, and `repository` with `revision`, or `url`.
    """

    stored: Stored
    config: dict[str, Any]
    source: dict[str, Any]


def pretrained(
    name: str | Path,
    *,
    num_classes: int | None = None,
    revision: str | None = None,
    rngs: nnx.Rngs | None = None,
    rule: Rule = "hand",
) -> tuple[models.Network, dict[str, Any]]:
    """Opens a trained network by name; its weights are downloaded once.

    Args:
      name: one of

        - a network, as `"resnet50"`, which means its first weights in `PRETRAINED`;
        - a key of `PRETRAINED`, as `"timm/resnet50.a1_in1k"` or `"torchvision/resnet50-0676ba61.pth"`;
        - any repository of the hub, `"OWNER/NAME"`, in timm's form or written by `save_pretrained`; with
          `"@REVISION"` at its end as with `revision`;
        - an address, `"https://..."`, of a file whose SHA-256 begins with the digits at the end of its name, or after
          `"#sha256="`; PyTorch's files need PyTorch;
        - a folder that `save_pretrained` wrote, or a file of weights.
      num_classes: gives the network a new last layer for so many classes, drawn from `rngs`.
      revision: commit, branch or tag of a repository; by default the one that was downloaded first, or else the newest.
      rngs: random streams, for a new last layer and for dropout in further training.
      rule: `"hand"` or `"autodiff"`, as in `open_model`.

    Returns:
      The network, in evaluation mode, and its configuration: `name`, `num_classes`, `in_features` and `options`, as
      arguments of `models.create`; `image_shape`, `scaling` and `preprocessing` of its inputs, the last as arguments of
      `data.Preprocessing`; `classes`; and `source`, with the commit and the SHA-256 that were loaded.

    Raises:
      FileNotFoundError: if there are no such weights, or they are not in the cache and `HF_HUB_OFFLINE` is set.
      PermissionError: if the repository is gated.
      ConnectionError: if the server does not answer.
      ValueError: if the file is damaged or has another digest, or is of a network that ours do not cover.
      ImportError: if `huggingface_hub` or PyTorch is needed and not installed.
    """
    trained = find(name, revision)
    rngs = nnx.Rngs(0) if rngs is None else rngs
    built, config, _ = open_stored(trained.stored, rngs, trained.config)
    model = cast(models.Network, built)
    config = {**config, "source": trained.source}
    if num_classes is not None:
        model.replace_head(num_classes, rngs=rngs)
        config = {key: value for key, value in config.items() if key != "classes"} | {"num_classes": num_classes}
    return (model if rule == "hand" else with_options(model, rule=rule)), config


def find(name: str | Path, revision: str | None = None) -> TrainedWeights:
    """Finds trained weights by name, and downloads them if needed.

    Arguments and errors are as in `pretrained`.
    """
    if isinstance(name, str) and name.startswith(_ADDRESS):
        return _at_address(name)
    if isinstance(name, Path) or Path(name).exists():
        stored = read_any(name)
        return TrainedWeights(stored, _completed(stored.config or recognize(stored)), {"name": str(name)})
    name = _named(name.removeprefix(_HUB))
    if name in PRETRAINED and PRETRAINED[name].url:
        return _at_address(name)
    name, at, commit = name.partition("@")
    if at and revision is not None and revision != commit:
        raise ValueError(f"`revision` must be given once; got {commit!r} and {revision!r}.")
    repository = hub.from_hub(name, commit if at else revision)
    stored = read_any(repository.weights)
    config = stored.config
    if config is None:
        if repository.config is None:
            raise ValueError(f"{name} must have a config.json that describes its network; it has none.")
        config = timm.network_of(timm.read_config(repository.config), name)
    source = {"name": name, "repository": name, "revision": repository.commit, "sha256": repository.sha256}
    published = PRETRAINED.get(name)
    return TrainedWeights(stored, _completed(config), source | ({"license": published.license} if published else {}))


def is_name(text: str) -> bool:
    """Whether a text means published weights.

    The path of a file or of a run's folder does not, even if it is missing.
    """
    if text.startswith((_HUB, *_ADDRESS)):
        return True
    if Path(text).exists():
        return False
    if text in models.MODELS or text in PRETRAINED:
        return True
    owner, slash, rest = text.partition("/")
    local = owner == "runs" or owner.startswith((".", "~")) or Path(owner).exists()
    local = local or Path(rest).suffix.lower() in SUFFIXES
    return bool(slash and owner and rest) and "/" not in rest and not local


def _named(name: str) -> str:
    """The name of weights, also for the name of a network."""
    if name in models.MODELS:
        default = default_of(name)
        if default is None:
            some = ", ".join(dict.fromkeys(weights.network for weights in PRETRAINED.values()))
            raise FileNotFoundError(f"`name` must be of a network with published weights, {some}; got {name!r}.")
        return default
    if "/" not in name:
        near = difflib.get_close_matches(name, [*models.MODELS, *PRETRAINED], n=3, cutoff=0.5)
        some = f"{', '.join(map(repr, near))} or another " if near else ""
        raise FileNotFoundError(
            f"`name` must be {some}of those that `jaxcnn pretrained` lists, OWNER/NAME of a repository, an address "
            f"or a file; got {name!r}."
        )
    return name


def _at_address(name: str) -> TrainedWeights:
    """Weights of a plain address, which the table may know."""
    known = PRETRAINED.get(name)
    url = name if known is None else known.url
    file, digest = urls.from_url(url)
    stored = read_any(file)
    config = dict(stored.config or recognize(stored))
    if known is not None:
        config |= {"preprocessing": dataclasses.asdict(known.preprocessing), "classes": list(known.classes)}
    source = {"name": name, "url": url.partition("#")[0], "sha256": digest}
    return TrainedWeights(stored, _completed(config), source | ({"license": known.license} if known else {}))


def _completed(config: dict[str, Any]) -> dict[str, Any]:
    """Adds what follows from the preprocessing.

    That is the shape of the pictures and their scaling.
    """
    if config.get("preprocessing") is None:
        return dict(config)
    told = Preprocessing.of(config["preprocessing"])
    return {
        **config,
        "image_shape": [*told.size, len(told.mean)],
        "scaling": {"mean": list(told.mean), "std": list(told.std), "unit": 255.0},
        "preprocessing": dataclasses.asdict(told),
    }
