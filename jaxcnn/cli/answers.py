"""What a network answers, as text: a table, JSON, CSV; written as it comes."""

import contextlib
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxcnn.training.files import naming

Format = Literal["table", "json", "csv"]


class Answer(NamedTuple):
    """What a network says of one picture."""

    picture: str
    outputs: np.ndarray  # `(classes,)` probabilities, or `(values,)`
    changes: tuple[str, ...]  # what brought the picture into the network's shape, in words


@contextlib.contextmanager
def writing(
    out: Path | None, form: Format, classes: Sequence[str], top: int, *, values: bool = False
) -> Iterator[Callable[[Sequence[Answer]], None]]:
    """Gives a function that writes answers.

    Args:
      out: the file, put under its name when it is whole; None for the standard output.
      form: of the text.
      classes: the names of the classes, or of the values.
      top: how many classes are named for every picture.
      values: whether the answers are values, all of which are written.
    """
    part = None if out is None else out.with_name(f".{out.name}.part")
    with contextlib.ExitStack() as stack:
        stack.enter_context(naming("the standard output" if out is None else out, part))
        stream = sys.stdout
        if part is not None:
            stream = stack.enter_context(part.open("w", encoding="utf-8", newline=""))
            stack.callback(part.unlink, missing_ok=True)
        text = {"table": _Table, "json": _Json, "csv": _Csv}[form](classes, min(top, len(classes)), values)

        def write(answers: Sequence[Answer]) -> None:
            stream.write(text.rows(answers))
            stream.flush()

        stream.write(text.begin())
        yield write
        stream.write(text.end())
        stream.flush()
        if part is not None and out is not None:
            part.replace(out)


class _Form:
    """A form of text, which begins, goes on with rows, and ends."""

    def __init__(self, classes: Sequence[str], top: int, values: bool):
        self.classes, self.top, self.values = classes, top, values

    def begin(self) -> str:
        return ""

    def rows(self, answers: Sequence[Answer]) -> str:
        raise NotImplementedError

    def end(self) -> str:
        return ""

    def ranked(self, answer: Answer) -> list[tuple[str, float]]:
        """The likeliest classes and their probabilities."""
        places = np.argsort(-answer.outputs, kind="stable")[: self.top]
        return [(self.classes[int(place)], float(answer.outputs[place])) for place in places]

    def named(self, answer: Answer) -> dict[str, str]:
        """The values by name, in six digits."""
        return {name: f"{value:.6g}" for name, value in zip(self.classes, answer.outputs, strict=True)}


class _Table(_Form):
    """Columns as wide as the first batch needs them."""

    _width = 0

    def rows(self, answers: Sequence[Answer]) -> str:
        lines, widest = [], max(map(len, self.classes))
        if not self._width:
            self._width = max(len("picture"), *(len(answer.picture) for answer in answers))
            ranks = [f"{rank:<{widest + 8}}" for rank in range(1, self.top + 1)]
            if self.values:
                ranks = [f"{name:>12}" for name in self.classes]
            lines.append("  ".join(["picture".ljust(self._width), *ranks]).rstrip())
        for answer in answers:
            cells = [f"{name:<{widest}} {100 * share:5.1f} %" for name, share in self.ranked(answer)]
            if self.values:
                cells = [f"{value:>12}" for value in self.named(answer).values()]
            note = [f"({'; '.join(answer.changes)})"] if answer.changes else []
            lines.append("  ".join([answer.picture.ljust(self._width), *cells, *note]))
        return "".join(f"{line}\n" for line in lines)


class _Json(_Form):
    """An array with an object, on a line of its own, for every picture."""

    _some = False

    def begin(self) -> str:
        return "["

    def rows(self, answers: Sequence[Answer]) -> str:
        lines = []
        for answer in answers:
            ranked = [{"class": name, "probability": round(share, 6)} for name, share in self.ranked(answer)]
            said = {"top": ranked}
            if self.values:
                said = {"values": {name: float(value) for name, value in self.named(answer).items()}}
            told: dict[str, Any] = {"picture": answer.picture, **said, "changes": list(answer.changes)}
            lines.append(f"{',' if self._some else ''}\n{json.dumps(told, ensure_ascii=False)}")
            self._some = True
        return "".join(lines)

    def end(self) -> str:
        return "\n]\n"


class _Csv(_Form):
    """A line of names, then one for every picture."""

    def begin(self) -> str:
        ranks = [f"{name}_{rank}" for rank in range(1, self.top + 1) for name in ("class", "probability")]
        return _line(["picture", *(self.classes if self.values else ranks), "changes"])

    def rows(self, answers: Sequence[Answer]) -> str:
        def cells(answer: Answer) -> list[str]:
            if self.values:
                return list(self.named(answer).values())
            return [cell for name, share in self.ranked(answer) for cell in (name, f"{share:.6f}")]

        return "".join(_line([a.picture, *cells(a), "; ".join(a.changes)]) for a in answers)


def _line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()
