"""The notebooks: each is what its readable source says, keeps no output, has one form. (nbmake runs them.)"""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "colab"
COLAB = "https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab"
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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_form(path):
    """Badge first, one install cell that leaves jax alone, minutes, a question with a hidden answer, where next."""
    cells = nbformat.read(path, as_version=4).cells
    first, last = cells[0], cells[-1]
    assert first.cell_type == last.cell_type == "markdown"
    badge, _, title = first.source.split("\n")[:3]
    assert badge.startswith("[![Open in Colab](") and badge.endswith(f"({COLAB}/{path.name})")
    assert title.startswith(f"# {int(path.stem[:2])}. ")
    assert re.search(r"[Aa]bout \w+ minutes? on a CPU, about \w+ minutes? on a T4", first.source)
    assert "\n## Where next\n" in f"\n{last.source}"
    assert any(re.search(r"\*Question: .*\*\n\n<details><summary>Answer</summary>", cell.source) for cell in cells)

    installs = [cell.source for cell in cells if cell.cell_type == "code" and "pip install" in cell.source]
    assert installs == [cells[1].source], "one cell installs, the first of all code"
    condition, command = installs[0].index("if "), installs[0].index("%pip install -q")
    assert "find_spec" in installs[0][condition:command], "it installs only what is missing"
    assert installs[0].endswith(" {jax_here}") and "jax=={importlib.metadata.version('jax')}" in installs[0]
    assert not re.search(r"-U|--upgrade", installs[0])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_to_notebooks(path):
    for name in re.findall(re.escape(COLAB) + r"/(\w+\.ipynb)", path.read_text()):
        assert (FOLDER / name).is_file(), name
