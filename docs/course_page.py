"""Writes `course.md` from `course.toml`: statements of lectures, and what demonstrates them."""

import tomllib
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PAGE = DOCS / "course.md"
INTRODUCTION = """# The course

This page lists statements from five lectures on convolutional networks and from the outline of this library. Beside
each statement is the command or the function that demonstrates it. If something cannot be demonstrated here, the table
says why.

The tables leave out statements that other pages already cover. Run the commands in a checkout.
`python docs/course_page.py` writes this page from `docs/course.toml`.
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
    lines += ["## Snippets", "", "A test runs each snippet.", ""]
    for snippet in course["snippet"]:
        lines += [f"### {snippet['title']}", "", f"```python\n{snippet['code'].strip()}\n```", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
