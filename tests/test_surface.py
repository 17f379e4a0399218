"""What a user sees: exported names, a light import, the README's commands."""

import importlib
import inspect
import itertools
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

import jaxcnn

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PICTURES = DOCS / "site_pictures.py"
MADE = {DOCS / "experiments.md", DOCS / "changelog.md"}  # by a build of the site, from what is looked at elsewhere
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]
PAGES = [page for page in PAGES if page not in MADE]
PACKAGES = ["jaxcnn", *(f"jaxcnn.{name}" for name in jaxcnn.__all__ if hasattr(getattr(jaxcnn, name), "__path__"))]


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_the_namespace(name):
    package = importlib.import_module(name)
    inside = {module.name for module in pkgutil.iter_modules(package.__path__)}
    public = {
        key
        for key, value in vars(package).items()
        if not key.startswith("_")
        and not (key in inside and isinstance(value, types.ModuleType) and key not in package.__all__)
    }
    assert set(package.__all__) == public - {"cli"}
    assert list(package.__all__) == sorted(package.__all__)


@pytest.mark.parametrize("name", PACKAGES)
def test_everything_public_is_documented(name):
    package = importlib.import_module(name)
    for key in package.__all__:
        thing = getattr(package, key)
        if isinstance(thing, type | types.ModuleType) or inspect.isfunction(thing):
            summary = (thing.__doc__ or "").strip().splitlines()[:1]
            assert summary and summary[0].endswith((".", "?")), f"{name}.{key}"


def test_import_is_light():
    heavy = [
        "tensorflow_datasets",
        "grain",
        "matplotlib",
        "sklearn",
        "torch",
        "onnx",
        "PIL",
        "tyro",
        "orbax.checkpoint",
    ]
    code = f"import sys, jaxcnn; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before = "import sys, jax, flax.nnx, optax; print([name for name in " + str(heavy) + " if name in sys.modules])"
    already = subprocess.run([sys.executable, "-c", before], capture_output=True, text=True, check=True)
    assert found.stdout == already.stdout


def test_the_version_stands_in_one_place():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert jaxcnn.__version__ == version
    assert version not in (ROOT / "jaxcnn" / "__init__.py").read_text()


def test_the_pages_commands_exist(tmp_path, monkeypatch):
    """Every `jaxcnn` line in a console block parses: its options are real."""
    from jaxcnn.cli.main import _parse

    monkeypatch.chdir(tmp_path)

    lines = [
        line
        for page in PAGES
        for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
        for line in re.findall(r"^(?:\S.* && )?jaxcnn(?: (.+))?$", block, re.MULTILINE)
    ]
    assert len(lines) > 40
    for line in lines:
        words = shlex.split(re.split("  #| > ", line)[0])
        for before, word in itertools.pairwise(words):
            if before == "--config":  # a file of options is read
                Path(word).parent.mkdir(parents=True, exist_ok=True)
                Path(word).write_text("{}")
        _parse(words)


FOREIGN = re.compile("^import (equinox|haiku|keras|torch)", re.MULTILINE)


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


def run(block, page):
    exec(compile(re.sub(r"epochs=\d+", "epochs=1", block), page.name, "exec"), {})


def page_name(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=page_name)
def test_the_python_of_every_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        if not FOREIGN.search(block):
            run(block, page)


@pytest.mark.parametrize("page", [page for page in PAGES if any(map(FOREIGN.search, blocks(page)))], ids=page_name)
def test_the_python_for_peers_runs(page):
    foreign = [block for block in blocks(page) if FOREIGN.search(block)]
    for library in {library for block in foreign for library in FOREIGN.findall(block)}:
        pytest.importorskip(library)
    for block in foreign:
        run(block, page)


def test_every_link_between_the_pages_leads_somewhere():
    for page in [*PAGES, ROOT / "experiments" / "README.md"]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            drawn = link.startswith("pictures/") and f"\ndef {Path(link).stem}(" in PICTURES.read_text()
            there = (page.parent / link).exists() and (page.parent / link).resolve() not in MADE
            assert "://" in link or drawn or there, f"{page.name}: {link}"


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180
