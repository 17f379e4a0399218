"""The sections of a run's report that depend on its task."""

from collections.abc import Callable, Sequence

import numpy as np

from jaxcnn.data import Dataset
from jaxcnn.data.labels import IGNORED
from jaxcnn.inspect.diagnostics.pixel_report import pixel_report
from jaxcnn.inspect.pages import frame
from jaxcnn.training import METRICS, Evaluation, Task
from jaxcnn.training.formatting import format_metrics
from jaxcnn.training.tasks.labels import f1_scores

_MOST = 24
_MASKS = 6
Pictures = Callable[[np.ndarray], np.ndarray]


def headline(task: Task, evaluation: Evaluation | None, test: Dataset, outputs: np.ndarray) -> str:
    """The result in one sentence."""
    count, split = len(test.labels), frame.text(test.split)
    if task.name == "classification" or evaluation is None:
        right = int((outputs.argmax(-1) == test.labels).sum())
        told = f"{100 * right / count:.2f} % of the {count:,} {split} examples classified correctly"
        return f'<p class="big">{told}, {count - right:,} wrong</p>'
    told = format_metrics({**evaluation.metrics, "loss": evaluation.loss}, separator=", ")
    return f'<p class="big">{frame.text(told)} on the {count:,} {split} examples</p>'


def drawn_metric(task: Task, row: dict) -> str:
    """Returns the metric of the learning curves.

    It is the first that training knows too.
    """
    return next((name for name in METRICS if name != "loss" and name in row), task.METRICS[0])


def loss_title(task: Task) -> str:
    """The loss in words."""
    if task.loss == "cross_entropy":
        binary = task.name in ("binary", "multi_label")
        return "binary cross-entropy (nats)" if binary else "cross-entropy (nats)"
    return task.loss.replace("_", " ")


def task_sections(
    task: Task, test: Dataset, outputs: np.ndarray, pictures: Pictures, evaluation: Evaluation | None = None
) -> list[str]:
    """What a task shows of its predictions.

    Args:
      task: the task; one without a class for each example.
      test: the test examples.
      outputs: the predictions, `(N, K)`; or masks, `(N, H, W)`.
      pictures: a function from numbers of examples to their pictures.
      evaluation: the result; a segmentation needs it.
    """
    if task.of_pixels and evaluation is not None:
        return _masks(test, outputs, pictures, evaluation)
    if task.name == "regression":
        return _values(test, outputs, pictures)
    return _labels(test, outputs, pictures)


def _labels(test: Dataset, outputs: np.ndarray, pictures: Pictures) -> list[str]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth, said = test.labels > 0, outputs >= 0.5
    scores = f1_scores(truth, said)
    rows = []
    for place, name in enumerate(test.classes):
        true, share = truth[:, place], outputs[:, place]
        both = 0 < true.sum() < len(true)
        cells = [
            name,
            f"{true.sum():,}",
            f"{said[:, place].sum():,}",
            f"{average_precision_score(true, share):.4f}" if both else "",
            f"{roc_auc_score(true, share):.4f}" if both else "",
            f"{scores[place]:.4f}",
        ]
        rows.append("".join(f"<td>{frame.text(cell)}</td>" for cell in cells))
    head = ("label", "true", "predicted", "average precision", "AUC", "F1")
    table = "".join(f"<tr>{row}</tr>" for row in rows)
    table = f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{table}</table>"
    wrong = np.where(truth != said, np.abs(outputs - 0.5), -1.0)
    worst = [place for place in np.argsort(-wrong.max(-1), kind="stable")[:_MOST] if wrong[place].max() >= 0]
    captions = [f"{_named(test.classes, truth[place])} as {_named(test.classes, said[place])}" for place in worst]
    note = f"True labels, predicted labels; {len(worst)} of {int((truth != said).any(-1).sum()):,}, the surest first."
    return ["<h2>Labels</h2>", table, *_shown("Worst mistakes", note, np.array(worst, int), captions, pictures)]


def _masks(test: Dataset, outputs: np.ndarray, pictures: Pictures, evaluation: Evaluation) -> list[str]:
    from jaxcnn.inspect import plots

    report = pixel_report(evaluation.sums["confusion"], test.classes)
    rows = []
    for place, name in enumerate(test.classes):
        shares = (report.iou, report.precision, report.recall)
        cells = [name, *("" if np.isnan(share[place]) else f"{100 * share[place]:.2f} %" for share in shares)]
        rows.append("".join(f"<td>{frame.text(cell)}</td>" for cell in (*cells, f"{report.pixels[place]:,}")))
    head = "".join(f"<th>{name}</th>" for name in ("class", "IoU", "precision", "recall", "pixels"))
    table = f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
    size = outputs.shape[1:3]  # a crop of the training has cut out the middle
    masks = _middle(test.labels, size)
    counted = masks != IGNORED
    right = ((masks == outputs) & counted).sum((1, 2)) / np.maximum(counted.sum((1, 2)), 1)
    worst = np.argsort(np.where(counted.any((1, 2)), right, 2.0), kind="stable")[:_MASKS]
    parts = ["<h2>Classes</h2>", table]
    for title, places in (("Examples", np.arange(min(_MASKS, len(masks)))), ("Worst mistakes", worst)):
        captions = [f"{100 * right[place]:.1f} % right" for place in places]
        shown = _middle(pictures(places), size)
        figure = plots.segmentations(shown, masks[places], outputs[places], test.classes, captions)
        note = (
            f"The share of the pixels that are right, the picture, its true and its predicted mask; {len(places)} of "
        )
        parts += frame.section(title, f"{note}{len(masks):,} examples.", (figure, f"{title}: pictures and masks"))
    return parts


def _middle(arrays: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The middle of pictures or masks, as in evaluation."""
    top, left = ((whole - part) // 2 for whole, part in zip(arrays.shape[1:3], size, strict=True))
    return arrays[:, top : top + size[0], left : left + size[1]]


def _values(test: Dataset, outputs: np.ndarray, pictures: Pictures) -> list[str]:
    from jaxcnn.inspect import plots

    truth = np.asarray(test.labels, np.float64).reshape(outputs.shape)
    figure = plots.predicted_values(truth, outputs, test.classes)
    spread = truth.std(0)
    error = np.abs(outputs - truth) / np.where(spread > 0, spread, 1.0)
    worst = np.argsort(-error.max(-1), kind="stable")[:_MOST]
    captions = [
        ", ".join(f"{true:.4g} as {said:.4g}" for true, said in zip(truth[place], outputs[place], strict=True))
        for place in worst
    ]
    drawn = frame.section("Predicted against true values", "", (figure, "Predicted against true values"))
    return [*drawn, *_shown("Largest errors", "True value, predicted value.", worst, captions, pictures)]


def _shown(title: str, note: str, places: np.ndarray, captions: Sequence[str], pictures: Pictures) -> list[str]:
    from jaxcnn.inspect import plots

    if not len(places):
        return [f"<h2>{title}</h2>", '<p class="note">There is none.</p>']
    return frame.section(title, note, (plots.labeled_images(pictures(places), captions), title))


def _named(classes: Sequence[str], present: np.ndarray) -> str:
    return " ".join(name for name, there in zip(classes, present, strict=True) if there) or "none"
