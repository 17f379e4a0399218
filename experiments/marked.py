"""Parts of a page that are made from files of values, between two marks."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"  # has a few rows of each table
RESULTS, SPEED = (ROOT / "docs" / f"{name}.md" for name in ("results", "speed"))  # have all


def write_between(begin: str, end: str, part: str, path: Path = README) -> None:
    """Puts a part, which has the marks itself, in the place of the old one.

    Raises:
      ValueError: if the marks are not there.
    """
    text = path.read_text()
    if begin not in text or end not in text:
        raise ValueError(f"{path} must hold the marks {begin} and {end}; it does not.")
    before, _, rest = text.partition(begin)
    path.write_text(before + part + rest.partition(end)[2])
