"""The residual block as a pure function is that of the layers, and the identity where its weights are zero."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import check, layers, ops


def unit_of(layer):
    return layer.conv.kernel[...], layer.norm.scale[...], layer.norm.bias[...]


def statistics_of(layer):
    return layer.norm.mean[...], layer.norm.var[...]


@pytest.fixture
def images(random):
    return jnp.asarray(random.normal(size=(3, 6, 6, 4)), jnp.float32)


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize(
    ("shortcut", "features", "strides"), [("A", 4, 1), ("A", 6, 2), ("B", 6, 2), ("C", 4, 1), ("none", 6, 2)]
)
def test_it_is_the_block_of_the_layers(images, random, shortcut, features, strides, bottleneck, training):
    block = layers.ResidualBlock(4, features, strides, bottleneck=bottleneck, shortcut=shortcut, rngs=nnx.Rngs(0))
    for layer in [node for _, node in nnx.iter_modules(block) if isinstance(node, layers.BatchNorm)]:
        for variable in filter(None, (layer.scale, layer.bias, layer.mean, layer.var)):
            variable[...] = jnp.asarray(0.5 + random.random(variable.shape), jnp.float32)
    (block.train if training else block.eval)()
    every = [*block.units, block.shortcut] if isinstance(block.shortcut, layers.ConvUnit) else list(block.units)
    units = [unit_of(unit) for unit in every]
    projection = units.pop() if len(every) > len(block.units) else None
    kind = "none" if shortcut == "none" else "B" if projection is not None else "A"
    statistics = None if training else [statistics_of(unit) for unit in every]
    function = ops.bottleneck_block if bottleneck else ops.residual_block

    def pure(x):
        given: dict = {"projection": projection, "shortcut": kind, "strides": strides, "statistics": statistics}
        return function(x, units, **given)[0]

    graph, state = nnx.split(block)

    def layered(x):
        return nnx.merge(graph, jax.tree.map(jnp.copy, state))(x)  # statistics of its own to update

    expected, back = jax.vjp(layered, images)
    found, gradient = jax.vjp(pure, images)
    error = jnp.asarray(random.normal(size=expected.shape), jnp.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient(error)[0], back(error)[0], rtol=1e-4, atol=1e-4)


def test_without_weights_it_is_the_identity_and_so_is_its_gradient(random):
    x = jnp.asarray(random.random((2, 5, 5, 3)), jnp.float32)  # what comes from a ReLU
    error = jnp.asarray(random.normal(size=x.shape), jnp.float32)
    zeros = jnp.zeros((3, 3, 3, 3))
    for unit in ((zeros,), (zeros, jnp.ones(3), jnp.zeros(3)), (zeros, None, jnp.zeros(3))):
        outputs, back = jax.vjp(lambda x, unit=unit: ops.residual_block(x, [unit, unit])[0], x)
        np.testing.assert_array_equal(outputs, x)
        np.testing.assert_array_equal(back(error)[0], error)
        signed = ops.residual_block(x - 0.5, [unit, unit], activate=False)[0]
        np.testing.assert_array_equal(signed, x - 0.5)


def test_its_gradient_is_proven(random):
    arrays = [
        jnp.asarray(random.normal(size=shape)) for shape in ((4, 4, 4, 2), (3, 3, 2, 3), (3,), (3,), (1, 1, 2, 3))
    ]

    def block(x, kernel, scale, bias, across, rule: Any = "hand"):
        last = jnp.ones((1, 1, 3, 3), x.dtype)
        units = [(kernel, scale, bias), (last, None, bias)]
        return ops.residual_block(x, units, projection=(across,), shortcut="B", strides=2, rule=rule)[0]

    report = check.check_vjp(block, *arrays)
    assert report.passed, report


def test_the_statistics_are_returned_for_inference(images, random):
    kernel = jnp.asarray(random.normal(size=(3, 3, 4, 4)), jnp.float32)
    units = [(kernel, jnp.ones(4), jnp.zeros(4))] * 2
    trained, statistics = ops.residual_block(images, units)
    assert jax.tree.map(jnp.shape, statistics) == [((4,), (4,))] * 2
    again, same = ops.residual_block(images, units, statistics=statistics)
    np.testing.assert_allclose(again, trained, rtol=1e-5, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, same, statistics)


@pytest.mark.parametrize(
    ("units", "options", "message"),
    [
        ([], {}, "`units` must have at least one entry; got none"),
        ([(np.zeros((3, 3, 4, 5)),)], {}, r"the shortcut must have the shape .* \(3, 6, 6, 5\); got \(3, 6, 6, 4\)"),
        ([(np.zeros((3, 3, 4, 3)),)], {"shortcut": "A"}, "can only add channels; got 4 before and 3 after"),
        ([(np.zeros((3, 3, 4, 4)),)], {"shortcut": "B"}, "`projection` must be given with shortcut 'B'"),
        ([(np.zeros((3, 3, 4, 4)),)], {"shortcut": "D"}, "`shortcut` must be one of 'identity', 'A', 'B', 'none'"),
        ([(np.zeros((3, 3, 4, 4)),)], {"statistics": []}, "an entry for each of 1 units; got 0"),
    ],
)
def test_what_it_refuses(images, units, options, message):
    with pytest.raises(ValueError, match=message):
        ops.residual_block(images, [tuple(map(jnp.float32, unit)) for unit in units], **options)


def test_what_a_bottleneck_refuses(images):
    square = (jnp.zeros((3, 3, 4, 4)),)
    with pytest.raises(ValueError, match=r"first and the last have one tap; got windows \[\(3, 3\), \(3, 3\)\]"):
        ops.bottleneck_block(images, [square, square])
