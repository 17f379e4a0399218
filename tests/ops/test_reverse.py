"""Every hand-written rule refuses forward mode in one sentence, which says what to pass instead."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import ops
from jaxcnn.check.problem import make_problem
from jaxcnn.check.transformations import _runs
from jaxcnn.ops.cases import cases

SENTENCE = "the hand-written rule is for reverse mode; for jvp, jacfwd or hessian pass rule='autodiff', "
EVERY = list({case.op: case for case in reversed(cases())}.values())


def pushed(function, values):
    return jax.jvp(function, values, jax.tree.map(jnp.ones_like, values))


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.op)
def test_every_op_names_the_way_out_however_it_is_pushed_forward(case):
    problem = make_problem(case.function, case.args)
    outputs, values = problem.outputs, problem.values
    with pytest.raises(TypeError, match=SENTENCE):
        pushed(outputs, values)
    with pytest.raises(TypeError, match=SENTENCE):
        jax.jit(lambda values: pushed(outputs, values)).lower(values)
    with pytest.raises(TypeError, match=SENTENCE):
        jax.jit(lambda values: pushed(jax.jit(outputs), values)).lower(values)
    with pytest.raises(TypeError, match=SENTENCE):
        jax.linearize(outputs, *values)[1](*values)


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.op)
def test_every_op_goes_forward_by_the_rule_of_jax(case):
    problem = make_problem(case.options["reference"], case.args)
    jax.jit(lambda values: pushed(problem.outputs, values)).lower(problem.values)


X = jnp.arange(1.0, 7.0).reshape(2, 3)


@pytest.mark.parametrize(
    "push",
    [
        lambda f: jax.jacfwd(f)(X),
        lambda f: jax.hessian(lambda x: f(x).sum())(X),
        lambda f: jax.vmap(jax.jacfwd(f))(X),
        lambda f: jax.jacfwd(jax.vmap(f))(X),
        lambda f: pushed(lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, None, length=2)[0], (X,)),
        lambda f: pushed(jax.checkpoint(f), (X,)),
        lambda f: pushed(lambda x: pushed(f, (x,)), (X,)),
    ],
    ids=["jacfwd", "hessian", "in vmap", "of vmap", "scan", "checkpoint", "twice"],
)
def test_inside_other_transformations(push):
    with pytest.raises(TypeError, match=SENTENCE):
        push(ops.tanh)


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.op)
def test_a_mapped_op_has_its_gradient(case):
    """As of a network that is written for one example, and mapped over a batch."""
    problem = make_problem(case.function, case.args)
    gradient = problem.gradient()
    found = _runs(problem, gradient)["gradient of vmap"]()
    expected = gradient(problem.errors, *problem.args)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), found, expected)


@pytest.mark.parametrize(
    "mapped",
    [
        jax.vmap,
        lambda f: jax.jit(jax.vmap(f)),
        lambda f: jax.vmap(jax.jit(f)),
        lambda f: jax.vmap(jax.vmap(f)),
        lambda f: lambda x: jax.lax.map(f, x, batch_size=2),
        lambda f: jax.checkpoint(jax.vmap(f)),
    ],
    ids=["vmap", "jit of vmap", "vmap of jit", "nested", "map", "checkpoint"],
)
def test_mapped_in_any_way(mapped):
    x = X / 4
    expected = 1 - jnp.tanh(x) ** 2
    for gradient in (jax.grad, lambda f: jax.jit(jax.grad(f))):
        assert jnp.allclose(gradient(lambda x: mapped(ops.tanh)(x).sum())(x), expected)


def test_mapped_and_compiled_it_is_refused_in_the_words_of_jax():
    """There JAX comes to its own sentence first."""
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jit(jax.vmap(jax.jacfwd(ops.tanh)))(X)


def test_what_is_constant_may_be_behind_a_rule():
    """Only what is differentiated forward is refused."""
    value, tangent = jax.jit(lambda x: pushed(lambda x: x * ops.tanh(X), (x,)))(X)
    assert (value.shape, tangent.shape) == (X.shape, X.shape)
    assert jnp.allclose(tangent, jnp.tanh(X))


def test_nothing_of_it_is_compiled():
    program = jax.jit(jax.grad(lambda x: ops.tanh(x).sum())).lower(X).as_text()
    plain = jax.jit(lambda x: (1 - jnp.tanh(x)) * (1 + jnp.tanh(x))).lower(X).as_text()
    assert "backward_only" not in program and "call" not in program
    assert program.count("tanh") == plain.count("tanh") - 1
