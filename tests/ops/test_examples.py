"""Every op shows in its docstring, by an example that runs, what it computes."""

import doctest
import inspect

import pytest

from jaxcnn import ops

OPS = [name for name in ops.__all__ if callable(getattr(ops, name))]


@pytest.mark.parametrize("name", OPS)
def test_its_example_runs(name):
    documented = inspect.getdoc(getattr(ops, name)) or ""
    assert "\nExample:\n" in documented, f"the docstring of ops.{name} has no section `Example:`"
    example = doctest.DocTestParser().get_doctest(documented, {}, name, None, 0)
    assert any(step.want for step in example.examples), f"the example of ops.{name} shows no result"
    told: list[str] = []
    assert not doctest.DocTestRunner().run(example, out=told.append).failed, "".join(told)
