"""Pages that are made: notebooks and texts from elsewhere in the repository, the table of networks, outer links."""

import contextlib
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxcnn import models
from jaxcnn.cli import main
from jaxcnn.cli.models import Models
from jaxcnn.models.imagenet import OTHERS

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
SOURCE = "https://github.com/jaxcnn/jaxcnn/blob/main"
BEGIN = "<!-- models: written by `python docs/site_pages.py` from the registry -->"
END = "<!-- /models -->"
ERRORS = "<!-- errors: written by `python docs/site_pages.py` from the registry -->", "<!-- /errors -->"
WINNERS = "<!-- winners: written by `python docs/site_pages.py` from jaxcnn.models.ILSVRC -->", "<!-- /winners -->"
HELP_FORM = {"COLUMNS": "78", "NO_COLOR": "1", "TERM": "dumb"}
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def linked(text: str, page: Path) -> str:
    """A page's text with the links that leave `docs` led to their place on the site, or to the source.

    Args:
      text: Markdown.
      page: the file that it stands in.
    """

    def one(found: re.Match[str]) -> str:
        begin, link, anchor, end = found.groups()
        if "://" in link or link.startswith(("/", "mailto:")) or link.endswith(".png"):
            return found[0]
        target = Path(os.path.normpath(page.parent / link))
        if not target.is_relative_to(ROOT) or (target.is_relative_to(DOCS) and page.is_relative_to(DOCS)):
            return found[0]
        return f"{begin}{_place(target)}{anchor or ''}{end}"

    return _LINK.sub(one, text)


def _place(target: Path) -> str:
    path = target.relative_to(ROOT)
    if path.parts[0] == "colab" and path.suffix == ".ipynb":
        return f"/tutorials/{path.name}"
    if path.parts[0] == "docs":
        return f"/{path.relative_to('docs').as_posix()}"
    if path.as_posix() == "experiments/README.md":
        return "/experiments.md"
    if path.as_posix() == "CHANGELOG.md":
        return "/changelog.md"
    return f"{SOURCE}/{path.as_posix()}"


def update(path: Path, text: str) -> None:
    """Writes a file that has changed, and leaves any other its date, so that it is not built again."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def models_table() -> str:
    """The table of networks, from the registry."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        Models(json=True)()
    lines = ["| name | input | parameters | multiply-adds | paper | published |", "| --- " * 6 + "|"]
    for row in json.loads(printed.getvalue()):
        sizes = "x".join(map(str, row["input_shape"]))
        numbers = f"{row['parameters']:,} | {row['multiply_adds']:,}"
        lines.append(f"| `{row['name']}` | {sizes} | {numbers} | {row['paper']}, {row['year']} | {row['published']} |")
    return "\n".join([BEGIN, *lines, END])


def errors_table() -> str:
    """What papers report on ImageNet, by network."""
    lines = ["| name | top-1, % | top-5, % | protocol | source |", "| --- " * 5 + "|"]
    rows = [(f"`{name}`", error) for name, card in models.CARDS.items() for error in card.errors]
    for name, error in [*OTHERS.items(), *rows]:
        numbers = " | ".join("" if value is None else f"{value:.2f}" for value in (error.top1, error.top5))
        lines.append(f"| {name} | {numbers} | {error.protocol} | {error.source} |")
    return "\n".join([ERRORS[0], *lines, ERRORS[1]])


def winners_table() -> str:
    """The winners of ImageNet's challenge."""
    lines = ["| year | entry | authors | layers | top-5 error, % | here |", "| --- " * 6 + "|"]
    for year, entry, authors, layers, top5, model in models.ILSVRC:
        here = f"`{model}`" if model else ""
        lines.append(f"| {year} | {entry} | {authors} | {layers or 'not deep'} | {top5} | {here} |")
    return "\n".join([WINNERS[0], *lines, WINNERS[1]])


def write_help() -> None:
    """What every command prints with `--help`, for the reference."""
    commands = re.findall(r"^\| `jaxcnn (\w+)`", (DOCS / "reference" / "cli.md").read_text(), re.MULTILINE)
    before = {name: os.environ.get(name) for name in HELP_FORM}
    os.environ.update(HELP_FORM)
    try:
        for command in commands:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
                main([command, "--help"])
            lines = [line.rstrip() for line in printed.getvalue().strip().splitlines()]
            update(DOCS / "reference" / "generated" / "cli" / f"{command}.txt", "\n".join(lines) + "\n")
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def make_pages(app: "Sphinx", config: Any) -> None:
    """Brings what lies elsewhere into `docs`, where git ignores it."""
    for notebook in sorted((ROOT / "colab").glob("*.ipynb")):
        place = DOCS / "tutorials" / notebook.name
        place.parent.mkdir(exist_ok=True)
        if not place.exists() or place.read_bytes() != notebook.read_bytes():
            shutil.copyfile(notebook, place)
    experiments = ROOT / "experiments" / "README.md"
    update(DOCS / "experiments.md", linked(experiments.read_text(), experiments))
    changelog = ROOT / "CHANGELOG.md"
    told = linked(changelog.read_text(), changelog) if changelog.exists() else "# Changelog\n\nNothing yet.\n"
    update(DOCS / "changelog.md", told)
    write_help()


def lead(app: "Sphinx", docname: str, source: list[str]) -> None:
    """Leads a page's links that leave `docs` to their place."""
    page = Path(app.env.doc2path(docname))
    if page.suffix == ".md":
        source[0] = linked(source[0], page)


def setup(app: "Sphinx") -> dict[str, Any]:
    """Connects both."""
    app.connect("config-inited", make_pages)
    app.connect("source-read", lead)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    from experiments.marked import write_between

    write_between(BEGIN, END, models_table(), DOCS / "models.md")
    write_between(*ERRORS, errors_table(), DOCS / "models.md")
    write_between(*WINNERS, winners_table(), DOCS / "how" / "history.md")
