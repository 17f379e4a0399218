"""The figures, readable in grey."""

from pathlib import Path
from typing import Any

from experiments.benchmarks.results import Document
from experiments.benchmarks.rows import LAYOUTS, OURS

_PEERS = {  # who stands in the figure: grey, hatching; PyTorch by its better layout
    "stock Flax": (("flax",), "0.35", ""),
    "Keras": (("keras",), "0.6", "//"),
    "Equinox": (("equinox",), "0.75", ".."),
    "PyTorch": (LAYOUTS, "0.9", ""),
    "torch.compile": (("torch-compile",), "1.0", "xx"),
}


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

    rows = {
        name: row["ratios"]
        for name, row in document["rows"].items()
        if row["ratios"] and not name.startswith(("growth/", "newcomer/"))
    }
    if not rows:
        return None
    columns = [name for name in OURS if any(name in ratios for ratios in rows.values())]
    figure = Figure(figsize=(5 + 3 * len(columns), 1.2 + 0.5 * len(rows)), layout="constrained")
    for axes, ours in zip(figure.subplots(1, len(columns), sharey=True, squeeze=False)[0], columns, strict=True):
        for place, ratios in enumerate(rows.values()):
            _draw_row(axes, place, ratios.get(ours, {}))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.axvline(1, color="black", linewidth=1)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"their time / that of {ours}")
        handles, labels = axes.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        axes.legend(unique.values(), unique.keys(), fontsize="small")
    figure.suptitle(f"{_title(document)}: medians and quartiles")
    return figure


def _draw_row(axes: Any, place: int, ratios: dict[str, Any]) -> None:
    found = [
        (label, ratio, grey, hatch)
        for label, (names, grey, hatch) in _PEERS.items()
        if (ratio := _best(ratios, names)) is not None
    ]
    for number, (label, ratio, grey, hatch) in enumerate(found):
        height = 0.8 / len(found)
        axes.barh(
            place - 0.4 + (number + 0.5) * height,
            ratio["median"] - 1,
            height,
            left=1,
            color=grey,
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


def _growth(document: Document) -> Any:
    """Time, temporaries and compile time over the batch or the size."""
    from matplotlib.figure import Figure

    from experiments.benchmarks.steps import GROWTH, STEPS

    series: dict[tuple[str, str], dict[str, list[tuple[int, dict[str, Any]]]]] = {}
    places = {
        f"growth/{key}": (key.split("/")[0], "size" if "size" in key else "batch", task) for key, task in GROWTH.items()
    }
    for name in ("lenet5", "resnet20"):
        places[f"step/{name}"] = (name, "batch", STEPS[name])
    for key, (network, axis, task) in places.items():
        for name, found in document["rows"].get(key, {}).get("contestants", {}).items():
            value = task.batch if axis == "batch" else task.shape[1]
            series.setdefault((network, axis), {}).setdefault(name, []).append((value, found))
    if not series:
        return None
    figure = Figure(figsize=(11, 3 * len(series)), layout="constrained")
    grid = figure.subplots(len(series), 3, squeeze=False)
    facts = (("ms", "ms a step"), ("temporaries_bytes", "temporaries, MB"), ("compile_s", "compile, s"))
    for line, ((network, axis), contestants) in zip(grid, series.items(), strict=True):
        for axes, (fact, label) in zip(line, facts, strict=True):
            for number, (name, points) in enumerate(contestants.items()):
                values = sorted((value, _fact(found, fact)) for value, found in points if fact in found)
                if values:
                    style = ("-", "--", "-.", ":")[number % 4]
                    axes.plot(
                        *zip(*values, strict=True), style, marker="osv^Dx+"[number % 7], color="black", label=name
                    )
            axes.set(xscale="log", yscale="log", xlabel=f"{network}, {axis}", ylabel=label)
    grid[0][0].legend(fontsize="x-small")
    figure.suptitle(_title(document))
    return figure


def _fact(found: dict[str, Any], fact: str) -> float:
    if fact == "ms":
        return found["ms"]["median"]
    return found[fact] / 1e6 if fact == "temporaries_bytes" else found[fact]
