"""The page of the course: made from its data, and every command, name and heading in it exists."""

import ast
import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from jaxcnn.cli.main import _parse

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def course_page():
    spec = importlib.util.spec_from_file_location("course_page", DOCS / "course_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGE = course_page()
COURSE = PAGE.read()
ROWS = [(statement, shown) for part in COURSE["part"] for statement, shown in part["rows"]]
CODE = [code for _, shown in ROWS for code in re.findall("`(.+?)`", shown)]
NAMES = re.compile(r"\b(check|data|export|geometry|inspect|layers|models|ops|training|weights)((?:\.[A-Za-z]\w*)+)")


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_page_is_made_from_its_data():
    assert (DOCS / "course.md").read_text() == PAGE.page(), "run `python docs/course_page.py`"


def test_it_has_the_five_lectures_and_the_outline():
    assert len(COURSE["part"]) == 6 and all(part["rows"] for part in COURSE["part"])
    for statement, shown in ROWS:
        assert "`" in shown or "](" in shown, statement


@pytest.mark.parametrize("code", sorted({code for code in CODE if code.startswith(("jaxcnn ", "python -m "))}))
def test_its_commands_exist(code):
    if code.startswith("jaxcnn "):
        if code.count(" ") > 1:
            _parse(shlex.split(code)[1:])
        return
    module = shlex.split(code)[2]
    assert (ROOT / Path(*module.split("."))).with_suffix(".py").is_file()
    assert f'Experiment("{module}"' in re.sub(
        r"\(\s+", "(", (ROOT / Path(*module.split("."))).with_suffix(".py").read_text()
    )


def test_an_experiment_that_is_not_told_to_lack_a_run_has_results():
    for statement, shown in ROWS:
        for sentence in shown.split(". "):
            for name in re.findall(r"python -m experiments\.(\w+)", sentence):
                run = (ROOT / "experiments" / "results" / f"{name}.json").is_file()
                assert run != ("was not run" in sentence), (statement, name)


@pytest.mark.parametrize("package, path", sorted({found for code in CODE for found in NAMES.findall(code)}))
def test_its_names_are_public(package, path):
    found = importlib.import_module(f"jaxcnn.{package}")
    for name in path.strip(".").split("."):
        assert name in {*getattr(found, "__all__", dir(found)), "plots"}, f"{package}{path}"  # plots loads matplotlib
        found = getattr(found, name)


def test_its_calls_fit_their_functions():
    """Each is Python, and its networks have the options that it gives them."""
    from jaxcnn import layers, models, ops

    for code in CODE:
        if code.startswith(("models.create(", "layers.Activation(", "ops.filters.")) and code.endswith(")"):
            call = ast.parse(code, mode="eval").body
            assert isinstance(call, ast.Call)
            if code.startswith("models.create("):
                name = ast.literal_eval(call.args[0])
                assert {word.arg for word in call.keywords} <= {*models.options_of(name), "rngs", "num_classes"}, code
            else:
                eval(code, {"layers": layers, "ops": ops})


def test_its_links_lead_to_headings():
    for _, shown in ROWS:
        for file, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", shown):
            path = DOCS / (file or "course.md")
            assert path.is_file() and anchor in anchors(path), (file, anchor)


def test_every_snippet_is_linked():
    titles = {re.sub(r"[^\w\- ]", "", snippet["title"].lower()).replace(" ", "-") for snippet in COURSE["snippet"]}
    assert titles == {anchor for _, shown in ROWS for anchor in re.findall(r"\(#([^)]+)\)", shown)}
