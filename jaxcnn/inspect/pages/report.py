"""One self-contained page about a trained network."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxcnn import models, training
from jaxcnn.data import Augmentation, Dataset, Scaling
from jaxcnn.inspect import stages
from jaxcnn.inspect.pages import frame, task_sections
from jaxcnn.training import METRICS
from jaxcnn.training.formatting import format_fields, format_speed

_MISTAKES = 24
_CHANGED = 16  # pictures shown before and after their random changes


def write_report(
    folder: str | Path,
    model: nnx.Module,
    test: Dataset,
    scaling: Scaling,
    *,
    augmentation: Augmentation | None = None,
) -> Path:
    """Writes `report.html` into the folder of a run.

    The page shows learning curves, confusion matrix, first-layer filters, feature maps of one example, the most
    confident mistakes, the layers, the configuration and the command that reproduces the run. In place of the confusion
    matrix, other tasks have a table of the labels, or the predicted over the true values, or pictures with their true
    and predicted masks. The pictures are inside the file.

    Args:
      folder: the folder of the run, with its `config.json` and `metrics.jsonl`.
      model: the trained network.
      test: the test examples.
      scaling: the scaling with which the network was trained.
      augmentation: that of the training.

    Returns:
      The path of the page.

    Raises:
      FileNotFoundError: if the folder is not that of a run.
      ValueError: if the examples have classes that the run did not learn.
    """
    folder = Path(folder)
    description = training.read_description(folder)
    rows = [row for row in training.read_log(folder / "metrics.jsonl") if row["kind"] == "epoch"]
    classes = description.get("data", {}).get("classes")
    test = test if classes is None else test.for_classes(classes)
    task = training.task_of({"training": {}} | description)
    outputs = training.predict(model, test.images, scaling, augmentation=augmentation, task=task)
    evaluation = None
    if task.name != "classification":
        evaluation = training.evaluate(model, test, scaling, task=task, augmentation=augmentation)
    name = description.get("model", {}).get("name", type(model).__name__)
    parts = [
        f"<h1>{frame.text(name)} on {frame.text(test.name)}</h1>",
        task_sections.headline(task, evaluation, test, outputs),
        *_curves(rows, task),
        *_answers(task, test, outputs, evaluation),
        *_filters(model, _fed(test, augmentation).shape[1:]),
        *_feature_maps(model, test, scaling, outputs, augmentation, task),
        *_augmented(test, augmentation, task),
        "<h2>Layers</h2>",
        models.summary(model, (1, *_fed(test, augmentation).shape[1:]))._repr_html_(),
        *_how(description),
    ]
    path = folder / "report.html"
    training.write_atomically(path, frame.page(f"{name} on {test.name}", parts))
    return path


def _answers(
    task: training.Task, test: Dataset, outputs: np.ndarray, evaluation: training.Evaluation | None
) -> list[str]:
    if task.of_classes:
        return [*_confusion(test, outputs.argmax(-1)), *_mistakes(test, outputs)]
    return task_sections.task_sections(task, test, outputs, lambda places: _pictures(test, places), evaluation)


def _curves(rows: list[dict[str, Any]], task: training.Task) -> list[str]:
    from jaxcnn.inspect import plots

    if not rows:
        return ['<p class="note">No epoch was finished.</p>']
    metric = task_sections.drawn_metric(task, rows[0])
    figure = plots.learning_curves(rows, loss=task_sections.loss_title(task), metric=metric)
    curves = frame.image(figure, f"Loss and {'error' if metric == 'accuracy' else METRICS[metric].title} by epoch")
    return ["<h2>Learning curves</h2>", curves, *_speed(rows)]


def _speed(rows: list[dict[str, Any]]) -> list[str]:
    """Medians over the epochs, of what their rows tell."""
    use = {"input_wait": "{:.0%} of the time waiting for input", "flops_utilization": "{:.0%} of the peak FLOP/s"}
    columns = {key: [row[key] for row in rows if key in row] for key in ("images_per_second", *use)}
    medians = {key: float(np.median(values)) for key, values in columns.items() if values}
    parts = [part for part in (format_speed(medians), format_fields(medians, use, ", ")) if part]
    return [f'<p class="note">Median epoch: {", ".join(parts)}.</p>'] if parts else []


def _confusion(test: Dataset, predictions: np.ndarray) -> list[str]:
    from jaxcnn.inspect import plots

    figure = plots.confusion_matrix(test.labels, predictions, test.classes)
    return ["<h2>Confusion matrix</h2>", frame.image(figure, "Counts of true against predicted class")]


def _mistakes(test: Dataset, probabilities: np.ndarray) -> list[str]:
    from jaxcnn.inspect import plots

    predictions = probabilities.argmax(-1)
    wrong = np.flatnonzero(predictions != test.labels)
    if not len(wrong):
        return ["<h2>Worst mistakes</h2>", '<p class="note">There is none.</p>']
    worst = wrong[np.argsort(-probabilities[wrong].max(-1), kind="stable")][:_MISTAKES]
    captions = [
        f"{100 * probabilities[i].max():.0f} %, {test.classes[test.labels[i]]} as {test.classes[predictions[i]]}"
        for i in worst
    ]
    told = f"Probability of the predicted class, true class, predicted class; {len(worst)} of {len(wrong)}."
    note = f'<p class="note">{told}</p>'
    if test.vocabulary:
        lines = [
            f"<li>{frame.text(c)}: {frame.text(_sentence(test, i))}</li>" for c, i in zip(captions, worst, strict=True)
        ]
        return ["<h2>Worst mistakes</h2>", note, f"<ul>{''.join(lines)}</ul>"]
    return [
        "<h2>Worst mistakes</h2>",
        note,
        frame.image(plots.labeled_images(_pictures(test, worst), captions), "Mistakes"),
    ]


def _sentence(test: Dataset, place: int) -> str:
    return " ".join(test.vocabulary[word] for word in test.images[place] if word)


def _pictures(test: Dataset, places: Any) -> np.ndarray:
    """Examples as pictures `(N, H, W, C)`.

    Features of sounds have time to the right, low bands below.
    """
    images = test.images[places]
    shown = _in_bytes(test, images)
    return shown if images.ndim == 4 else shown.transpose(0, 2, 1)[:, ::-1, :, None]


def _in_bytes(test: Dataset, images: np.ndarray) -> np.ndarray:
    """Floats as bytes, on one scale for all examples.

    It reaches from the least to the greatest value of all.
    """
    if test.images.dtype == np.uint8:
        return images
    everything = np.asarray(test.images)
    low, high = everything.min(), everything.max()
    return np.clip(255 * (images - low) / max(high - low, 1e-9), 0, 255).astype(np.uint8)


def _filters(model: nnx.Module, shape: tuple[int, ...]) -> list[str]:
    from jaxcnn.inspect import plots

    kernel = stages.first_kernel(model, shape)
    if kernel is None:
        return []
    note = "Weights as colors, zero gray." if kernel.shape[2] == 3 else f"Weights {plots.style.SIGNED_SAYS}."
    return frame.section("First-layer filters", note, (plots.filters(kernel), "Filters"))


def _fed(test: Dataset, augmentation: Augmentation | None) -> np.ndarray:
    """The first example in the size that the network is fed."""
    first = np.asarray(test.images[:1])
    return first if augmentation is None else augmentation.center(first)


def _augmented(test: Dataset, augmentation: Augmentation | None, task: training.Task) -> list[str]:
    from jaxcnn.inspect import plots

    if augmentation is None:
        return []
    before = np.asarray(test.images[:_CHANGED])
    shares = task.shown(test.labels[:_CHANGED], len(test.classes))
    ids = np.arange(len(before), dtype=np.int32)
    after = np.asarray(augmentation(jax.random.key(0), 0, ids, before, shares)[0])
    figure = plots.augmented(_in_bytes(test, before), _in_bytes(test, after), [""] * len(before))
    note = f"{', '.join(augmentation.specs)}: {test.split} pictures, before and after."
    return frame.section("Random changes in training", note, (figure, "Pictures before and after"))


def _feature_maps(
    model: nnx.Module,
    test: Dataset,
    scaling: Scaling,
    outputs: np.ndarray,
    augmentation: Augmentation | None,
    task: training.Task,
) -> list[str]:
    from jaxcnn.inspect import plots

    activations = stages.activations(model, scaling(_fed(test, augmentation))) if stages.names_stages(model) else {}
    maps = {name: array[0] for name, array in activations.items() if array.ndim == 4}
    if not maps:
        return []
    caption, what = "", ""
    if task.of_classes:
        label, share = test.classes[test.labels[0]], outputs[0, test.labels[0]]
        caption, what = f"{label}, {100 * share:.1f} %", ", and the probability of its true class"
    figure = plots.labeled_images(_pictures(test, slice(1)), [caption])
    note = f'<p class="note">The first {frame.text(test.split)} image{what}.</p>'
    images = [frame.image(plots.feature_maps(name, a), f"Feature maps of {name}") for name, a in maps.items()]
    return ["<h2>Feature maps of one example</h2>", note, frame.image(figure, "The example"), *images]


def _how(description: dict[str, Any]) -> list[str]:
    command = description.get("command")
    told = [
        f"{group}.{key} = {json.dumps(value)}"
        for group, part in description.items()
        if isinstance(part, dict)
        for key, value in part.items()
    ]
    parts = [f"<h2>Reproduce it</h2><pre>{frame.text(command)}</pre>"] if command else []
    return [*parts, f"<h2>Configuration</h2><pre>{frame.text(chr(10).join(told))}</pre>"]
