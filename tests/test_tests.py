"""Every module is tested somewhere: by a file of its name, or as the table in tests/README.md says."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import jaxcnn

TESTS, ROOT = Path(__file__).parent, Path(jaxcnn.__file__).parent
ROWS = re.findall(r"^\| (`.+`) \| (`.+`) \|$", (TESTS / "README.md").read_text(), re.MULTILINE)
PATTERNS = [pattern for modules, _ in ROWS for pattern in re.findall("`(.+?)`", modules)]


def modules_without_a_file() -> set[str]:
    found = {path.relative_to(ROOT) for path in ROOT.rglob("*.py") if not path.name.startswith("__")}
    named = {path for path in found if (TESTS / path.parent / f"test_{path.name}").exists()}
    return {str(path.with_suffix("")) for path in found - named}


def test_every_module_is_tested():
    assert not {name for name in modules_without_a_file() if not any(fnmatchcase(name, p) for p in PATTERNS)}


def test_every_row_names_modules_and_files_that_exist():
    left = modules_without_a_file()
    for modules, files in ROWS:
        for pattern in re.findall("`(.+?)`", modules):
            assert any(fnmatchcase(name, pattern) for name in left), pattern
        for file in re.findall("`(.+?)`", files):
            assert (TESTS / file).is_file(), file
