"""What every experiment shares: its arguments, its file of values, its claims, and the words made from them."""

import argparse
import json
import math
import re
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.provenance import about, commit
from jaxcnn import training

RESULTS = Path(__file__).parent / "results"
HEADINGS = ("Hypothesis", "Proxy", "Protocol", "Expected", "Result", "Command", "Cost")
WIDTH = 118

# of one seed, by title (which ends in the unit, after a comma), row and column
Tables = dict[str, dict[str, dict[str, float]]]
# the same of all seeds, a value being {"values": [...], "mean": ..., "standard_deviation": ...}, and how they came
Document = dict[str, Any]


class Claim(NamedTuple):
    """What the course says, and what was found."""

    text: str
    holds: bool
    ours: str
    published: str = ""
    gap: str = ""


class Experiment(NamedTuple):
    """One question.

    Attributes:
      module: the script's `__name__` of import, `"experiments.NAME"`.
      doc: its docstring, with a section for each of `HEADINGS`.
      one_seed: values of one seed; gets `--quick` and the experiment's own arguments too.
      claims: what the values say.
      figure: what is drawn from them.
      shown: titles of the tables that the docstring shows; by default all.
      seeds: those that are run where none are asked for.
      add_arguments: adds arguments of the experiment's own.
    """

    module: str
    doc: str
    one_seed: Callable[[int, argparse.Namespace], Tables]
    claims: Callable[[Document], Sequence[Claim]]
    figure: Callable[[Document], Any]
    shown: tuple[str, ...] | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None

    @property
    def name(self) -> str:
        """That of the script and its results."""
        return self.module.rpartition(".")[2]

    @property
    def path(self) -> Path:
        """The file of its values."""
        return RESULTS / f"{self.name}.json"

    def section(self, heading: str) -> str:
        """What its docstring says under a heading, in one line."""
        found = re.search(rf"^{heading}:\n(.*?)(?=\n\n?\w+:\n|\Z)", self.doc, re.DOTALL | re.MULTILINE)
        return " ".join(found[1].split()) if found else ""

    def main(self, words: Sequence[str] | None = None) -> int:
        """Runs it, prints what was found, writes values and figure; 2 for input that does not fit."""
        parser = argparse.ArgumentParser(f"python -m {self.module}", description=self.doc.partition("\n")[0])
        parser.add_argument("--seeds", type=int, nargs="+", default=list(self.seeds))
        parser.add_argument("--quick", action="store_true", help="much smaller, to see that it runs")
        parser.add_argument("--out", type=Path, help=f"file of values; by default {self.path.name}, with --quick none")
        parser.add_argument("--add", action="store_true", help="keep the seeds that the file already has")
        if self.add_arguments:
            self.add_arguments(parser)
        options = parser.parse_args(words)
        try:
            document = self.run(options)
        except (ValueError, OSError, ModuleNotFoundError) as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 2
        print("\n".join(result_lines(self, document)))
        return 0

    def run(self, options: argparse.Namespace) -> Document:
        """One seed after the other; what is there is written after each."""
        out = options.out or (None if options.quick else self.path)
        runs, spent = earlier(out) if options.add and out and out.exists() else ({}, 0.0)
        document: Document = {}
        for seed in [seed for seed in dict.fromkeys(options.seeds) if seed not in runs] or [None]:
            began = time.perf_counter()
            if seed is not None:
                runs[seed] = self.one_seed(seed, options)
                spent += time.perf_counter() - began
            document = {
                "experiment": self.name,
                "quick": options.quick,
                "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
                "commit": commit(),
                **about(),
                "seeds": sorted(runs),
                "seconds": round(spent, 1),
                "tables": summarised(runs),
            }
            if out is not None:
                out.parent.mkdir(parents=True, exist_ok=True)
                training.write_atomically(out, json.dumps(document, indent=1) + "\n")
                self.figure(document).savefig(out.with_suffix(".png"), dpi=110)
        return document


def say(*words: Any) -> None:
    """A line on how far it is."""
    print(*words, file=sys.stderr, flush=True)


def earlier(path: Path) -> tuple[dict[int, Tables], float]:
    """Values by seed, and the seconds they took, from a file of this machine's kind and these versions.

    Raises:
      ValueError: if it comes from others.
    """
    document = json.loads(path.read_text())
    differ = sorted(key for key, value in about().items() if key != "platform" and document[key] != value)
    if differ:
        raise ValueError(f"`--add` needs values of this machine and these versions; {path} differs in {differ}.")
    runs: dict[int, Tables] = {}
    for place, seed in enumerate(document["seeds"]):
        runs[seed] = {
            title: {
                row: {column: cell["values"][place] for column, cell in cells.items()} for row, cells in rows.items()
            }
            for title, rows in document["tables"].items()
        }
    return runs, document["seconds"]


def summarised(runs: Mapping[int, Tables]) -> dict[str, Any]:
    """Values of every seed in order, mean, and standard deviation over n - 1, by title, row and column."""
    seeds = sorted(runs)

    def gathered(title: str, row: str, column: str) -> dict[str, Any]:
        return _cell([runs[seed][title][row][column] for seed in seeds])

    return {
        title: {row: {column: gathered(title, row, column) for column in cells} for row, cells in rows.items()}
        for title, rows in runs[seeds[0]].items()
    }


def _cell(values: Sequence[float]) -> dict[str, Any]:
    exact = [value if isinstance(value, int) else float(f"{value:.6g}") for value in values]  # counts keep all digits
    deviation = float(f"{np.std(exact, ddof=1):.4g}") if len(exact) > 1 else None
    middle = exact[0] if len(set(exact)) == 1 else float(f"{np.mean(exact):.6g}")
    return {"values": exact, "mean": middle, "standard_deviation": deviation}


def number(value: float) -> str:
    """Four digits, and thousands apart."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def spread(cell: Mapping[str, Any]) -> str:
    """Mean and standard deviation, as `98.3 ± 0.12`; an equal value of all seeds stands alone."""
    deviation = cell["standard_deviation"]
    return number(cell["mean"]) + (f" ± {number(float(f'{deviation:.2g}'))}" if deviation else "")


def mean(document: Document, title: str, row: str, column: str) -> float:
    """One value's mean."""
    return document["tables"][title][row][column]["mean"]


def markdown(title: str, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A table with a column for each that some row has."""
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    lines = [f"| {title} | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for row, cells in rows.items():
        lines.append(f"| {row} | {' | '.join(spread(cells[c]) if c in cells else '' for c in columns)} |")
    return lines


def verdict(claim: Claim) -> str:
    """A claim as one line."""
    published = f"; published: {claim.published}" if claim.published else ""
    gap = f"; gap: {claim.gap}" if claim.gap else ""
    return f"{'Holds' if claim.holds else 'Does not hold'}: {claim.text} ({claim.ours}{published}{gap})."


def result_lines(experiment: Experiment, document: Document) -> list[str]:
    """What a docstring says under Result."""
    seeds, of = document["seeds"], document["versions"]
    lines = [
        f"{len(seeds)} seed{'s' * (len(seeds) > 1)}, jax {of['jax']}, {document['cores']} cores of a "
        f"{document['processor'] or document['device']}, {document['date'][:10]}, commit {document['commit']}."
    ]
    if document["device"] != "cpu":
        lines[0] = lines[0].replace(f"{document['cores']} cores of a ", f"one {document['device']}, ")
    lines += [f"- {verdict(claim)}" for claim in experiment.claims(document)]
    wrapped = [part for line in lines for part in textwrap.wrap(line, WIDTH, subsequent_indent="  " * (line[0] == "-"))]
    for title, rows in document["tables"].items():
        if experiment.shown is None or title in experiment.shown:
            wrapped += ["", *markdown(title, rows)]
    return wrapped
