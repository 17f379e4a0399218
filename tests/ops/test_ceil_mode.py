"""Pools whose outputs are counted upwards: equal to the same pools with as much high padding as that takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import geometry, layers, ops

SIZES, SLIDING = (10, 10), {"strides": (2, 3), "padding": ((1, 0), (0, 1))}  # 1 cell and 2 are left
PADDED = ((1, 0), (0, 2))


def cells(random):
    return jnp.asarray(random.permutation(2 * 10 * 10 * 2).reshape(2, 10, 10, 2) / 8 - 20, jnp.float32)


def value_and_gradient(function, x):
    y, back = jax.vjp(function, x)
    return y, back(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))[0]


@pytest.mark.parametrize("rule", ["hand", "autodiff"])
@pytest.mark.parametrize("name", ["max_pool", "relu_max_pool", "lp_pool"])
def test_ceil_mode_is_high_padding(random, name, rule):
    pool, x = getattr(ops, name), cells(random)
    window = geometry.pool_window(x.shape, 3, ceil_mode=True, **SLIDING)
    assert window.output_shape(SIZES) == (5, 4) and window.padding == PADDED
    found = value_and_gradient(lambda x: pool(x, 3, ceil_mode=True, rule=rule, **SLIDING), x)
    padded = value_and_gradient(lambda x: pool(x, 3, strides=(2, 3), padding=PADDED, rule=rule), x)
    for a, b in zip(found, padded, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rule", ["hand", "autodiff"])
@pytest.mark.parametrize("counted", [True, False])
def test_a_mean_counts_no_cell_beyond_the_padding(random, counted, rule):
    x = cells(random)
    y, _ = value_and_gradient(
        lambda x: ops.avg_pool(x, 3, ceil_mode=True, count_include_pad=counted, rule=rule, **SLIDING), x
    )
    padded = jnp.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)))
    for row, column in ((0, 0), (4, 3), (2, 3), (0, 3)):
        window = padded[:, 2 * row : 2 * row + 3, 3 * column : 3 * column + 3]
        real = window.shape[1] - (row == 0), window.shape[2] - (column == 3)
        count = float(np.prod(window.shape[1:3] if counted else real))
        np.testing.assert_allclose(y[:, row, column], window.sum((1, 2)) / count, rtol=1e-5)


def test_a_divisor_takes_the_place_of_the_count(random):
    x = cells(random)
    ones = jnp.ones((3, 3, 1, 2))
    total = ops.conv(x, ones, strides=(2, 3), padding=SLIDING["padding"], feature_group_count=2)
    np.testing.assert_allclose(ops.avg_pool(x, 3, divisor=1, **SLIDING), total, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ops.avg_pool(x, 3, divisor=-2, **SLIDING), -total / 2, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="`divisor` must not be 0; got 0."):
        ops.avg_pool(x, 3, divisor=0)


def test_switches_counted_upwards_lead_back(random):
    x = cells(random)
    pooled, switches = ops.max_pool_with_switches(x, 3, ceil_mode=True, **SLIDING)
    np.testing.assert_array_equal(pooled, ops.max_pool(x, 3, ceil_mode=True, **SLIDING))
    _, gradient = value_and_gradient(lambda x: ops.max_pool(x, 3, ceil_mode=True, **SLIDING), x)
    errors = jnp.cos(jnp.arange(pooled.size, dtype=pooled.dtype)).reshape(pooled.shape)
    np.testing.assert_array_equal(ops.max_unpool(errors, switches, SIZES, 3, ceil_mode=True, **SLIDING), gradient)


@pytest.mark.parametrize("rule", ["hand", "autodiff"])
def test_the_stage_counts_its_pool_upwards(random, rule):
    x = cells(random)
    kernel, bias = jnp.asarray(random.normal(size=(3, 3, 2, 3)), jnp.float32), jnp.ones(3)
    found = ops.conv_relu_pool(x, kernel, bias, pool=3, pool_strides=2, pool_ceil_mode=True, rule=rule)
    expected = ops.max_pool(ops.relu(ops.conv(x, kernel) + bias[None, None, None]), 3, strides=2, ceil_mode=True)
    assert found.shape == (2, 5, 5, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [layers.MaxPool, layers.AvgPool])
def test_pool_layers_count_upwards(random, kind):
    x, layer = cells(random), kind(3, 2, ceil_mode=True)
    assert layer(x).shape[1:3] == layer.window(SIZES).output_shape(SIZES) == (5, 5)
    op = ops.max_pool if kind is layers.MaxPool else ops.avg_pool
    np.testing.assert_array_equal(layer(x), op(x, 3, strides=2, ceil_mode=True))
    activated, pooled = layers.activate_and_pool(x, layers.Activation("relu"), layer)
    np.testing.assert_allclose(pooled, layer(activated), rtol=1e-6)


def test_an_average_layer_takes_a_divisor(random):
    x = cells(random)
    np.testing.assert_array_equal(layers.AvgPool(2, divisor=3.0)(x), ops.avg_pool(x, 2, divisor=3.0))
