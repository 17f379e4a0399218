"""One self-contained page about a sweep."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jaxcnn import training
from jaxcnn.inspect.pages import frame
from jaxcnn.inspect.pages.comparison import table_of


def write_sweep(
    path: str | Path,
    names: Sequence[str],
    settings: Sequence[Sequence[Any]],
    results: Sequence[float | None],
    *,
    metric: str,
    logarithmic: Collection[str],
    table: Sequence[Sequence[str]],
    heading: str,
    links: Sequence[str],
    notes: Sequence[str],
) -> Path:
    """Writes a page with the settings and their results.

    Args:
      path: the HTML file.
      names: names of the options that are varied.
      settings: the values of each setting, the best first.
      results: the result of each setting; None if it has none.
      metric: name of the metric of the results.
      logarithmic: names of options with a logarithmic axis.
      table: a table of the settings, the titles first; its first column links to the reports.
      heading: what the numbers of the table are.
      links: by setting, the run folder beside the page; empty if it has none.
      notes: remarks in words.

    Returns:
      The path of the page.
    """
    from jaxcnn.inspect import plots

    path = Path(path)
    title = f"Sweep {path.parent.name}: {len(settings)} setting{'s' * (len(settings) != 1)}"
    parts = [f"<h1>{frame.text(title)}</h1>", *(f'<p class="note">{frame.text(note)}</p>' for note in notes)]
    if settings:
        note = "A line is a setting, gray for the worst results to red-brown for the best. The thick line is the best."
        figure = plots.parallel_settings(names, settings, results, metric=metric, logarithmic=logarithmic)
        described = f"{training.METRICS[metric].title} of every setting, a line over an axis for each option"
        parts += frame.section("Options and results", note, (figure, described))
    there = [quote(f"{link}/report.html") if (path.parent / link / "report.html").exists() else "" for link in links]
    parts += ["<h2>All settings</h2>", f'<p class="note">{frame.text(heading)}</p>', table_of(table, links=there)]
    training.write_atomically(path, frame.page(title, parts))
    return path
