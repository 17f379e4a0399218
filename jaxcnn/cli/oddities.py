"""Finds unusual pictures and classes in a data set.

They are damaged, duplicate, constant, very large or very small pictures, and rare classes.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from jaxcnn.cli.overlaps import comparable
from jaxcnn.data import Dataset, near_duplicates
from jaxcnn.data.pictures import decode_picture
from jaxcnn.data.streams import cores

_FEW = 10  # a class with fewer training examples is called rare
_UNLIKE = 4.0  # times larger or smaller than the median side
_LONG = 3.0  # times longer than wide
_SHOWN = 3
_CHUNK = 256


def oddities(splits: Mapping[str, Dataset], sizes: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Yields one sentence per kind of oddity, with its first examples.

    Args:
      splits: the data set.
      sizes: width and height of the picture files, by path.
    """
    yield from _unreadable(splits)
    yield from _classes(splits)
    yield from _sizes(sizes)
    for examples in splits.values():
        yield from _constant(examples)
    yield from _duplicates(splits)


def file_sizes(splits: Mapping[str, Dataset]) -> dict[str, tuple[int, int]]:
    """Reads the widths and heights of picture files from their headers."""
    from PIL import Image

    paths = [os.fsdecode(path) for examples in splits.values() if examples.files is not None for path in examples.files]

    def size(path: str) -> tuple[int, int]:
        with Image.open(path) as file:
            return file.size

    with ThreadPoolExecutor(cores()) as pool:
        return dict(zip(paths, pool.map(size, paths), strict=True))


def _unreadable(splits: Mapping[str, Dataset]) -> Iterator[str]:
    damaged = [path for examples in splits.values() for path in examples.skipped]
    if damaged:
        reasons = []
        for path in damaged[:_SHOWN]:
            try:
                decode_picture(path, path)
            except (ValueError, OSError) as error:
                reasons.append(f"{path} ({str(error).partition('reading it failed: ')[2].rstrip('.') or error})")
        yield f"{_count(len(damaged), 'file')} cannot be read: {_first(reasons, len(damaged))}"


def _classes(splits: Mapping[str, Dataset]) -> Iterator[str]:
    train = splits["train"]
    if train.task == "regression":
        return
    counts, several = train.counts(), train.task in ("multi_label", "segmentation")
    word = ("label", "s") if train.task == "multi_label" else ("class", "es")
    if len(train.classes) == 1 and not several:
        yield f"there is only one class, {train.classes[0]}: a classifier needs at least two"
    empty = [train.classes[place] for place in np.flatnonzero(counts == 0)]
    if empty:
        yield f"{_count(len(empty), *word)} without a training example: {_first(empty, len(empty))}"
    rare = [f"{train.classes[place]} ({counts[place]})" for place in np.flatnonzero((counts > 0) & (counts < _FEW))]
    if rare:
        few = f"fewer than {_FEW} training examples"
        yield f"{_count(len(rare), *word)} with {few}: {_first(rare, len(rare))}"
    there = counts[counts > 0]
    if several:
        return
    if len(there) > 1 and there.max() >= 3 * there.min():
        most, least = (train.classes[np.flatnonzero(counts == some)[0]] for some in (there.max(), there.min()))
        ratio = f"{most} has {there.max() / there.min():.3g} times the training examples of {least}"
        yield f"{ratio}; see `--class-weights` and `--sampling` of `jaxcnn train`"


def _sizes(sizes: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    if not sizes:
        return
    sides = np.sort(np.array(list(sizes.values())), axis=1)  # the shorter one first
    usual = float(np.median(sides[:, 0]))
    kinds = {
        f"much smaller than the others, whose median shorter side is {usual:g}": sides[:, 0] * _UNLIKE <= usual,
        f"much larger than the others, whose median shorter side is {usual:g}": sides[:, 0] >= _UNLIKE * usual,
        f"with one side at least {_LONG:g} times the other": sides[:, 1] >= _LONG * sides[:, 0],
    }
    paths = list(sizes)
    for kind, members in kinds.items():
        places = np.flatnonzero(members)
        if len(places):
            named = [f"{paths[place]} ({'x'.join(map(str, sizes[paths[place]]))})" for place in places[:_SHOWN]]
            yield f"{_count(len(places), 'picture')} {kind}: {_first(named, len(places))}"


def _constant(examples: Dataset) -> Iterator[str]:
    if examples.images.ndim != 4:
        return
    plain: list[int] = []
    for start in range(0, len(examples.labels), _CHUNK):
        some = np.asarray(examples.images[start : start + _CHUNK])
        flat = some.max((1, 2)) == some.min((1, 2))
        plain += (start + np.flatnonzero(flat.all(-1))).tolist()
    if plain:
        named = [examples.example(place) for place in plain[:_SHOWN]]
        yield f"{_count(len(plain), f'{examples.split} picture')} of one color: {_first(named, len(plain))}"


def _duplicates(splits: Mapping[str, Dataset]) -> Iterator[str]:
    parts = [examples for examples in splits.values() if comparable(examples)]
    for number, first in enumerate(parts):
        for second in parts[number:]:
            own = first is second
            if first.images.shape[1:] != second.images.shape[1:]:
                continue
            pairs = near_duplicates(first.images, None if own else second.images)
            if not len(pairs):
                continue
            named = [f"{first.example(here)} and {second.example(there)}" for here, there in pairs[:_SHOWN].tolist()]
            where = f"within {first.split}" if own else f"between {first.split} and {second.split}"
            yield f"{_count(len(pairs), 'pair')} of nearly equal pictures {where}: {_first(named, len(pairs))}"
            if first.task == "regression":  # real numbers are hardly ever equal
                continue
            targets = first.labels[pairs[:, 0]], second.labels[pairs[:, 1]]
            unlike = pairs[np.not_equal(*targets).reshape(len(pairs), -1).any(1)]
            if len(unlike):
                named = [
                    f"{first.example(here)} and {second.example(there)}" for here, there in unlike[:_SHOWN].tolist()
                ]
                kind = {1: "classes", 3: "masks"}.get(first.labels.ndim, "labels")
                them = f"{'has' if len(unlike) == 1 else 'have'} different {kind}"
                yield f"{len(unlike):,} of these pairs {them}: {_first(named, len(unlike))}"


def _count(number: int, word: str, plural: str = "s") -> str:
    return f"{number:,} {word}{plural if number != 1 else ''}"


def _first(named: Sequence[str], count: int) -> str:
    return ", ".join(named[:_SHOWN]) + (", ..." if count > _SHOWN else "")
