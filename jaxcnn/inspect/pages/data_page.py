"""One self-contained page about a data set."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from jaxcnn import training
from jaxcnn.data import Augmentation, Dataset
from jaxcnn.inspect.pages import frame
from jaxcnn.inspect.pixel_range import in_bytes

_OF_A_CLASS = 8  # pictures that are shown
_CLASSES = 24
_CHANGED = 12  # pictures shown before and after their random changes
_DRAWS = 3


def write_data_page(
    path: str | Path,
    splits: Mapping[str, Dataset],
    odd: Sequence[str],
    *,
    facts: Sequence[str] = (),
    augmentation: Augmentation | None = None,
) -> Path:
    """Writes a page about a data set.

    It shows the classes, pictures of each, augmented pictures, and what is unusual.

    Args:
      path: the HTML file.
      splits: the data set, the training split first.
      odd: what is unusual, in sentences.
      facts: further facts, in sentences.
      augmentation: random changes to show.

    Returns:
      The path of the page.
    """
    train = next(iter(splits.values()))
    parts = [f"<h1>{frame.text(train.name)}</h1>", *(f'<p class="note">{frame.text(fact)}</p>' for fact in facts)]
    listed = "".join(f"<li>{frame.text(sentence)}</li>" for sentence in odd) or "<li>nothing</li>"
    parts += ["<h2>What is unusual</h2>", f"<ul>{listed}</ul>", *_table(splits)]
    if _has_pictures(train):
        parts += _sheet(train)
        parts += _changed(train, augmentation)
    training.write_atomically(Path(path), frame.page(train.name, parts))
    return Path(path)


def _has_pictures(examples: Dataset) -> bool:
    return examples.images.ndim == 4 and examples.images.shape[-1] in (1, 3)


def _table(splits: Mapping[str, Dataset]) -> list[str]:
    train = next(iter(splits.values()))
    if train.task == "regression":
        return []
    counts = np.stack([part.counts() for part in splits.values()], -1)
    sizes, one = [len(part.labels) for part in splits.values()], "label" if train.task == "multi_label" else "class"
    cell = '<td style="text-align: right">{}</td>'.format
    title = "".join(f'<th style="text-align: right">{frame.text(split)}</th>' for split in splits)
    rows = [
        f"<tr><td>{frame.text(name)}</td>{''.join(cell(f'{count:,}') for count in row)}</tr>"
        for name, row in zip((*train.classes, "all"), (*counts, sizes), strict=True)
    ]
    heading, pixels = "Labels" if one == "label" else "Classes", train.task == "segmentation"
    told = '<p class="note">The number of pictures with a pixel of the class.</p>' if pixels else ""
    return [f"<h2>{heading}</h2>", told, f"<table><tr><th>{one}</th>{title}</tr>{''.join(rows)}</table>"]


def _sheet(train: Dataset) -> list[str]:
    """The first pictures of every class, a row for each."""
    from jaxcnn.inspect import plots

    if train.task == "regression":
        return _ordered(train)
    counts = train.counts()
    shown = np.flatnonzero(counts)[:_CLASSES]
    parts = ["<h2>Pictures</h2>", f'<p class="note">The first {_OF_A_CLASS} training pictures of each class.</p>']
    if len(shown) < np.count_nonzero(counts):
        parts[1] = f'<p class="note">The first {_OF_A_CLASS} training pictures of the first {_CLASSES} classes.</p>'
    for label in shown.tolist():
        places = train.members(label)[:_OF_A_CLASS]
        pictures = in_bytes(np.asarray(train.images[places]))
        titles = [train.classes[label], *[""] * (len(places) - 1)]
        figure = plots.labeled_images(pictures, titles)
        if train.task == "segmentation":
            figure = plots.segmentations(pictures, np.asarray(train.labels)[places], None, train.classes, titles)
        parts.append(frame.image(figure, f"Pictures of {train.classes[label]}"))
    return parts


def _ordered(train: Dataset) -> list[str]:
    """Pictures from the smallest to the largest value, row by row."""
    from jaxcnn.inspect import plots

    parts = ["<h2>Pictures</h2>", '<p class="note">Training pictures from the smallest to the largest value.</p>']
    values = np.asarray(train.labels).reshape(len(train.labels), -1)
    for column, name in enumerate(train.classes[:_CLASSES]):
        order = np.argsort(values[:, column], kind="stable")
        places = order[np.linspace(0, len(order) - 1, min(_OF_A_CLASS, len(order))).astype(int)]
        titles = [f"{name} {value:.3g}" for value in values[places, column]]
        figure = plots.labeled_images(in_bytes(np.stack([np.asarray(train.images[place]) for place in places])), titles)
        parts.append(frame.image(figure, f"Pictures by {name}"))
    return parts


def _changed(train: Dataset, augmentation: Augmentation | None) -> list[str]:
    """Shows pictures before and after their random changes.

    The changes are drawn anew a few times.
    """
    from jaxcnn.inspect import plots

    if augmentation is None:
        return []
    ids = np.linspace(0, len(train.labels) - 1, min(_CHANGED, len(train.labels))).astype(np.int32)
    before = np.asarray(train.images[ids])
    targets = np.asarray(train.labels)[ids]
    one_of = train.task in ("classification", "binary")
    shares = np.eye(len(train.classes), dtype=np.float32)[targets] if one_of else targets
    shares = shares if train.task == "segmentation" else shares.astype(np.float32)
    figures = []
    for step in range(_DRAWS):
        after = np.asarray(augmentation(jax.random.fold_in(jax.random.key(0), step), step, ids, before, shares)[0])
        figure = plots.augmented(in_bytes(before), in_bytes(after), [""] * len(before))
        figures.append((figure, f"Pictures before and after random changes, draw {step + 1}"))
    note = f"{', '.join(augmentation.specs)}: the same pictures in {_DRAWS} steps of a training."
    return frame.section("After random changes", note, *figures)
