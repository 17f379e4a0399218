"""Writes `course.md` from `course.toml`: what lectures say, and what shows it here."""

import tomllib
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PAGE = DOCS / "course.md"
INTRODUCTION = """# The course

Five lectures on convolutional networks, and the outline from which this library began. Each statement has the command
or the names that show it here. Where something cannot be shown here, the table says why.

The tables do not repeat what the other pages show: they list the statements that needed a page, an experiment or a name
of their own. Commands run in a checkout. `python docs/course_page.py` writes this page from `docs/course.toml`.
"""


def read() -> dict[str, Any]:
    """The parts, with their rows, and the snippets."""
    return tomllib.loads((DOCS / "course.toml").read_text())


def page() -> str:
    """The page."""
    course = read()
    lines = [INTRODUCTION]
    for part in course["part"]:
        lines += [f"## {part['title']}", "", "| statement | here |", "| --- | --- |"]
        lines += [f"| {statement} | {shown} |" for statement, shown in part["rows"]]
        lines.append("")
    lines += ["## Snippets", "", "A test runs each of them.", ""]
    for snippet in course["snippet"]:
        lines += [f"### {snippet['title']}", "", f"```python\n{snippet['code'].strip()}\n```", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
