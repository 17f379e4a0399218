"""Every op and filter shows in its docstring, by an example that runs, what it computes."""

import doctest
import inspect

import pytest

from jaxcnn import ops

PUBLIC = {name: getattr(ops, name) for name in ops.__all__ if inspect.isfunction(getattr(ops, name))} | {
    f"filters.{name}": function
    for name, function in vars(ops.filters).items()
    if inspect.isfunction(function) and function.__module__ == ops.filters.__name__ and not name.startswith("_")
}


@pytest.mark.parametrize("name", PUBLIC)
def test_it_has_an_example(name):
    documented = inspect.getdoc(PUBLIC[name]) or ""
    assert documented.count("\nExample:\n") == 1, f"the docstring of ops.{name} must have one section `Example:`"
    before, example = documented.split("\nExample:\n")
    assert "\nSource:" not in before, f"`Example:` must stand before `Source:` in the docstring of ops.{name}"
    assert any(step.want for step in doctest.DocTestParser().get_examples(example)), f"ops.{name} shows no result"


@pytest.mark.parametrize("name", PUBLIC)
def test_its_example_runs(name):
    """Alone, as a reader pastes it: with no name but those that it imports."""
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(PUBLIC[name]) or "", {}, name, None, 0)
    told: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(example, out=told.append)
    assert results.attempted and not results.failed, "".join(told) or f"ops.{name} has no example"
