"""One self-contained page about several runs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jaxcnn import training
from jaxcnn.inspect.pages import frame


def write_comparison(
    path: str | Path,
    runs: Mapping[Path, Sequence[dict[str, Any]]],
    listed: Sequence[Sequence[str]],
    differences: Mapping[str, Sequence[str]],
    *,
    metrics: Mapping[Path, str],
) -> Path:
    """Writes a page that compares runs.

    It has their results, the values of their configurations that differ, and their learning curves.

    Args:
      path: the HTML file.
      runs: by folder, the epoch rows of a run's log.
      listed: a table of the runs, the titles first; its first column links to the reports.
      differences: by name of a value, what it is in each run.
      metrics: by folder, the metric to draw; runs with the same one are drawn together.

    Returns:
      The path of the page.
    """
    from jaxcnn.inspect import plots

    path, names = Path(path), [folder.as_posix() for folder in runs]
    parts = [f"<h1>{len(runs)} runs compared</h1>", table_of(listed, links=[_report(folder, path) for folder in runs])]
    parts += ["<h2>What differs in their configurations</h2>"]
    if differences:
        parts.append(table_of([["", *names], *([name, *values] for name, values in differences.items())]))
    else:
        parts.append('<p class="note">Nothing: they are repetitions.</p>')
    note = "The table has the values that a run ends with; the curves are of its parameters without moving averages."
    parts += ["<h2>Learning curves</h2>", f'<p class="note">{note}</p>']
    if left := [folder.as_posix() for folder, rows in runs.items() if not rows]:
        parts.append(f'<p class="note">No epoch was finished in {frame.text(", ".join(left))}.</p>')
    for metric in dict.fromkeys(metrics[folder] for folder, rows in runs.items() if rows):
        drawn = {folder.as_posix(): rows for folder, rows in runs.items() if rows and metrics[folder] == metric}
        described = f"Loss and {training.METRICS[metric].title} on held-out examples by epoch, a line for each run"
        parts.append(frame.image(plots.compared_curves(drawn, metric=metric), described))
    training.write_atomically(path, frame.page(f"{len(runs)} runs compared", parts))
    return path


def _report(folder: Path, page: Path) -> str:
    """The address of a run's report from the page.

    It is empty if there is no report.
    """
    report = folder / "report.html"
    return quote(Path(os.path.relpath(report, page.parent)).as_posix()) if report.exists() else ""


def table_of(rows: Sequence[Sequence[str]], links: Sequence[str] = ()) -> str:
    """Makes the markup of a table.

    Args:
      rows: cells, the titles first.
      links: addresses that the first cells link to; an empty one is none.
    """
    head = "".join(f"<th>{frame.text(cell)}</th>" for cell in rows[0])
    lines = [f"<tr>{head}</tr>"]
    for place, row in enumerate(rows[1:]):
        first, *rest = (frame.text(cell) for cell in row)
        if place < len(links) and links[place]:
            first = f'<a href="{frame.text(links[place])}">{first}</a>'
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in (first, *rest))}</tr>")
    return f'<div style="overflow-x: auto"><table>{"".join(lines)}</table></div>'
