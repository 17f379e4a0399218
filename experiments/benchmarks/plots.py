"""The figures, readable in gray."""

from pathlib import Path
from typing import Any

from experiments.benchmarks.results import Document
from experiments.benchmarks.rows import LAYOUTS, OURS, PEERS

_PEERS = {  # who stands in the figure: gray, hatching; PyTorch by its better layout
    "stock Flax": (("flax",), "0.35", ""),
    "Keras": (("keras",), "0.6", "//"),
    "Equinox": (("equinox",), "0.75", ".."),
    "PyTorch": (LAYOUTS, "0.9", ""),
    "torch.compile": (("torch-compile",), "1.0", "xx"),
}


_MARKERS = dict(zip((*OURS, *PEERS), "osv^Dx+*", strict=True))


def write_plots(document: Document, stem: Path) -> list[Path]:
    """Draws the ratios of all rows, and how steps grow.

    Args:
      document: the figures.
      stem: the path without what comes after `-ratios.png` and `-growth.png`.

    Returns:
      The files that were written.
    """
    drawn = [("ratios", _ratios(document)), ("growth", _growth(document))]
    paths = []
    for name, figure in drawn:
        if figure is not None:
            paths.append(stem.with_name(f"{stem.name}-{name}.png"))
            figure.savefig(paths[-1], dpi=120)
    return paths


def _title(document: Document) -> str:
    about = document["about"]
    return f"{about['device']}, {about['cores']} cores, jax {about['versions']['jax']}"


def _ratios(document: Document) -> Any:
    """Bars on a logarithmic axis that begins at 1, right where ours is ahead: by hand, and by oneDNN if it is there."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    rows = {
        name: row["ratios"]
        for name, row in document["rows"].items()
        if row["ratios"] and not name.startswith(("growth/", "newcomer/"))
    }
    if not rows:
        return None
    columns = [name for name in OURS if any(name in ratios for ratios in rows.values())]
    figure = Figure(figsize=(5 + 3 * len(columns), 1.2 + 0.5 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, ours in zip(panels, columns, strict=True):
        for place, ratios in enumerate(rows.values()):
            _draw_row(axes, place, ratios.get(ours, {}))
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.axvline(1, color="black", linewidth=1)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"their time / that of {ours}")
    handles, labels = panels[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=5, fontsize="small")
    figure.suptitle(f"{_title(document)}: medians and quartiles")
    return figure


def _draw_row(axes: Any, place: int, ratios: dict[str, Any]) -> None:
    found = [
        (label, ratio, gray, hatch)
        for label, (names, gray, hatch) in _PEERS.items()
        if (ratio := _best(ratios, names)) is not None
    ]
    for number, (label, ratio, gray, hatch) in enumerate(found):
        height = 0.8 / len(found)
        axes.barh(
            place - 0.4 + (number + 0.5) * height,
            ratio["median"] - 1,
            height,
            left=1,
            color=gray,
            hatch=hatch,
            edgecolor="black",
            linewidth=0.5,
            xerr=[[ratio["median"] - ratio["low"]], [ratio["high"] - ratio["median"]]],
            error_kw={"linewidth": 0.8},
            label=label,
        )


def _best(ratios: dict[str, Any], names: tuple[str, ...]) -> dict[str, float] | None:
    there = [ratios[name] for name in names if name in ratios]
    return min(there, key=lambda ratio: ratio["median"], default=None)


def _grown() -> dict[tuple[str, str], list[tuple[int, str]]]:
    """For every line of panels the values on its axis, and the rows that were measured there."""
    from experiments.benchmarks import ops, steps

    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    tasks = {f"growth/{key}": task for key, task in steps.GROWTH.items()}
    tasks |= {f"step/{name}": steps.STEPS[name] for name in ("lenet5", "resnet20")}
    for name, task in tasks.items():
        if task.size is None:
            found.setdefault((task.network, "batch"), []).append((task.batch, name))
        if task.size is not None or name == "growth/resnet20/batch32":
            found.setdefault((task.network, "size"), []).append((task.shape[1], name))
    found["max-pool", "size"] = [(size, f"growth/max-pool/size{size}") for size in ops.GROWTH]
    return {key: sorted(points) for key, points in found.items()}


def _growth(document: Document) -> Any:
    """Time, temporaries and compile time over the batch or the size."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    rows = document["rows"]
    grown = {key: there for key, points in _grown().items() if (there := [p for p in points if p[1] in rows])}
    if not grown:
        return None
    figure = Figure(figsize=(11, 1 + 3 * len(grown)), layout="constrained")
    grid = figure.subplots(len(grown), 3, squeeze=False)
    facts = (("ms", "ms"), ("temporaries_bytes", "temporaries, MB"), ("compile_s", "compile, s"))
    for line, ((what, axis), points) in zip(grid, grown.items(), strict=True):
        for axes, (fact, label) in zip(line, facts, strict=True):
            for name, marker in _MARKERS.items():
                found = [(value, rows[row]["contestants"].get(name, {})) for value, row in points]
                values = [(value, _fact(entry, fact)) for value, entry in found if entry.get(fact)]
                if values:
                    ours = name.startswith("jaxcnn")
                    style = {"color": "black" if ours else "0.5", "linestyle": "-" if ours else "--"}
                    axes.plot(*zip(*values, strict=True), marker=marker, label=name, **style)
            axes.set(xscale="log", yscale="log", xlabel=f"{what}, {axis}", ylabel=label)
            axes.set_xticks([value for value, _ in points], [str(value) for value, _ in points], minor=False)
            axes.set_xticks([], minor=True)
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="small")
    figure.suptitle(_title(document))
    return figure


def _fact(found: dict[str, Any], fact: str) -> float:
    if fact == "ms":
        return found["ms"]["median"]
    return found[fact] / 1e6 if fact == "temporaries_bytes" else found[fact]
