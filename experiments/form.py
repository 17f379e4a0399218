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
_FOR_ALL = ("seeds", "quick", "out", "add")  # arguments of every experiment

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
      over: what the seeds stand for, and another name of the argument `--seeds`, as `"folds"`.
    """

    module: str
    doc: str | None
    one_seed: Callable[[int, argparse.Namespace], Tables]
    claims: Callable[[Document], Sequence[Claim]]
    figure: Callable[[Document], Any]
    shown: tuple[str, ...] | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None
    over: str = "seeds"

    @property
    def name(self) -> str:
        """That of the script and its results."""
        return self.module.rpartition(".")[2]

    @property
    def summary(self) -> str:
        """Its docstring's first line."""
        return (self.doc or "").partition("\n")[0]

    @property
    def one(self) -> str:
        """What a seed is called."""
        return self.over.removesuffix("s")

    @property
    def path(self) -> Path:
        """The file of its values."""
        return RESULTS / f"{self.name}.json"

    def section(self, heading: str) -> str:
        """What its docstring says under a heading, in one line."""
        found = re.search(rf"^{heading}:\n(.*?)(?=\n\n?\w+:\n|\Z)", self.doc or "", re.DOTALL | re.MULTILINE)
        return " ".join(found[1].split()) if found else ""

    def main(self, words: Sequence[str] | None = None) -> int:
        """Runs it, prints what was found, writes values and figure; 2 for input that does not fit."""
        parser = argparse.ArgumentParser(f"python -m {self.module}", description=self.summary)
        names = dict.fromkeys(["--seeds", f"--{self.over}"])
        parser.add_argument(*names, dest="seeds", type=int, nargs="+", default=list(self.seeds))
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
        if out is not None and out.is_dir():  # said now, not after the first seed
            raise ValueError(f"`--out` must be a file, as in {out / self.path.name}; got the folder {out}.")
        own = {key: _told(value) for key, value in vars(options).items() if key not in _FOR_ALL}
        facts = {"quick": options.quick, "options": own} | about()
        document: Document = earlier(out, facts) if options.add and out and out.exists() else {}
        runs, spent = by_seed(document), document.get("seconds", 0.0)
        for seed in [seed for seed in dict.fromkeys(options.seeds) if seed not in runs] or [None]:
            if seed is not None:
                began = time.perf_counter()
                runs[seed] = self.one_seed(seed, options)
                spent += time.perf_counter() - began
                document = {
                    "experiment": self.name,
                    "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
                    "commit": commit(),
                    **facts,
                    "seeds": sorted(runs),
                    "seconds": round(spent, 1),
                    "tables": summarized(runs),
                }
            if out is not None:  # of no new seeds too: what is drawn may be new
                out.parent.mkdir(parents=True, exist_ok=True)
                training.write_atomically(out, json.dumps(document, indent=1) + "\n")
                self.figure(document).savefig(out.with_suffix(".png"), dpi=110)
        return document


def say(*words: Any) -> None:
    """A line on how far it is."""
    print(*words, file=sys.stderr, flush=True)


def _told(value: Any) -> Any:
    """An option as a file of values has it, without the folders of this machine."""
    return re.sub(r"[^:]*/", "", str(value)) if isinstance(value, str | Path) else value


def earlier(path: Path, facts: Mapping[str, Any]) -> Document:
    """A file of values, of this machine's kind, these versions and options.

    Raises:
      ValueError: if it comes from others.
    """
    document = json.loads(path.read_text())
    differ = sorted(key for key, value in facts.items() if key != "platform" and document.get(key) != value)
    if differ:
        raise ValueError(f"`--add` needs this machine, these versions and options; {path} differs in {differ}.")
    return document


def by_seed(document: Document) -> dict[int, Tables]:
    """The values that were summarised."""
    return {
        seed: {
            title: {
                row: {column: cell["values"][place] for column, cell in cells.items()} for row, cells in rows.items()
            }
            for title, rows in document["tables"].items()
        }
        for place, seed in enumerate(document.get("seeds", ()))
    }


def summarized(runs: Mapping[int, Tables]) -> dict[str, Any]:
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
    if len(set(exact)) == 1:  # NumPy would round
        return {"values": exact, "mean": exact[0], "standard_deviation": 0.0 if len(exact) > 1 else None}
    deviation = float(f"{np.std(exact, ddof=1):.4g}")
    return {"values": exact, "mean": float(f"{np.mean(exact):.6g}"), "standard_deviation": deviation}


def outliers(document: Document) -> list[str]:
    """Seeds whose value stands out from those of the others, by Grubbs' test at 1 % over all values together.

    An outlier calls for inquiry: it is named, and stays in the mean. It must differ from the median by a tenth of it,
    so that it matters; fewer than three different values cannot show one, since counts often coincide by chance.
    """
    from scipy.stats import t

    cells = [
        (title, row, column, cell["values"])
        for title, rows in document["tables"].items()
        for row, columns in rows.items()
        for column, cell in columns.items()
    ]
    found, seeds = [], document["seeds"]
    for title, row, column, values in cells:
        count = len(values)
        if len(set(values)) < 3 or not np.isfinite(values).all():
            continue
        distances = np.abs(np.asarray(values, float) - np.mean(values)) / np.std(values, ddof=1)
        quantile = t.isf(0.01 / (2 * count * len(cells)), count - 2) ** 2
        place, median = int(distances.argmax()), float(np.median(values))
        far = distances[place] > (count - 1) / math.sqrt(count) * math.sqrt(quantile / (count - 2 + quantile))
        if far and abs(values[place] - median) > abs(median) / 10:
            told = f"{number(values[place])}, median {number(median)}"
            found.append(f"seed {seeds[place]} in {title} of {row}, {column}: {told}")
    return found


def number(value: float) -> str:
    """Four digits, three below a thousandth, and thousands apart."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 1e-3 else f"{value:.3g}"


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


def wrap(text: str, indent: str = "") -> list[str]:
    """A docstring's lines, a number and its unit in one of them; the second and later ones are indented."""
    kept = re.sub(r"(?<=\d) (?=%)", "\xa0", text)
    lines = textwrap.wrap(kept, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines]


def result_lines(experiment: Experiment, document: Document) -> list[str]:
    """What a docstring says under Result."""
    seeds, of = document["seeds"], document["versions"]
    counted = experiment.over if len(seeds) > 1 else experiment.one
    where = f"{document['cores']} core{'s' * (document['cores'] > 1)} of {document['processor'] or document['device']}"
    lines = [
        f"{len(seeds)} {counted}, jax {of['jax']}, {where if document['device'] == 'cpu' else document['device']}, "
        f"{document['date'][:10]}, commit {document['commit']}."
    ]
    lines += [f"- {verdict(claim)}" for claim in experiment.claims(document)]
    lines += [f"- Stands out, to be looked into: {outlier}." for outlier in outliers(document)]
    wrapped = [part for line in lines for part in wrap(line, "  " * (line[0] == "-"))]
    for title, rows in document["tables"].items():
        if experiment.shown is None or title in experiment.shown:
            wrapped += ["", *markdown(title, rows)]
    return wrapped
