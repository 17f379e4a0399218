"""A swapped rule: shared parameters, the rule's own definition, and never a stale compiled function."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import inspect, layers, models, ops

RULES = ("standard", "guided", "deconvnet")


def correlated(x, kernel):
    """What a convolution of stride 1 without padding gives, by its definition."""
    kh, kw = kernel.shape[:2]
    out = np.zeros((x.shape[0] - kh + 1, x.shape[1] - kw + 1, kernel.shape[-1]))
    for i, j in np.ndindex(*out.shape[:2]):
        out[i, j] = np.einsum("abc,abco->o", x[i : i + kh, j : j + kw], kernel)
    return out


def stamped(e, kernel):
    """Its transpose: every error puts its kernel down."""
    kh, kw = kernel.shape[:2]
    out = np.zeros((e.shape[0] + kh - 1, e.shape[1] + kw - 1, kernel.shape[2]))
    for i, j in np.ndindex(*e.shape[:2]):
        out[i : i + kh, j : j + kw] += np.einsum("o,abco->abc", e[i, j], kernel)
    return out


def through_relu(rule, before, e):
    """The three definitions, from the ReLU's input and the error of its output."""
    return {
        "standard": np.where(before > 0, e, 0),
        "guided": np.where((before > 0) & (e > 0), e, 0),
        "deconvnet": np.where(e > 0, e, 0),
    }[rule]


def by_hand(model, x, target, rule):
    """A picture's score sent back through the network with a dense end, step by step."""
    k1, b1, k2, b2, w = (np.asarray(p[...]) for p in (
        model.conv1.kernel, model.conv1.bias, model.conv2.kernel, model.conv2.bias, model.head.kernel
    ))  # fmt: skip
    z1 = correlated(x, k1) + b1
    a1 = np.maximum(z1, 0)
    pooled, winner = np.zeros((3, 3, 3)), {}
    for i, j, c in np.ndindex(pooled.shape):
        block = a1[2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        down, right = np.unravel_index(block.argmax(), (2, 2))
        pooled[i, j, c], winner[i, j, c] = block.max(), (2 * i + down, 2 * j + right, c)
    z2 = correlated(pooled, k2) + b2
    e = through_relu(rule, z2, w[:, target].reshape(z2.shape))
    unpooled = np.zeros_like(a1)
    for place, value in np.ndenumerate(stamped(e, k2)):
        unpooled[winner[place]] += value
    return stamped(through_relu(rule, z1, unpooled), k1)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_its_definition(random, float64, small, rule):
    model = small(end="cells", dtype="float64")
    images, targets = random.normal(size=(3, 8, 8, 1)), [0, 3, 4]
    named = {"standard": inspect.gradient, "guided": inspect.guided_backprop, "deconvnet": inspect.deconvnet}[rule]
    expected = [by_hand(model, x, t, rule) for x, t in zip(images, targets, strict=True)]
    np.testing.assert_allclose(named(model, images, targets), expected, atol=1e-12)


def test_the_deconvnet_s_unpool_is_the_transpose_of_the_pool_at_its_switches(random, float64, small):
    x = jnp.asarray(random.normal(size=(1, 6, 6, 3)))
    pooled, switches = ops.max_pool_with_switches(x, 2)
    e = jnp.asarray(random.normal(size=pooled.shape))
    (back,) = jax.vjp(inspect.with_rules(small(), relu="deconvnet").pool1, x)[1](e)
    np.testing.assert_array_equal(back, ops.max_unpool(e, switches, (6, 6), 2))
    matrix = inspect.pool_matrix(x[0], 2)
    np.testing.assert_allclose(np.ravel(back), matrix.T @ np.ravel(e), atol=1e-12)
    other = jnp.asarray(random.normal(size=x.shape))
    np.testing.assert_allclose(jnp.vdot(back, other), np.ravel(e) @ (matrix @ np.ravel(other)), atol=1e-12)


def test_pools_by_jax_s_own_rule_get_switches(small):
    model = small()
    model.pool1.rule = "autodiff"
    assert inspect.with_rules(model, relu="deconvnet").pool1.rule == "hand" != model.pool1.rule


def test_the_twin_shares_every_parameter_and_computes_the_same(random, small):
    model = small()
    twin = inspect.with_rules(model, relu="guided")
    x = random.normal(size=(2, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(twin(x), model(x))
    model.conv1.kernel[...] = 2 * model.conv1.kernel[...]
    np.testing.assert_array_equal(twin(x), model(x))
    for path, variable in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        assert dict(nnx.to_flat_state(nnx.state(twin, nnx.Param)))[path][...] is variable[...]
    assert model.activation.rule == "hand" and twin.activation.rule == "guided"


def test_every_rectifier_of_a_deep_network_is_swapped():
    model = models.CifarResNet(3, 1, depth=8, widths=(2, 2, 2), rngs=nnx.Rngs(0))
    twin = inspect.with_rules(model, relu="deconvnet")
    found = [m.rule for _, m in nnx.iter_modules(twin) if isinstance(m, layers.Activation)]
    assert len(found) == 8 and set(found) == {"deconvnet"}


@nnx.jit
def compiled_by_nnx(model, x):
    return jax.grad(lambda x: model(x)[:, 1].sum())(x)


@partial(jax.jit, static_argnums=0)
def compiled_by_jax(graph, state, x):
    return jax.grad(lambda x: nnx.merge(graph, state)(x)[:, 1].sum())(x)


@pytest.mark.parametrize("order", [RULES, RULES[::-1]], ids=["there", "and back"])
def test_no_compiled_function_is_stale_after_a_swap(random, float64, small, order):
    """Compiles, swaps, compiles: each time the rule's own gradient, and compiled once for each rule."""
    model = small(end="cells", dtype="float64")
    x = random.normal(size=(1, 8, 8, 1))
    for rule in (*order, *order):
        twin = inspect.with_rules(model, relu=rule)
        expected = by_hand(model, x[0], 1, rule)
        for found in (
            compiled_by_nnx(twin, jnp.asarray(x)),
            compiled_by_jax(*nnx.split(twin), jnp.asarray(x)),
            jax.jit(jax.grad(lambda x, twin=twin: twin(x)[:, 1].sum()))(jnp.asarray(x)),
            inspect.gradient(twin, x, 1),
        ):
            np.testing.assert_allclose(found[0], expected, atol=1e-12, err_msg=rule)


def test_a_rule_set_in_place_is_not_stale_either(random, float64, small):
    model = small(end="cells", dtype="float64")
    x = random.normal(size=(1, 8, 8, 1))
    for rule in ("hand", "guided", "hand"):
        model.activation.rule = rule
        expected = by_hand(model, x[0], 1, "standard" if rule == "hand" else rule)
        np.testing.assert_allclose(compiled_by_nnx(model, jnp.asarray(x))[0], expected, atol=1e-12)
        np.testing.assert_allclose(inspect.gradient(model, x, 1)[0], expected, atol=1e-12)


def test_a_rule_compiles_once(random, small):
    model = small()
    x = random.normal(size=(2, 8, 8, 1)).astype(np.float32)
    for _ in range(2):
        before = compiled_by_jax._cache_size()
        for rule in RULES:
            compiled_by_jax(*nnx.split(inspect.with_rules(model, relu=rule)), x)
    assert compiled_by_jax._cache_size() == before, "the second round compiles nothing"


def test_networks_without_a_relu_are_refused(small):
    with pytest.raises(ValueError, match="`model` must rectify by .*; got Small without one"):
        inspect.with_rules(small(activation="tanh"), relu="guided")
    with pytest.raises(ValueError, match="`relu` must be one of .*; got 'sideways'"):
        inspect.with_rules(small(), relu="sideways")
