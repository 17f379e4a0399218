"""Reports results by class and mistakes for `jaxcnn eval`.

It writes a table, or JSON.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxcnn import inspect
from jaxcnn.data import Dataset
from jaxcnn.inspect import ClassReport, PixelReport

_MOST = 30  # up to this number, all classes are printed
_WORST = 20  # number of classes printed otherwise
_CONFUSIONS = 5


def lines(report: ClassReport) -> Iterator[str]:
    """Lists each class's results, the means, and the most frequent confusions.

    Each class has a line; if there are many classes, only the worst are listed.
    """
    places = np.arange(len(report.classes))
    title = "class"
    if len(places) > _MOST:
        places = np.argsort(np.nan_to_num(report.f1, nan=2.0), kind="stable")[:_WORST]
        title = f"lowest {_WORST} of {len(report.classes)} classes by F1"
    names = [report.classes[place] for place in places]
    width = max(map(len, [*names, title, "mean of the classes"]))
    yield f"{title:<{width}}  precision   recall       F1  support     AUC"
    columns = report.precision, report.recall, report.f1, report.support, report.auc
    for name, place in zip(names, places, strict=True):
        yield f"{name:<{width}}{_row(*(column[place] for column in columns))}"
    means = report.means()
    total = int(report.support.sum())
    row = _row(means["precision"], means["recall"], means["f1"], total, means["auc"])
    yield f"{'mean of the classes':<{width}}{row}"
    confused = [
        f"{report.classes[true]} as {report.classes[taken]}: {count} of {report.support[true]} "
        f"({100 * count / report.support[true]:.1f} %)"
        for true, taken, count in report.confused(_CONFUSIONS)
    ]
    if confused:
        yield f"most often confused: {'; '.join(confused)}"


def pixel_lines(report: PixelReport) -> Iterator[str]:
    """Lists each class's IoU, precision and recall, and the confusions.

    If there are many classes, only the worst are listed.
    """
    places, title = np.arange(len(report.classes)), "class"
    if len(places) > _MOST:
        places = np.argsort(np.nan_to_num(report.iou, nan=2.0), kind="stable")[:_WORST]
        title = f"lowest {_WORST} of {len(report.classes)} classes by IoU"
    names = [report.classes[place] for place in places]
    width = max(map(len, [*names, title]))
    yield f"{title:<{width}}      IoU  precision   recall         pixels"
    for name, place in zip(names, places, strict=True):
        columns = (report.iou, 9), (report.precision, 11), (report.recall, 9)
        shares = "".join(f"{_percent(column[place]):>{wide}}" for column, wide in columns)
        yield f"{name:<{width}}{shares}{report.pixels[place]:>15,}"
    confused = [
        f"{report.classes[true]} as {report.classes[taken]}: {count:,} of {report.pixels[true]:,} pixels"
        for true, taken, count in report.confused(_CONFUSIONS)
    ]
    if confused:
        yield f"most often confused: {'; '.join(confused)}"


def pixels_as_json(report: PixelReport) -> dict[str, Any]:
    """The report of pixels as plain values; undefined values are null."""
    columns = {name: getattr(report, name).tolist() for name in ("iou", "precision", "recall", "pixels")}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    by_class = [{"class": name, **_known(row)} for name, row in zip(report.classes, rows, strict=True)]
    return {"classes": by_class, "confusion": {"counts": report.confusion.tolist()}}


def mistakes(examples: Dataset, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """Lists the mistakes, the most confident first, by file or number."""
    return [
        {
            "example": examples.example(int(place)),
            "true": examples.classes[examples.labels[place]],
            "predicted": examples.classes[probabilities[place].argmax()],
            "probability": round(float(probabilities[place].max()), 6),
        }
        for place in inspect.misclassified(probabilities, examples.labels)
    ]


def as_json(report: ClassReport) -> dict[str, Any]:
    """The report as plain values; undefined values are null."""
    columns = {name: getattr(report, name).tolist() for name in ("precision", "recall", "f1", "support", "auc")}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    by_class = [{"class": name, **_known(row)} for name, row in zip(report.classes, rows, strict=True)]
    shares = [[None if math.isnan(share) else share for share in row] for row in report.shares.tolist()]
    confusion = {"counts": report.confusion.tolist(), "shares": shares}
    return {"classes": by_class, "means": _known(report.means()), "confusion": confusion}


def _known(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def _row(precision: float, recall: float, f1: float, support: int, auc: float) -> str:
    shares = "".join(f"{_percent(share):>{width}}" for share, width in ((precision, 11), (recall, 9), (f1, 9)))
    return f"{shares}{support:>9,}{'-' if math.isnan(auc) else f'{auc:.4f}':>8}"


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.2f}"
