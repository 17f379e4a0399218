"""Every op where JAX is set to refuse what it would promote: ranks, beside dtypes."""

import jax
import numpy as np
import pytest

from jaxcnn.check.problem import make_problem
from jaxcnn.ops import choices
from jaxcnn.ops.cases import cases
from jaxcnn.ops.native import backend

OPS = sorted({case.op for case in cases()})


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def trace(op):
    """Values and gradients of all cases, by hand and by JAX."""
    for case in cases(op=op):
        for function in (case.function, case.options["reference"]):
            problem = make_problem(function, case.args)

            def gradient(*values, problem=problem):
                return problem.gradient()(problem.errors, *problem.place(values))

            found = jax.eval_shape(gradient, *problem.values)
            assert [g.shape for g in found] == [np.shape(value) for value in problem.values]


@pytest.mark.parametrize("op", OPS)
def test_every_op_in_jax(op):
    trace(op)


@pytest.mark.parametrize("op", OPS)
def test_every_op_in_the_backend(op, built, monkeypatch):
    monkeypatch.setattr(backend, "active", lambda: True)
    monkeypatch.setattr(choices, "fastest", lambda kind, part, with_onednn: "native" if with_onednn else "jax")
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    trace(op)
