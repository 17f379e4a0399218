"""The notebooks: each is what its readable source says, keeps no output, has one form. (nbmake runs them.)"""

import ast
import re
import tomllib
from pathlib import Path

import jupytext
import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "colab"
REPOSITORY = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
COLAB = REPOSITORY.replace("https://github.com/", "https://colab.research.google.com/github/") + "/blob/main/colab"
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

    installs = [cell.source for cell in cells if cell.cell_type == "code" and '"pip"' in cell.source]
    assert installs == [cells[1].source], "one cell installs, the first of all code"
    assert not any("pip install" in cell.source for cell in cells[2:] if cell.cell_type == "code")
    assert '"-q", *wanted(source), jax_here]' in installs[0], "jax is pinned to what is here"
    assert f'"git+{REPOSITORY}"]' in installs[0]
    assert not re.search(r"-U|--upgrade", installs[0])


def test_all_install_in_the_same_way():
    """The install cells differ in the names of what they install and in nothing else."""
    cells = {path.stem: nbformat.read(path, as_version=4).cells[1].source for path in NOTEBOOKS}
    names = {stem: re.search(r"^packages = (\[.*\])$", cell, re.MULTILINE)[1] for stem, cell in cells.items()}
    assert len({cells[stem].replace(names[stem], "", 1) for stem in cells}) == 1
    more = {"05": ["mnist1d"], "07": ["librosa"], "10": ["equinox", "keras", "dm-haiku"], "11": ["huggingface_hub"]}
    more["12"] = ["scikit-image"]
    for stem, listed in names.items():
        first, *others = ast.literal_eval(listed)
        assert first == "jaxcnn"
        assert others == more.get(stem[:2], [])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_to_notebooks(path):
    for name in re.findall(re.escape(COLAB) + r"/(\w+\.ipynb)", path.read_text()):
        assert (FOLDER / name).is_file(), name
