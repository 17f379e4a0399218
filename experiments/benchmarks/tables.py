"""Documents as text: the table of bars, of which the README has a few, and a table of all rows."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from experiments.benchmarks.bars import BARS, Bar, judge
from experiments.benchmarks.results import Document
from experiments.marked import README, SPEED, write_between

BEGIN = "<!-- speed: written by `jaxcnn bench --readme` from experiments/results -->"
END = "<!-- /speed -->"
COLUMNS = ("0.10", "0.12")  # of the table: versions of jax
IN_README = (
    "max-pool, value and gradient",
    "gradient of grouped convolution, AlexNet's conv2",
    "convolution by oneDNN, geometric mean",
    "training step of LeNet-5, batch 128",
    "training step of ResNet-20, batch 128",
)


def section(documents: Sequence[Document], only: Collection[str] | None = None) -> str:
    """What stands between the marks: the table of bars 1 to 5, and a line on GPUs.

    Args:
      documents: the results.
      only: which bars; by default all.
    """
    on_cpu = {column: _newest(documents, column) for column in COLUMNS}
    lines = [*_caption([document for document in on_cpu.values() if document]), ""]
    lines += [
        f"| | wanted | {' | '.join(f'jax {column}' for column in COLUMNS)} |",
        "| --- " * (2 + len(COLUMNS)) + "|",
    ]
    for place, bar in enumerate(bar for bar in BARS if not bar.gpu):
        if only is not None and bar.what not in only:
            continue
        cells = [_cell(document and judge(document)[place]) for document in on_cpu.values()]
        lines.append(f"| {bar.what} | {_wanted(bar)} | {' | '.join(cells)} |")
    return "\n".join([BEGIN, *lines, "", _gpu_line(documents), END])


def write_tables(documents: Sequence[Document], readme: Path = README, page: Path = SPEED) -> None:
    """Puts a few bars into the README, and all into the page on speed, between the marks of each.

    Raises:
      ValueError: if the marks are not there.
    """
    write_between(BEGIN, END, section(documents, IN_README), readme)
    write_between(BEGIN, END, section(documents), page)


def _newest(documents: Sequence[Document], column: str) -> Document | None:
    """Of the documents of a version of jax on CPU, the one with the last row."""
    fitting = [
        document
        for document in documents
        if document["about"]["device"].lower() == "cpu"
        and document["about"]["versions"]["jax"].split(".")[:2] == column.split(".")
    ]
    return max(fitting, key=_date, default=None)


def _date(document: Document) -> str:
    return max((row["date"] for row in document["rows"].values()), default="")


def _caption(documents: Sequence[Document]) -> list[str]:
    if not documents:
        return ["Not run yet: `jaxcnn bench` measures, `jaxcnn bench --readme` writes this table."]
    about = documents[0]["about"]
    where = f"{about['cores']} cores of {about['processor'] or 'a CPU'}, {_date(documents[0])[:10]}"
    return [
        "Speed-up: baseline time divided by jaxcnn's. For one task: median (quartiles) of alternating rounds; for",
        "several tasks: geometric mean (smallest to largest). The baseline is stock Flax; where PyTorch is named,",
        f"it is PyTorch in its better layout. All run with `training.keep_memory()`. {where}.",
    ]


def _wanted(bar: Bar) -> str:
    sign = "<=" if bar.fact else ">="
    if isinstance(bar.limit, float | int):
        return f"{sign} {bar.limit:g}"
    named = ", ".join(f"{limit:g} ({version})" for version, limit in bar.limit.items() if version)
    return f"{sign} {bar.limit['']:g}, {named}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _cell(verdict: dict[str, Any] | None) -> str:
    """The values of a bar's cases; bold says where it is missed."""
    if verdict is None or all(case["value"] is None for case in verdict["cases"]):
        return "not run"
    parts = []
    for case in verdict["cases"]:
        if case["value"] is None:
            text = "not run"
        else:
            text = _number(case["value"])
            if case["low"] != case["high"]:
                text += f" ({_number(case['low'])} to {_number(case['high'])})"
            if not case["met"]:
                text = f"**{text}, missed**"
        parts.append(f"{case['label']} {text}".strip())
    return ", ".join(parts)


def _gpu_line(documents: Sequence[Document]) -> str:
    found = [document for document in documents if document["about"]["device"].lower() != "cpu"]
    if not found:
        return (
            "On a GPU (ResNet-50, batch 256, bfloat16): not measured yet. To measure: "
            "`jaxcnn bench --rows step/resnet50-gpu max-pool`."
        )
    document = max(found, key=_date)
    ours = document["rows"].get("step/resnet50-gpu", {}).get("contestants", {}).get("jaxcnn", {})
    parts = [f"{verdict['what']} (wanted >= {verdict['at_least']:g}): {_cell(verdict)}" for verdict in judge(document)]
    if "images_per_s" in ours:
        share = f", {ours['utilization']:.0%} of its peak" if "utilization" in ours else ""
        parts.append(f"{ours['images_per_s']:.0f} images/s{share}")
    return f"On {document['about']['device']}, jax {document['about']['versions']['jax']}: {'; '.join(parts)}."


def row_table(document: Document) -> str:
    """Every row: our time, everyone's as a multiple of it with quartiles, then temporaries and compile times."""
    names: list[str] = []
    for row in document["rows"].values():
        names += [name for name in row["contestants"] if name not in names]
    times = [["row", *(f"{name}{' ms' if name == 'jaxcnn' else ''}" for name in names)]]
    facts = [["row", *names]]
    for key, row in document["rows"].items():
        ours = row["contestants"].get("jaxcnn")
        line, other = [key], [key]
        for name in names:
            found = row["contestants"].get(name)
            if found is None:
                line.append("-")
            elif name == "jaxcnn" or ours is None:
                ms = found["ms"]
                line.append(f"{ms['median']:.4g} ({ms['low']:.4g} to {ms['high']:.4g})")
            else:
                ratio = row["ratios"]["jaxcnn"][name]
                line.append(f"{ratio['median']:.3g}x ({ratio['low']:.3g} to {ratio['high']:.3g})")
            other.append(_facts(found or {}))
        times.append(line)
        if any(cell != "-" for cell in other[1:]):
            facts.append(other)
    parts = [_aligned(times)]
    if len(facts) > 1:
        parts += ["temporaries in MB, and seconds to compile:", _aligned(facts)]
    return "\n\n".join(parts)


def _facts(found: dict[str, Any]) -> str:
    parts = []
    if "temporaries_bytes" in found:
        parts.append(f"{found['temporaries_bytes'] / 1e6:.4g} MB")
    if "compile_s" in found:
        parts.append(f"{found['compile_s']:.3g} s")
    return " ".join(parts) or "-"


def verdict_lines(document: Document) -> list[str]:
    """One line for every bar that was run."""
    lines = []
    for verdict in judge(document):
        if (cell := _cell(verdict)) != "not run":
            sign, limit = ("<=", verdict["at_most"]) if "at_most" in verdict else (">=", verdict["at_least"])
            lines.append(f"{verdict['what']}, {sign} {limit:g}: {cell.replace('**', '')}")
    return lines


def _aligned(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(row.rstrip() for row in rows)
