"""`layers.MaxPool` and `layers.AvgPool` against `flax.nnx.max_pool` and `avg_pool`: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import layers

CASES = [
    ((3,), (9,), (2,)),
    ((2, 2), (6, 8), (2, 2)),
    ((3, 2), (7, 6), (2, 1)),
    ((2, 3), (7, 6), (3, 2)),
    ((2, 3, 2), (5, 6, 4), (1, 2, 2)),
]
EXPLICIT = {1: ((1, 0),), 2: ((1, 0), (0, 1)), 3: ((0, 1), (1, 1), (1, 0))}


def value_and_gradient(function, inputs, error):
    output, back = jax.vjp(function, inputs)
    return output, *back(error)


def compare(random, ours, flax, inputs):
    error = jnp.asarray(random.integers(1, 9, jax.eval_shape(flax, inputs).shape), inputs.dtype)
    found, expected = jax.jit(
        lambda x, e: (value_and_gradient(ours, x, e), value_and_gradient(flax, x, e)),
    )(inputs, error)
    for name, a, b in zip(("output", "gradient"), found, expected, strict=True):
        assert a.dtype == b.dtype and np.abs(b).sum() > 0
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("padding", "ties"), [("VALID", True), ("SAME", False), ("explicit", True)])
@pytest.mark.parametrize(("window", "sizes", "strides"), CASES, ids=str)
def test_max_pool_equals_flax(random, window, sizes, strides, padding, ties):
    padding = EXPLICIT[len(sizes)] if padding == "explicit" else padding
    shape = (2, *sizes, 3)
    inputs = random.integers(-2, 3, shape) if ties else random.permutation(np.prod(shape)).reshape(shape)
    compare(
        random,
        layers.MaxPool(window, strides, padding=padding),
        lambda x: nnx.max_pool(x, window, strides=strides, padding=padding),
        jnp.asarray(inputs, jnp.float32),
    )


@pytest.mark.parametrize(
    ("padding", "count_include_pad"), [("VALID", True), ("SAME", False), ("explicit", True), ("explicit", False)]
)
@pytest.mark.parametrize(("window", "sizes", "strides"), CASES, ids=str)
def test_avg_pool_equals_flax(random, window, sizes, strides, padding, count_include_pad):
    padding = EXPLICIT[len(sizes)] if padding == "explicit" else padding
    options = {"strides": strides, "padding": padding, "count_include_pad": count_include_pad}

    @jax.numpy_dtype_promotion("standard")  # Flax divides floats by integers
    def flax_avg_pool(x):
        return nnx.avg_pool(x, window, **options)

    compare(
        random,
        layers.AvgPool(window, **options),
        flax_avg_pool,
        jnp.asarray(random.integers(-9, 10, (2, *sizes, 3)), jnp.float32),
    )


@pytest.mark.parametrize("kind", [layers.MaxPool, layers.AvgPool])
def test_the_default_stride_is_the_window(kind, random):
    inputs = jnp.asarray(random.normal(size=(1, 7, 6, 2)), jnp.float32)
    np.testing.assert_array_equal(kind((3, 2))(inputs), kind((3, 2), (3, 2))(inputs), strict=True)
    assert kind(2)(inputs).shape == (1, 3, 3, 2)


@pytest.mark.parametrize("kind", [layers.MaxPool, layers.AvgPool])
def test_lists_mean_what_tuples_mean(kind, random):
    inputs = jnp.asarray(random.normal(size=(1, 7, 6, 2)), jnp.float32)
    with_lists = kind([2, 3], [2, 1], padding=[(1, 0), [0, 1]], window_dilation=[1, 2])
    with_tuples = kind((2, 3), (2, 1), padding=((1, 0), (0, 1)), window_dilation=(1, 2))
    np.testing.assert_array_equal(with_lists(inputs), with_tuples(inputs), strict=True)
    assert nnx.graphdef(with_lists) == nnx.graphdef(with_tuples)
    hash(nnx.graphdef(with_lists))


@pytest.mark.parametrize("kind", [layers.MaxPool, layers.AvgPool])
def test_both_rules_give_the_same(kind, random):
    inputs = jnp.asarray(random.normal(size=(2, 7, 6, 3)), jnp.float32)
    hand, autodiff = (kind((3, 2), (2, 1), padding="SAME", rule=rule) for rule in ("hand", "autodiff"))
    compare(random, hand, autodiff, inputs)
    assert "custom_vjp" in str(jax.make_jaxpr(hand)(inputs))
    assert "custom_vjp" not in str(jax.make_jaxpr(autodiff)(inputs))


@pytest.mark.parametrize("kind", [layers.MaxPool, layers.AvgPool])
def test_a_pool_has_no_parameters(kind):
    assert not jax.tree.leaves(nnx.state(kind(2)))


@pytest.mark.parametrize("kind", [layers.MaxPool, layers.AvgPool])
@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ((0,), (1, 4, 4, 1), "`window_shape` must be positive; got 0."),
        (((2, 2, 2),), (1, 4, 4, 1), "`window_shape` must have one entry per spatial axis, here 2; got (2, 2, 2)."),
        ((2, -1), (1, 4, 4, 1), "`strides` must be positive; got -1."),
        ((5,), (1, 4, 4, 1), "the window must fit into the padded input, (4, 4); got a window of (5, 5)."),
        ((2,), (4, 4), "`inputs` must be (N, *spatial, C) with 1 to 3 spatial axes; got shape (4, 4)."),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(kind, arguments, shape, message):
    with pytest.raises(ValueError) as caught:
        kind(*arguments)(jnp.zeros(shape))
    assert str(caught.value) == message


@pytest.mark.parametrize(("window", "strides", "padding"), [(2, None, "VALID"), (3, 2, "SAME"), (3, 1, 1)])
@pytest.mark.parametrize("kind", [layers.MaxPool, layers.AvgPool])
@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_activate_and_pool_equals_one_after_the_other(random, kind, name, window, strides, padding):
    inputs = jnp.asarray(random.integers(-3, 3, (2, 7, 8, 3)), jnp.float32)
    pool, activation = kind(window, strides, padding=padding), layers.Activation(name)

    def apart(inputs):
        activations = activation(inputs)
        return activations, pool(activations)

    found, back = jax.vjp(lambda x: layers.activate_and_pool(x, activation, pool), inputs)
    expected, expected_back = jax.vjp(apart, inputs)
    errors = jax.tree.map(lambda a: jnp.asarray(random.integers(1, 9, a.shape), a.dtype), expected)
    for a, b in zip((*found, *back(errors)), (*expected, *expected_back(errors)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_activate_and_pool_keeps_nothing_as_large_as_its_input():
    def kept(function):
        jaxpr = jax.make_jaxpr(lambda x: jax.vjp(function, x)[1])(jnp.ones((2, 8, 8, 3)))
        return max(variable.aval.size for variable in jaxpr.jaxpr.outvars)

    pool = layers.MaxPool(2)
    assert kept(lambda x: layers.activate_and_pool(x, layers.Activation("relu"), pool)[1]) == 2 * 4 * 4 * 3
    # another rule is another function: it must not be passed over
    guided = layers.Activation("relu", rule="guided")
    x, error = jnp.array([[[[2.0], [1.0]], [[-1.0], [0.0]]]]), -jnp.ones((1, 1, 1, 1))
    assert not jax.vjp(lambda x: layers.activate_and_pool(x, guided, pool)[1], x)[1](error)[0].any()
    assert kept(lambda x: layers.activate_and_pool(x, guided, pool)[1]) == 2 * 8 * 8 * 3
