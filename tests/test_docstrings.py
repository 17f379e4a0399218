"""Docstrings: every first line is short, and the examples outside `ops` run; those of `ops` have their own test."""

import ast
import doctest
import inspect
from pathlib import Path

import jax
import pytest

import jaxcnn
from jaxcnn import check, data, export, geometry, layers, models, training, weights
from jaxcnn import inspect as looking

PUBLIC = {
    f"{package.__name__}.{name}": inspect.getdoc(getattr(package, name))
    for package in (jaxcnn, check, data, export, geometry, layers, looking, looking.plots, models, training, weights)
    for name in package.__all__
    if inspect.isfunction(getattr(package, name)) or inspect.isclass(getattr(package, name))
}
MOST_WORDS_OF_A_SUMMARY = 11
EXAMPLES = {name: documented for name, documented in PUBLIC.items() if ">>>" in (documented or "")}


def test_every_public_name_has_a_docstring():
    assert PUBLIC and all(PUBLIC.values()), [name for name, documented in PUBLIC.items() if not documented]


def test_summaries_are_short():
    """Also those of modules, and of what is not public."""
    root = Path(jaxcnn.__file__).parent
    long = []
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                summary = (ast.get_docstring(node) or "").partition("\n")[0]
                if len(summary.split()) > MOST_WORDS_OF_A_SUMMARY:
                    long.append(f"{file.relative_to(root)}: {summary}")
    assert not long


@pytest.mark.parametrize("name", EXAMPLES)
def test_its_example_runs(name):
    """Alone, as a reader pastes it: with no name but those that it imports, and with JAX's own settings."""
    example = doctest.DocTestParser().get_doctest(EXAMPLES[name], {}, name, None, 0)
    told: list[str] = []
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        results = doctest.DocTestRunner(verbose=False).run(example, out=told.append)
    assert results.attempted and not results.failed, "".join(told)
