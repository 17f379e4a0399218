"""The notebooks: each is what its readable source says, and keeps no output. (nbmake runs them.)"""

from pathlib import Path

import jupytext
import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "colab"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_each_notebook_has_a_source():
    assert NOTEBOOKS and [path.stem for path in NOTEBOOKS] == sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_and_source_say_the_same(path):
    notebook = nbformat.read(path, as_version=4)
    source = jupytext.read(path.with_suffix(".py"))
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in source.cells
    ], f"run `jupytext --to ipynb colab/{path.stem}.py`"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
