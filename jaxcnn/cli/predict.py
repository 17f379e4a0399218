"""`jaxcnn predict`."""

import collections
import contextlib
import dataclasses
import glob
import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tyro

from jaxcnn import data, training
from jaxcnn.cli.answers import Answer, Format, writing
from jaxcnn.cli.predicted_masks import MaskWriter, shares
from jaxcnn.cli.progress import working
from jaxcnn.cli.runs import Run, check_place, open_run
from jaxcnn.data.labels import few
from jaxcnn.data.listing import is_seen

_PIECE = 16  # pictures that a thread reads at a time

Read = tuple[Path, data.Picture]


@dataclasses.dataclass(frozen=True)
class Predict:
    """Predict classes, labels, values or masks with a trained network."""

    run: tyro.conf.Positional[Path]
    """Run folder, file of weights, or name of published weights: resnet50, timm/resnet50.a1_in1k."""
    pictures: tyro.conf.Positional[tuple[str, ...]]
    """Picture files, folders of pictures, or patterns; for example 'photos/**/*.jpg'."""
    top: int = 3
    """Number of classes or labels to print for each picture, the likeliest first. For segmentation, the classes with
    the largest shares of the pixels."""
    ask: tuple[str, ...] = ()
    """Words whose probability to print too: class names, for ImageNet words of WordNet; for example: dog vehicle."""
    invert: bool = False
    """Invert light and dark, for example for dark digits on white paper."""
    format: Format | None = None
    """Form of the answers; None means that of the file's ending, or else a table."""
    out: Path | None = None
    """File to write the answers to; None means the standard output."""
    masks: Path | None = None
    """For segmentation: folder to write a mask of each picture to, a PNG file with a color for each class."""
    batch_size: int = 256
    """Number of pictures in a batch."""

    def __call__(self) -> int:
        """Writes a row for every picture.

        Files that cannot be read get a line on stderr.
        """
        if not self.pictures:
            raise ValueError("`pictures` must name at least one file; got none.")
        for name in ("top", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be positive; got {getattr(self, name)}.")
        check_place(self.out)
        run = open_run(self.run)
        if len(run.image_shape) != 3 or run.image_shape[-1] not in (1, 3):
            raise ValueError(f"`run` must be of a network for pictures; got one for {run.about}.")
        failed: list[str] = []

        def say(problem: Exception) -> None:
            failed.append(str(problem))
            print(f"jaxcnn: {' '.join(str(problem).split())}", file=sys.stderr)

        if self.masks is not None and not run.task.of_pixels:
            raise ValueError(f"`masks` needs a run of segmentation; the task of {run.folder} is {run.task.name}.")
        values, word = run.task.name == "regression", "share" if run.task.of_pixels else "probability"
        if values and self.ask:
            raise ValueError(f"`ask` needs a network that predicts classes; {run.folder} predicts real numbers.")
        asked = {kind: _places(run, kind) for kind in self.ask}
        files = files_of(self.pictures)
        with contextlib.ExitStack() as stack:
            write = stack.enter_context(
                writing(self.out, self._format(), run.words, self.top, asked, values=values, word=word)
            )
            advance = None
            if self.out is not None:  # else the answers show how far it is
                listed = list(files)
                files, advance = iter(listed), stack.enter_context(working("pictures", len(listed))).advance
            for answers in self._answers(run, files, say):
                write(answers)
                if advance is not None:
                    advance(len(answers))
        return 2 if failed else 0

    def _format(self) -> Format:
        ending = "" if self.out is None else self.out.suffix.lower()
        endings: dict[str, Format] = {".json": "json", ".csv": "csv"}
        return self.format or endings.get(ending, "table")

    def _answers(self, run: Run, files: Iterator[Path | Exception], say) -> Iterator[list[Answer]]:
        """The outputs of the network, batch by batch.

        While one batch is computed, the next pictures are read.
        """

        def read(piece: list[Path | Exception]) -> list[Read | Exception]:
            return [self._read(path, run) for path in piece]

        pieces = _chunks(files, _PIECE)
        ahead = 2 * -(-self.batch_size // _PIECE)
        with contextlib.closing(data.mapped_ahead(read, pieces, ahead=ahead)) as pictures:
            under_way: collections.deque[list[Read]] = collections.deque()

            def batches() -> Iterator[np.ndarray]:
                for batch in _chunks(_whole(pictures, say), self.batch_size):
                    under_way.append(batch)
                    yield np.stack([picture.pixels for _, picture in batch])

            rows_of = training.answers_to(
                run.model, batches(), run.scaling, augmentation=run.augmentation, answer=run.task.answer
            )
            writer = None if self.masks is None else MaskWriter(self.masks, run)
            for rows in rows_of:
                batch = under_way.popleft()
                if writer is not None:
                    for (path, _), mask in zip(batch, rows, strict=True):
                        writer.write(path, mask)
                told = shares(rows, len(run.classes)) if run.task.of_pixels else rows
                yield [Answer(str(path), row, seen.changes) for (path, seen), row in zip(batch, told, strict=True)]

    def _read(self, path: Path | Exception, run: Run) -> Read | Exception:
        if isinstance(path, Exception):
            return path
        try:
            # photographs are seen as in training, where the middle is cut out; of a drawing nothing is lost
            shape, fed = run.image_shape, run.preprocessing
            return path, data.read_picture(path, shape, invert=self.invert, cut=shape[-1] == 3, preprocessing=fed)
        except (ValueError, OSError) as error:
            return error


def _places(run: Run, kind: str) -> np.ndarray:
    """The numbers of the classes of a kind.

    For ImageNet, a kind is any word of WordNet that covers classes; for other data it is the name of a class.
    """
    tree = data.imagenet_classes()
    if run.classes == tree.ids:
        return tree.places(kind)
    if kind not in run.classes:
        raise ValueError(f"`ask` must name classes of {run.folder}, {few(run.classes)}; got {kind!r}.")
    return np.array([run.classes.index(kind)])


def files_of(names: Iterable[str]) -> Iterator[Path | Exception]:
    """The files that names, folders and patterns mean, in order.

    A name that matches nothing gives an error in its place.
    """
    for name in map(os.path.expanduser, names):
        path = Path(name)
        if path.is_dir():
            files, missing = data.pictures_below(path), f"{path} must hold pictures; it holds none."
        elif glob.has_magic(name) and not path.exists():
            matches = sorted(glob.iglob(name, recursive=True))
            files = (Path(match) for match in matches if not os.path.isdir(match) and _is_meant(match, path))
            missing = f"{name} must match files; it matches none."
        else:
            files, missing = iter([path]), ""
        first = next(files, None)
        yield FileNotFoundError(missing) if first is None else first
        yield from files


def _is_meant(match: str, pattern: Path) -> bool:
    """Whether a path has no part that programs leave behind.

    Parts that the pattern spells out do not count.
    """
    return all(is_seen(part) or part in pattern.parts for part in Path(match).parts)


def _chunks(items, size: int) -> Iterator[list]:
    items = iter(items)
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def _whole(pieces: Iterable[list[Read | Exception]], say) -> Iterator[Read]:
    """The pictures that could be read; says what could not."""
    for piece in pieces:
        for picture in piece:
            if isinstance(picture, Exception):
                say(picture)
            else:
                yield picture
