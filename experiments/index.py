"""The index of all experiments, and the words in them that are made from their files of values.

`python -m experiments` lists them; `python -m experiments --write` writes each docstring's Result and Cost,
`experiments/README.md`, and the tables of results in the README and in `docs`.
"""

import argparse
import importlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from experiments import complaints
from experiments.form import Experiment, result_lines, wrap
from experiments.marked import README, RESULTS, SPEED, write_between

HERE = Path(__file__).parent
BEGIN = "<!-- results: written by `python -m experiments --write` from experiments/results -->"
END = "<!-- /results -->"
IN_README = ("complaints", "depth_degradation", "hand_vs_autodiff", "lecun1989", "lenet5_mnist")
_NONE_YET = "None yet: not run in full."


def experiments() -> Iterator[Experiment]:
    """All of them, by name."""
    for path in sorted(HERE.glob("*.py")):
        if re.search(r"^EXPERIMENT = ", path.read_text(), re.MULTILINE):
            yield importlib.import_module(f"experiments.{path.stem}").EXPERIMENT


def generated(experiment: Experiment, heading: str) -> list[str]:
    """What a docstring must say under Result or Cost."""
    if not experiment.path.exists():
        return [_NONE_YET] if heading == "Result" else wrap(experiment.section("Cost"))
    document = json.loads(experiment.path.read_text())
    if heading == "Result":
        return result_lines(experiment, document)
    seconds = document["seconds"] / len(document["seeds"])
    cost = f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.1f} minutes"
    return [f"{cost} a {experiment.one}, where the result comes from."]


def with_section(source: str, heading: str, lines: Sequence[str]) -> str:
    """A script's text with other words under a heading."""
    body = "\n".join(f"  {line}".rstrip() for line in lines)
    following = r'(?=\n\n(?:\w+:\n)|\n""")'
    found, count = re.subn(rf"(?<=^{heading}:\n).*?{following}", lambda _: body, source, count=1, flags=re.S | re.M)
    if not count:
        raise ValueError(f"a script must have the section {heading}; this has none: {source[:60]!r}.")
    return found


def readme() -> str:
    """The table of claims."""
    lines = [
        "# Experiments",
        "",
        "Each script asks one question, and uses public names only. It begins with its hypothesis, its proxy, its",
        "protocol and the result that was expected. It takes `--seeds`, `--quick` and `--out`, and leaves its values",
        "and a figure in [results](results). `python -m experiments --write` makes this page and the Result of every",
        "script from these values. A test says that they agree.",
        "",
        "*Published* is what a paper reports, *here* is what this library reached, and *gap* is the difference. A",
        "seed whose value stands out from the others is named under the script's Result.",
        "",
        "| experiment | claim | holds | published | here | gap |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    costs = ["", "| command | cost |", "| --- | --- |"]
    for experiment in experiments():
        link = f"[{experiment.name}]({experiment.name}.py)"
        costs.append(f"| `{experiment.section('Command')}` | {experiment.section('Cost')} |")
        if not experiment.path.exists():
            lines.append(f"| {link} | {experiment.section('Hypothesis')} | not run | | | |")
            continue
        document = json.loads(experiment.path.read_text())
        for claim in experiment.claims(document):
            holds = "yes" if claim.holds else "**no**"
            lines.append(f"| {link} | {claim.text} | {holds} | {claim.published} | {claim.ours} | {claim.gap} |")
            link = ""
    return "\n".join([*lines, *costs]) + "\n"


def results(names: Collection[str] | None = None, scripts: str = "../experiments") -> str:
    """The first claim of every experiment that was run.

    Args:
      names: which experiments; by default all.
      scripts: where the page finds them.
    """
    found = [experiment for experiment in experiments() if experiment.path.exists()]
    claims = [(each.name, each.claims(json.loads(each.path.read_text()))[0]) for each in found]
    lines = ["| claim | published | here |", "| --- | --- | --- |"]
    for name, claim in claims:
        if names is None or name in names:
            ours = claim.ours if claim.holds else f"**does not hold**: {claim.ours}"
            lines.append(f"| [{claim.text}]({scripts}/{name}.py) | {claim.published} | {ours} |")
    held = sum(claim.holds for _, claim in claims)
    lines += ["", f"Each of {len(claims)} experiments tests one main claim: {held} hold, {len(claims) - held} do not."]
    return "\n".join([BEGIN, *lines, END])


def readme_results() -> str:
    """A few of them."""
    return results(IN_README, "experiments")


def main(words: Sequence[str] | None = None) -> int:
    """Lists the experiments, or writes what is made from their values."""
    parser = argparse.ArgumentParser("python -m experiments", description="Lists the experiments.")
    parser.add_argument("--write", action="store_true", help="write every Result and Cost, and the tables, anew")
    options = parser.parse_args(words)
    for experiment in experiments():
        print(f"{experiment.section('Command'):60} {experiment.summary}")
        if options.write:
            path = HERE / f"{experiment.name}.py"
            source = path.read_text()
            for heading in ("Result", "Cost"):
                source = with_section(source, heading, generated(experiment, heading))
            path.write_text(source)
            importlib.reload(importlib.import_module(experiment.module))
    if options.write:
        (HERE / "README.md").write_text(readme())
        write_between(BEGIN, END, readme_results(), README)
        write_between(BEGIN, END, results(), RESULTS)
        if complaints.EXPERIMENT.path.exists():
            document = json.loads(complaints.EXPERIMENT.path.read_text())
            write_between(complaints.BEGIN, complaints.END, complaints.readme(document), README)
            write_between(complaints.BEGIN, complaints.END, complaints.table(document), SPEED)
    return 0
