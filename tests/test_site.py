"""The documentation site, without a build: its reference is whole, its table of networks that of the registry."""

import contextlib
import importlib
import importlib.util
import inspect
import re
import types
from pathlib import Path

import pytest

import jaxcnn

DOCS = Path(__file__).parent.parent / "docs"
PACKAGES = [f"jaxcnn.{name}" for name in jaxcnn.__all__]
PACKAGES += ["jaxcnn.cli", "jaxcnn.inspect.plots", "jaxcnn.ops.filters", "jaxcnn.ops.native"]


def public(package):
    module = importlib.import_module(package)
    if hasattr(module, "__all__"):
        return set(module.__all__)
    return {
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == package and not name.startswith("_")
    }


def entries(package):
    """The names that a package's page lists, and the modules that it links to."""
    page = (DOCS / "reference" / f"{package.removeprefix('jaxcnn.').replace('.', '_')}.md").read_text()
    found = re.findall(r"^\.\. (?:py:data|autofunction):: (\w+)$", page, re.MULTILINE)
    for block in re.findall(r"^\.\. autosummary::\n(.*?)^(?:```|\.\. )", page, re.MULTILINE | re.DOTALL):
        found += re.findall(r"^   (\w+)$", block, re.MULTILINE)
    return found, re.findall(r"\(\w+?_(\w+)\.md\)", page)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_one_entry(package):
    found, linked = entries(package)
    assert len(found) == len(set(found)), "a name is listed twice"
    modules = {
        name
        for name in public(package)
        if isinstance(getattr(importlib.import_module(package), name), types.ModuleType) and name not in found
    }
    assert set(found) == public(package) - modules
    assert modules <= set(linked)


def test_every_package_has_a_page():
    page = (DOCS / "reference" / "index.md").read_text()
    for package in PACKAGES:
        assert f"({package.removeprefix('jaxcnn.').replace('.', '_')}.md)" in page, package


def test_the_reference_has_every_command(capsys):
    from jaxcnn.cli import main

    with contextlib.suppress(SystemExit):
        main(["--help"])
    page = (DOCS / "reference" / "cli.md").read_text()
    listed = re.findall(r"^\| `jaxcnn (\w+)`", page, re.MULTILINE)
    assert listed == re.findall(r"^## jaxcnn (\w+)$", page, re.MULTILINE)
    (told,) = re.findall(r"\{(train,[\w,]+)\}", "".join(capsys.readouterr().out.split()))
    assert set(listed) == set(told.split(","))


def site_pages():
    spec = importlib.util.spec_from_file_location("site_pages", DOCS / "site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_networks_is_that_of_the_registry():
    assert site_pages().models_table() in (DOCS / "models.md").read_text(), "run `python docs/site_pages.py`"


def test_the_tables_of_imagenet_are_those_of_the_package():
    pages = site_pages()
    assert pages.errors_table() in (DOCS / "models.md").read_text(), "run `python docs/site_pages.py`"
    assert pages.winners_table() in (DOCS / "how" / "history.md").read_text(), "run `python docs/site_pages.py`"


def test_links_that_leave_the_pages_are_led_to_their_place():
    pages = site_pages()
    page = DOCS / "guides" / "devices.md"
    for written, led in {
        "[a](../../colab/08_many_devices.ipynb)": "[a](/tutorials/08_many_devices.ipynb)",
        "[a](../../experiments/README.md)": "[a](/experiments.md)",
        "[a](../../experiments/scaling.py#L3)": f"[a]({pages.SOURCE}/experiments/scaling.py#L3)",
        "[a](ops.md#layers)": "[a](ops.md#layers)",
        "[a](https://example.org/b)": "[a](https://example.org/b)",
        "![a](../../experiments/results/exported_models.png)": "![a](../../experiments/results/exported_models.png)",
    }.items():
        assert pages.linked(written, page) == led
