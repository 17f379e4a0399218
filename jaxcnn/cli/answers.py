"""Writes predictions as text while they are computed.

The text is a table, JSON or CSV.
"""

import contextlib
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxcnn.training.files import naming

_MANY = 100  # with more classes, the first answers alone set the width of the columns

Format = Literal["table", "json", "csv"]


class Answer(NamedTuple):
    """What a network says of one picture."""

    picture: str
    outputs: np.ndarray  # `(classes,)` probabilities or shares of the pixels, or `(values,)`
    changes: tuple[str, ...]  # what brought the picture into the network's shape, in words


@contextlib.contextmanager
def writing(
    out: Path | None,
    form: Format,
    classes: Sequence[str],
    top: int,
    asked: Mapping[str, np.ndarray] | None = None,
    *,
    values: bool = False,
    word: str = "probability",
) -> Iterator[Callable[[Sequence[Answer]], None]]:
    """Gives a function that writes answers.

    Args:
      out: the file, put under its name when it is whole; None for the standard output.
      form: of the text.
      classes: the names of the classes, or of the values.
      top: number of classes that are written for every picture.
      asked: words with the numbers of the classes that they cover; the probabilities of these are added.
      values: whether the answers are values, all of which are written.
      word: what the number of a class is.
    """
    part = None if out is None else out.with_name(f".{out.name}.part")
    with contextlib.ExitStack() as stack:
        stack.enter_context(naming("the standard output" if out is None else out, part))
        stream = sys.stdout
        if part is not None:
            stream = stack.enter_context(part.open("w", encoding="utf-8", newline=""))
            stack.callback(part.unlink, missing_ok=True)
        kind = {"table": _Table, "json": _Json, "csv": _Csv}[form]
        text = kind(classes, min(top, len(classes)), asked or {}, values, word)

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
    """A form of text: beginning, rows and end."""

    def __init__(self, classes: Sequence[str], top: int, asked: Mapping[str, np.ndarray], values: bool, word: str):
        self.classes, self.top, self.asked, self.values, self.word = classes, top, asked, values, word

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

    def kinds(self, answer: Answer) -> dict[str, float]:
        """The probabilities of the words in `asked`."""
        return {kind: float(answer.outputs[places].sum()) for kind, places in self.asked.items()}


class _Table(_Form):
    """Columns as wide as the first batch needs them."""

    _width = _widest = 0

    def rows(self, answers: Sequence[Answer]) -> str:
        lines = []
        if not self._width:
            shown = [name for answer in answers for name, _ in self.ranked(answer)]
            self._widest = max(map(len, self.classes if len(self.classes) <= _MANY else shown))
            self._width = max(len("picture"), *(len(answer.picture) for answer in answers))
            ranks = [f"{rank:<{self._widest + 8}}" for rank in range(1, self.top + 1)]
            if self.values:
                ranks = [f"{name:>12}" for name in self.classes]
            kinds = [f"{kind:<8}" for kind in self.asked]
            lines.append("  ".join(["picture".ljust(self._width), *ranks, *kinds]).rstrip())
        for answer in answers:
            cells = [f"{name:<{self._widest}} {100 * share:5.1f} %" for name, share in self.ranked(answer)]
            if self.values:
                cells = [f"{value:>12}" for value in self.named(answer).values()]
            cells += [f"{100 * share:5.1f} %".ljust(max(8, len(kind))) for kind, share in self.kinds(answer).items()]
            note = [f"({'; '.join(answer.changes)})"] if answer.changes else []
            lines.append("  ".join([answer.picture.ljust(self._width), *cells, *note]))
        return "".join(f"{line}\n" for line in lines)


class _Json(_Form):
    """An array with an object, on its own line, per picture."""

    _some = False

    def begin(self) -> str:
        return "["

    def rows(self, answers: Sequence[Answer]) -> str:
        lines = []
        for answer in answers:
            ranked = [{"class": name, self.word: round(share, 6)} for name, share in self.ranked(answer)]
            said = {"top": ranked}
            if self.values:
                said = {"values": {name: float(value) for name, value in self.named(answer).items()}}
            told: dict[str, Any] = {"picture": answer.picture, **said, "changes": list(answer.changes)}
            if self.asked:
                told["asked"] = {kind: round(share, 6) for kind, share in self.kinds(answer).items()}
            lines.append(f"{',' if self._some else ''}\n{json.dumps(told, ensure_ascii=False)}")
            self._some = True
        return "".join(lines)

    def end(self) -> str:
        return "\n]\n"


class _Csv(_Form):
    """A line of names, then one for every picture."""

    def begin(self) -> str:
        ranks = [f"{name}_{rank}" for rank in range(1, self.top + 1) for name in ("class", self.word)]
        return _line(["picture", *(self.classes if self.values else ranks), *self.asked, "changes"])

    def rows(self, answers: Sequence[Answer]) -> str:
        def cells(answer: Answer) -> list[str]:
            if self.values:
                return list(self.named(answer).values())
            ranked = [cell for name, share in self.ranked(answer) for cell in (name, f"{share:.6f}")]
            return [*ranked, *(f"{share:.6f}" for share in self.kinds(answer).values())]

        return "".join(_line([a.picture, *cells(a), "; ".join(a.changes)]) for a in answers)


def _line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()
