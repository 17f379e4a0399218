"""`jaxcnn demo`."""

import base64
import dataclasses
import html
import io
import json
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import nnx

from jaxcnn import export, inspect, models, training, weights
from jaxcnn.cli.runs import Run, check_place, known_examples, metric_text, open_run
from jaxcnn.cli.web_runtime import web_runtime
from jaxcnn.data import Dataset
from jaxcnn.export.inference import PIXELS
from jaxcnn.export.web_page import Runtime, web_page
from jaxcnn.inspect.functions import names_stages

_KINDS = {"classification": "classes", "binary": "classes", "multi_label": "labels", "regression": "values"}
_FINAL: dict[str, export.Final] = {"classification": "softmax", "regression": "none"}  # others: "logistic"
_STAGES, _MAPS, _UNITS = 8, 8, 512  # the most stages of each form, maps of a stage, units of a stage
_EXAMPLES = 10


@dataclasses.dataclass(frozen=True)
class Demo:
    """Write a web page to try out a trained network.

    The page is one file that works without a server or a connection.
    """

    run: tyro.conf.Positional[Path]
    """Run folder, file of weights, or name of published weights: resnet50, timm/resnet50.a1_in1k."""
    out: Path | None = None
    """HTML file to write; None means demo-RUN.html in the current folder."""
    runtime: Path | None = None
    """Archive or folder of the npm package onnxruntime-web, whose program runs the network in the page.
    None downloads version 1.30.0 once, 33 MB."""
    data_dir: Path | None = None
    """Folder of the data set's files, for pictures to choose on the page; None means $JAXCNN_DATA_DIR."""

    def __call__(self) -> None:
        """Writes the page, and prints its size."""
        check_place(self.out, (".html", ".htm"))
        run = open_run(self.run)
        _check(run, self.run)
        runtime = web_runtime(self.runtime)
        examples = self._examples(run)
        stages = _stages(run)
        with tempfile.TemporaryDirectory() as folder:
            done = export.onnx(
                run.model,
                Path(folder) / "network.onnx",
                scaling=run.scaling,
                preprocessing=run.preprocessing,
                augmentation=run.augmentation,
                input_shape=run.image_shape,
                classes=run.task.output_names(run.classes),
                final=_FINAL.get(run.task.name, "logistic"),
                units=training.units_of(run.task),
                with_preprocessing=True,
                stages={PIXELS: run.image_shape[-1], **{stage["name"]: stage["shown"] for stage in stages}},
            )
            network = done.path.read_bytes()
        name = run.description["model"]["name"]
        data = _data_of(run)
        page = web_page(
            network,
            runtime,
            {**_told(run), "stages": stages, **_shown(run, examples)},
            title=f"{name} on {data}" if data else name,
            about=_about(run, data, examples),
            footer=_footer(run, runtime),
        ).encode()
        path = self.out or Path(f"demo-{_stem(self.run)}.html")
        training.write_atomically(path, page)
        print(f"{path}: {len(page):,} bytes, with the network ({done.size:,} bytes) and ONNX Runtime {runtime.version}")
        print("open the file in a browser, or send it to a friend; it needs no connection")

    def _examples(self, run: Run) -> Dataset | None:
        """The run's test or validation examples, if they are there."""
        try:
            return known_examples(run, self.data_dir)
        except (OSError, ValueError, ImportError) as error:
            print(f"the page has no pictures to choose: {error}")
            return None


def _check(run: Run, name: Path) -> None:
    """Checks that a network answers pictures with classes or values.

    Raises:
      ValueError: if it does not.
    """
    if len(run.image_shape) != 3 or run.image_shape[-1] not in (1, 3):
        raise ValueError(f"`run` must be of a network for pictures; got one for {run.about}.")
    if run.task.name not in _KINDS:
        raise ValueError(f"`run` must have the task {', '.join(_KINDS)}; the task of {name} is {run.task.name}.")


def _stem(run: Path) -> str:
    """The part of the page's name that tells the run."""
    if run.is_file():
        return run.stem
    return run.resolve().name if run.exists() else run.as_posix().strip("/").replace("/", "-").replace(":", "-")


def _seen(run: Run) -> tuple[int, ...]:
    """The shape of what the network gets."""
    return run.image_shape if run.augmentation is None else run.augmentation.resized(run.image_shape)


def _stages(run: Run) -> list[dict[str, Any]]:
    """The stages to show, in the order of the call.

    If there are many, they are chosen evenly.
    """
    if not names_stages(run.model):
        return []
    inputs = jax.ShapeDtypeStruct((1, *_seen(run)), jnp.float32)
    shapes = {name: stage.shape[1:] for name, stage in inspect.stages_of(run.model, inputs).items()}
    hidden = {"head", PIXELS, *getattr(run.model, "auxiliaries", ())}
    chosen: set[str] = set()
    for axes in (3, 1):
        names = [name for name, shape in shapes.items() if len(shape) == axes and name not in hidden]
        places = np.linspace(0, len(names) - 1, min(len(names), _STAGES)).round().astype(int)
        chosen |= {names[place] for place in places}
    told = []
    for name, shape in shapes.items():
        if name in chosen:
            height, width = shape[:2] if len(shape) == 3 else (None, None)
            shown = min(shape[-1], _MAPS if height else _UNITS)
            told.append({"name": name, "height": height, "width": width, "shown": shown, "maps": shape[-1]})
    return told


def _told(run: Run) -> dict[str, Any]:
    """What the page's script must know of the network."""
    height, width, channels = run.image_shape
    fed = run.preprocessing
    return {
        "kind": _KINDS[run.task.name],
        "names": list(run.words),
        "height": height,
        "width": width,
        "channels": channels,
        "seen": list(_seen(run)[:2]),
        "fit": [height, width] if fed is None else [fed.resize, fed.resize],
        "draw": channels == 1,
        "dark": float(np.mean(run.scaling.mean)) < 0.5,
    }


def _shown(run: Run, examples: Dataset | None) -> dict[str, Any]:
    """Pictures to choose on the page.

    They are one of each class, or the first ones.
    """
    if examples is None:
        return {"examples": [], "split": ""}
    labels = np.asarray(examples.labels)
    places = list(range(min(_EXAMPLES, len(labels))))
    if run.task.of_classes:
        places = [int(place) for place in np.unique(labels, return_index=True)[1][:_EXAMPLES]]
    shown = [{"source": _png(examples.images[place]), "label": _label(run, labels[place])} for place in places]
    return {"examples": shown, "split": examples.split}


def _label(run: Run, label: Any) -> str:
    """An example's label in words."""
    if run.task.of_classes:
        return run.words[int(label)]
    values = np.atleast_1d(label)
    if run.task.name == "regression":
        return ", ".join(f"{name} {value:.4g}" for name, value in zip(run.classes, values, strict=True))
    return ", ".join(name for name, present in zip(run.classes, values, strict=True) if present) or "none"


def _png(pixels: Any) -> str:
    """A picture as an address that contains it."""
    from PIL import Image

    stream = io.BytesIO()
    array = np.asarray(pixels)
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(stream, "png")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _data_of(run: Run) -> str:
    """The name of the training data, if it is known."""
    name, published = run.description["data"].get("name"), _published(run)
    return str(name) if name else published.data if published else ""


def _published(run: Run) -> weights.Published | None:
    """The table's row of weights that were opened by name.

    Runs and files that began with such weights have none.
    """
    return None if run.folder.exists() else weights.PRETRAINED.get(run.description.get("source", {}).get("name", ""))


def _about(run: Run, data: str, examples: Dataset | None) -> list[str]:
    """What the network is and how good it is, in words."""
    names = run.words
    count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(run.model, nnx.Param)))
    aims = {
        "classification": f"to tell {len(names)} classes apart",
        "binary": f"to tell {' from '.join(reversed(names))}",
        "multi_label": f"to find which of {len(names)} labels a picture has",
        "regression": f"to predict {', '.join(names)}",
    }
    trained = f"trained on {data} " if data else "trained "
    network = f"A network with {count:,} parameters, {trained}{aims[run.task.name]}."
    private = "The network is inside this page and computes on your device; no picture leaves it."
    return [network, _result(run, examples), private]


def _result(run: Run, examples: Dataset | None) -> str:
    """How good the network is.

    The figure was recorded or published; else it is measured now.
    """
    published = _published(run)
    if published is not None and published.top1:
        return f"The published accuracy is {published.top1:.2f} %."
    kept = run.folder / "evaluation.json"
    if kept.is_file():
        found = json.loads(kept.read_text())
        split, pictures, metrics = found["split"], found["count"], found
    elif examples is not None:
        evaluation = training.evaluate(run.model, examples, run.scaling, task=run.task, augmentation=run.augmentation)
        split, pictures, metrics = examples.split, evaluation.count, evaluation.metrics
    else:
        return "Its accuracy was not measured."
    told = [
        f"{training.METRICS[name].title} {metric_text(name, metrics[name])}"
        for name in (run.task.METRICS[:1] if run.task.of_classes else run.task.METRICS)
        if name in metrics
    ]
    return f"On the {pictures:,} pictures of the {split} split: {', '.join(told)}."


def _footer(run: Run, runtime: Runtime) -> list[str]:
    """Where the network and its runtime come from, in markup."""
    card = models.CARDS.get(run.description["model"]["name"])
    paper = [f"The network is from {html.escape(card.paper)} ({card.year})."] if card else []
    addresses = dict(line.split(", ", 1) for line in metadata.metadata("jaxcnn").get_all("Project-URL") or ())
    ours = f'<a href="{html.escape(addresses["Homepage"])}">jaxcnn</a>' if "Homepage" in addresses else "jaxcnn"
    theirs = '<a href="https://onnxruntime.ai">ONNX Runtime Web</a>'
    return [
        *paper,
        f"The page was made by {ours}, with <code>jaxcnn demo</code>.",
        f"{theirs} {html.escape(runtime.version)}, under the MIT License, runs the network.",
    ]
