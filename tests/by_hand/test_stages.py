"""Values inside of functions, by name and by position: found, read, and replaced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from jaxcnn import by_hand, ops
from jaxcnn.by_hand.stages import run, stages

LAYOUT = ("NHWC", "HWIO", "NHWC")


@pytest.fixture
def x(random):
    return jnp.asarray(random.normal(size=(2, 4, 4, 1)), jnp.float32)


@pytest.fixture
def network(random):
    """Everything with a name: scopes in calls in scopes, one call made twice, a rule of ours."""
    kernel = jnp.asarray(random.normal(size=(3, 3, 1, 2)), jnp.float32)

    @jax.jit
    def part(y):
        with jax.named_scope("inner"):
            y = jnp.where(y > 0, y, 0)
        return checkpoint_name(y, "kept"), 1.0, y * 2

    @jax.checkpoint
    def network(x):
        with jax.named_scope("outer"):
            y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT)
            y, _, _ = part(y)
            y, one, z = part(y - 1)
        y = ops.max_pool(y, 2) + z[:, ::2, ::2] * one
        return jnp.maximum(y, 0).sum((1, 2))

    return network


NAMES = (
    *("conv_0", "relu_0", "outer/inner", "kept", "relu_1", "outer/inner:1", "kept:1", "outer"),
    *("max_pool_0", "relu_2"),
)


def test_stages_are_listed_in_the_order_of_the_call(network, x):
    found = stages(jax.make_jaxpr(network)(x))
    assert set(found) == set(NAMES)
    assert [name for name in found if name in ("conv_0", "kept", "kept:1", "outer", "max_pool_0", "relu_2")] == [
        *("conv_0", "kept", "kept:1", "outer", "max_pool_0", "relu_2"),
    ]


@pytest.mark.parametrize("rules", [None, {"relu": "hand", "conv": "hand", "max_pool": "hand"}])
def test_what_is_rewritten_keeps_its_names(network, x, rules):
    traced = jax.make_jaxpr(by_hand(network, rules=rules))(x)
    assert list(stages(traced)) == list(stages(jax.make_jaxpr(network)(x)))


def test_a_stage_put_back_gives_the_same(network, x):
    traced = jax.make_jaxpr(network)(x)
    found = stages(traced)
    (outputs,), values = run(traced, [x], list(found.values()))
    np.testing.assert_allclose(outputs, network(x), rtol=1e-6)
    for (name, stage), value in zip(found.items(), values, strict=True):
        assert (value.shape, value.dtype) == (stage.shape, stage.dtype)
        (again,), (seen,) = run(traced, [x], [stage], {stage: value})
        np.testing.assert_array_equal(again, outputs, err_msg=name)
        np.testing.assert_array_equal(seen, value)
        (changed,), _ = run(traced, [x], given={stage: value + 1})
        assert not np.array_equal(changed, outputs), name


def test_the_gradient_by_a_stage_is_that_of_the_rest(x):
    def first(x):
        return jnp.sin(x) * 3

    def rest(y):
        return (jnp.maximum(y, 0) ** 2).sum((1, 2, 3)) + y.mean()

    traced = jax.make_jaxpr(lambda x: rest(jax.jit(jax.named_scope("first")(first))(x)))(x)
    stage = stages(traced)["first"]
    slope = jax.jit(jax.grad(lambda value: run(traced, [x], given={stage: value})[0][0].sum()))(first(x))
    np.testing.assert_allclose(slope, jax.grad(lambda y: rest(y).sum())(first(x)), rtol=1e-5)


def test_what_leaves_a_scope_last_is_its_value(x):
    @jax.named_scope("norm")
    def normalized(x):
        mean = x.mean()
        normal = x - mean
        return normal, jnp.sqrt(mean)  # which nobody reads

    traced = jax.make_jaxpr(lambda x: normalized(x)[0] * 2)(x)
    _, (value,) = run(traced, [x], [stages(traced)["norm"]])
    np.testing.assert_allclose(value, x - x.mean(), rtol=1e-6)


def test_names_are_those_before_the_transformation(x):
    def one(x):
        with jax.named_scope("a"), jax.named_scope("b"):
            return jax.nn.relu(x)

    assert list(stages(jax.make_jaxpr(jax.vmap(one))(x))) == ["relu_0", "a/b", "a"]


def test_a_name_of_the_function_goes_before_a_place(x):
    def network(x):
        with jax.named_scope("relu_0"):
            return jax.nn.relu(x) * 2

    traced = jax.make_jaxpr(network)(x)
    assert run(traced, [x], [stages(traced)["relu_0"]])[1][0].max() == 2 * x.max()


def test_loops_and_branches_and_rules_are_not_entered(x):
    @jax.custom_vjp
    def own(x):
        return jax.nn.relu(x) + jax.nn.relu(x - 1)

    own.defvjp(lambda x: (own(x), None), lambda _, e: (e,))

    def network(x):
        x = lax.scan(lambda x, _: (jax.nn.relu(x), None), x, length=2)[0]
        x = lax.cond(x.sum() > 0, jax.nn.relu, lambda x: x, x)
        return jax.nn.relu(own(x)), jnp.argmax(x)

    assert list(stages(jax.make_jaxpr(network)(x))) == ["relu_0"]


@pytest.mark.parametrize("squared", [jnp.square, lambda x: x**2, lambda x: x * x])
def test_a_variance_is_not_rectified(x, squared):
    """Normalizations keep it from rounding below 0."""

    def network(x):
        fast = jnp.maximum(0, squared(x).mean((1, 2)) - squared(x.mean((1, 2))))
        return jax.nn.relu(x) * (fast + jnp.maximum(jnp.var(x, (1, 2)), 0)).reshape(-1, 1, 1, 1)

    assert list(stages(jax.make_jaxpr(network)(x))) == ["relu_0"]


def test_ours_are_counted_and_rectify_by_the_rule(x):
    kernel = jnp.ones((3, 3, 1, 2))
    found = stages(jax.make_jaxpr(lambda x: ops.relu(ops.max_pool(ops.conv(x, kernel), 2)))(x))
    assert list(found) == ["conv_0", "max_pool_0", "relu_0"]

    def falling(x):
        return -ops.relu(x).sum()

    assert not jax.grad(by_hand(falling, rules={"relu": "guided"}))(x).any()
    assert jax.grad(by_hand(falling))(x).any()
