"""`jaxcnn models`."""

import dataclasses
import itertools
import json as json_module
import re
import shutil
import textwrap

from jaxcnn import models

_GAP = "  "
_PLACE = re.compile(r"(?:, [\w.& ]+ \d{4})?, (?:table|figure|section) [\d.]+$")  # where a paper says it: left to --json


@dataclasses.dataclass(frozen=True)
class Models:
    """List the networks: paper, input, parameters, multiply-adds, published result."""

    json: bool = False
    """Print JSON, with all that is known, and not a table."""

    def __call__(self) -> None:
        """Prints the table, oldest paper first."""
        rows = [_row(name) for name in sorted(models.MODELS, key=_age)]
        if self.json:
            print(json_module.dumps(rows, indent=1))
            return
        print("\n".join(_lines(rows, shutil.get_terminal_size().columns)))


def _lines(rows: list[dict], width: int) -> list[str]:
    """A heading for each paper, and a line for each network.

    The heading tells the input too; a line has so many columns.
    """
    cells = [(str(row["name"]), f"{row['parameters']:,}", _short(row["multiply_adds"])) for row in rows]
    titles = "name", "parameters", "multiply-adds"
    widths = [max(len(row[place]) for row in [titles, *cells]) for place in range(3)]

    def line(name: str, parameters: str, work: str, result: str) -> list[str]:
        first = _GAP.join([name.ljust(widths[0]), parameters.rjust(widths[1]), work.rjust(widths[2]), ""])
        kept = result.replace(" %", "\xa0%")  # a number and its sign stay on one line
        room = max(width - len(first), 20)
        wrapped = textwrap.wrap(kept, room, break_on_hyphens=False) or [""]
        begun = itertools.chain([first], itertools.repeat(" " * len(first)))
        return [(begin + part).replace("\xa0", " ").rstrip() for begin, part in zip(begun, wrapped, strict=False)]

    lines = line(*titles, "published result")
    for (paper, year, shape), several in itertools.groupby(
        zip(rows, cells, strict=True), key=lambda pair: tuple(pair[0][key] for key in ("paper", "year", "input_shape"))
    ):
        authors, _, title = paper.partition(", ")
        heading = f"{authors} {year}, {title}; input {'x'.join(map(str, shape))}"
        lines += ["", *textwrap.wrap(heading, width, subsequent_indent=_GAP)]
        for row, own in several:
            lines += line(*own, _PLACE.sub("", row["published"]))
    return lines


def _age(name: str) -> tuple:
    """By year, paper and input; within a family, by depth."""
    card = models.CARDS[name]
    depth = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
    return card.year, card.paper, card.input_shape, depth


def _row(name: str) -> dict:
    card = models.CARDS[name]
    return {"name": name, **card._asdict(), "errors": [error._asdict() for error in card.errors]}


def _short(count: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {letter}"
    return str(count)
