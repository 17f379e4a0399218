"""Writes a trained network as a folder with a model card.

The folder is ready for the hub.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import nnx

from jaxcnn import models
from jaxcnn.data import imagenet_classes
from jaxcnn.training import write_atomically
from jaxcnn.weights.hub import CONFIG
from jaxcnn.weights.runs import WEIGHTS
from jaxcnn.weights.saving import save

_CARD = """---
{head}
---

# {title}

{what}

## Use

```python
from jaxcnn import weights

model, config = weights.pretrained("OWNER/NAME")  # or the path of this folder
```

`jaxcnn predict OWNER/NAME pictures` prints the predictions for pictures.

## Inputs

{inputs}

## {names}

{classes}

## Results

{results}

## How it was made

{made}
"""


def save_pretrained(
    model: nnx.Module,
    folder: str | Path,
    *,
    config: Mapping[str, Any],
    metrics: Mapping[str, float] | None = None,
    data: str = "",
    made: str = "",
    license: str = "",
) -> Path:
    """Writes a network's weights, configuration and model card to a folder.

    `pretrained` opens the folder. `hf upload OWNER/NAME FOLDER` puts it on the hub.

    Args:
      model: the network.
      folder: the folder; it is made if need be, and files of the same names are replaced.
      config: configuration of the network, as `run_config`, `open_model` and `pretrained` return it.
      metrics: results by name, as `{"accuracy": 0.93}`, for the card.
      data: name of the data set of the training, for the card.
      made: how the network was trained, for the card: a sentence or a command.
      license: license of the weights, as the hub writes it, as `"apache-2.0"`.

    Returns:
      The folder, with `model.safetensors`, `config.json` and `README.md`.

    Raises:
      ValueError: if `config` describes another network.
      OSError: if the folder cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`folder` must be a folder; {folder} is a file.")
    folder.mkdir(parents=True, exist_ok=True)
    told = {**config, **({"metrics": dict(metrics)} if metrics else {}), **({"data": data} if data else {})}
    save(model, folder / WEIGHTS, config=told)
    write_atomically(folder / CONFIG, json.dumps({"library_name": "jaxcnn", **told}, indent=1) + "\n")
    write_atomically(folder / "README.md", _card(told, data, made, license))
    return folder


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _card(config: Mapping[str, Any], data: str, made: str, license: str) -> str:
    name, source = str(config["name"]), config.get("source") or {}
    license = license or source.get("license", "")
    task = (config.get("task") or {}).get("name", "classification")
    kind = ["pipeline_tag: image-classification"] if task == "classification" else []
    head = ["library_name: jaxcnn", *kind, "tags:", "- jax", f"- {name}"]
    head += [f"license: {license}"] if license else []
    head += [f"base_model: {source['repository']}"] if "repository" in source else []
    known = models.CARDS.get(name)
    about = f", {known.paper} ({known.year})" if known else ""
    options = ", ".join(f"{key}={value}" for key, value in config.get("options", {}).items())
    fed = config.get("preprocessing") or config.get("scaling") or {}
    size = config.get("image_shape") or fed.get("size")
    shape = "x".join(map(str, size)) if size else "of any size"
    lines = [f"Pictures {shape}.", "", *(f"- {key}: {_words(value)}" for key, value in fed.items())]
    classes, tree = tuple(map(str, config.get("classes", ()))), imagenet_classes()
    classes = tree.names if classes == tree.ids else classes
    some = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")
    results = [f"| {key} | {value:.4g} |" for key, value in config.get("metrics", {}).items()]
    table = "\n".join(["| metric | value |", "| --- | --- |", *results]) if results else "None were given."
    began = f"It began with {source['name']}, SHA-256 {source['sha256']}" if "sha256" in source else ""
    began += f", revision {source['revision']}." if "revision" in source else "." if began else ""
    count = config["num_classes"]
    outputs = f"{count} classes"
    if task != "classification":
        outputs = f"{count} output{'s' * (count != 1)}, for {task.replace('_', '-')} targets"
    return _CARD.format(
        head="\n".join(head),
        title=f"{name}, trained on {data}" if data else name,
        what=f"`{name}`{about}{f'; {options}' if options else ''}; {outputs}.",
        inputs="\n".join(lines),
        names={"multi_label": "Labels", "regression": "Values"}.get(task, "Classes"),
        classes=some or f"{count}, without names.",
        results=table,
        made="\n\n".join(filter(None, [made, began])) or "Unknown.",
    )
