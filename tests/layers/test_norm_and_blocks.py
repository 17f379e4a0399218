"""Normalization, activations, table convolution and blocks: equal to Flax's layers and to their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import layers, ops


def normal(random, *shape):
    return jnp.asarray(random.normal(size=shape), jnp.float32)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_batch_norm_equals_flax_s(random, dtype):
    ours = layers.BatchNorm(3, momentum=0.8, epsilon=1e-3, dtype=dtype, rngs=nnx.Rngs(0))
    theirs = nnx.BatchNorm(3, momentum=0.8, epsilon=1e-3, dtype=dtype, rngs=nnx.Rngs(0))
    for layer in (ours, theirs):
        layer.scale[...], layer.bias[...] = jnp.array([1.0, -2.0, 0.5]), jnp.array([0.0, 1.0, -1.0])
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == jnp.float32 else {"rtol": 2e-2, "atol": 2e-2}
    for _ in range(3):
        x = 2 * normal(random, 6, 4, 5, 3) + 1
        with jax.numpy_dtype_promotion("standard"):
            expected = theirs(x)
        found = ours(x)
        assert found.dtype == dtype
        np.testing.assert_allclose(found.astype(float), expected.astype(float), **tolerance)
        for name in ("mean", "var"):
            stored, known = getattr(ours, name)[...], getattr(theirs, name)[...]
            assert stored.dtype == jnp.float32
            np.testing.assert_allclose(stored, known, rtol=1e-2 if dtype == jnp.bfloat16 else 1e-4, atol=1e-3)
    ours.eval()
    theirs.eval()
    before = ours.mean[...]
    with jax.numpy_dtype_promotion("standard"):
        np.testing.assert_allclose(ours(x).astype(float), theirs(x).astype(float), rtol=3e-2, atol=3e-2)
    np.testing.assert_array_equal(ours.mean[...], before)


def test_batch_norm_remembers_nothing_of_the_gradient(random):
    layer, x = layers.BatchNorm(2, rngs=nnx.Rngs(0)), normal(random, 5, 2)
    graph, params, rest = nnx.split(layer, nnx.Param, ...)

    def remembered(x):
        copy = nnx.merge(graph, params, rest, copy=True)
        copy(x)
        return copy.mean[...].sum() + copy.var[...].sum()

    np.testing.assert_array_equal(jax.grad(remembered)(x), 0)


def test_batch_norm_refuses_a_momentum_out_of_range():
    with pytest.raises(ValueError, match=r"`momentum` must be in \[0, 1\); got 1.0."):
        layers.BatchNorm(2, momentum=1.0, rngs=nnx.Rngs(0))


def test_local_response_norm_and_activations_are_the_ops(random):
    x = normal(random, 2, 3, 3, 8)
    layer = layers.LocalResponseNorm(3, k=1.0, alpha=0.1)
    np.testing.assert_array_equal(layer(x), ops.local_response_norm(x, size=3, k=1.0, alpha=0.1))
    for name in ("relu", "leaky_relu", "sigmoid", "tanh", "scaled_tanh", "unit_step", "signum"):
        np.testing.assert_array_equal(layers.Activation(name)(x), getattr(ops, name)(x))
    guided = jax.grad(lambda x: -layers.Activation("relu", rule="guided")(x).sum())(x)
    np.testing.assert_array_equal(guided, 0)
    np.testing.assert_array_equal(layers.Activation("identity")(x), x)
    through = jax.grad(lambda x: layers.Activation("signum", rule="straight_through")(x).sum())(x)
    np.testing.assert_array_equal(through, np.abs(x) <= 1)


@pytest.mark.parametrize(
    ("name", "rule", "message"),
    [
        ("swish", "hand", "`activation` must be one of 'relu', .*; got 'swish'."),
        ("tanh", "guided", "`rule` must be one of 'hand', 'autodiff'; got 'guided'."),
        ("unit_step", "guided", "`rule` must be one of 'hand', 'straight_through', 'autodiff'; got 'guided'."),
        ("identity", "straight_through", "`rule` must be one of 'hand', 'autodiff'; got 'straight_through'."),
    ],
)
def test_unknown_activations_and_rules_are_refused(name, rule, message):
    with pytest.raises(ValueError, match=message):
        layers.Activation(name, rule=rule)


def test_prelu_learns_a_slope_for_each_channel(random):
    layer = layers.PReLU(3, slope=0.1)
    layer.slope[...] = jnp.array([0.1, 0.5, -1.0])
    x = normal(random, 2, 4, 3)
    np.testing.assert_allclose(layer(x), jnp.where(x > 0, x, x * layer.slope[...][None, None]), rtol=1e-6)
    gradient = nnx.grad(lambda layer: layer(x).sum())(layer)
    np.testing.assert_allclose(gradient.slope[...], jnp.minimum(x, 0).sum((0, 1)), rtol=1e-5)


TABLE = ((0, 1), (1, 2, 3), (0, 1), (3,), (0, 2), (1, 2, 3))


def test_table_convolution_is_a_convolution_with_holes(random):
    layer = layers.TableConv(4, TABLE, (3, 2), 2, padding="VALID", rngs=nnx.Rngs(0))
    x = normal(random, 2, 7, 8, 4)
    kernel, bias = np.zeros((3, 2, 4, 6), np.float32), np.zeros(6, np.float32)
    for output in range(6):  # read off each output by an impulse of each input
        for source in range(4):
            impulse = np.zeros((1, 3, 2, 4), np.float32)
            for tap in np.ndindex(3, 2):
                impulse[...] = 0
                impulse[0, *tap, source] = 1
                kernel[*tap, source, output] = layer(jnp.asarray(impulse))[0, 0, 0, output]
    for output, row in enumerate(TABLE):
        holes = [source for source in range(4) if source not in row]
        assert np.any(kernel[..., list(row), output]) and not np.any(kernel[..., holes, output])
    expected = np.asarray(ops.conv(x, kernel, strides=2, padding="VALID")) + bias
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(layer, nnx.Param)))
    assert parameters == 3 * 2 * sum(map(len, TABLE)) + 6


@pytest.mark.parametrize("table", [((0, 4),), ((0,), ())])
def test_tables_with_wrong_rows_are_refused(table):
    with pytest.raises(ValueError, match="`table` must name maps from 0 to 3 in every row; got"):
        layers.TableConv(4, table, (3, 3), rngs=nnx.Rngs(0))


def test_a_unit_is_its_parts(random):
    unit = layers.ConvUnit(2, 3, 3, 2, rngs=nnx.Rngs(0))
    unit.eval()
    x = normal(random, 2, 7, 7, 2)
    expected = jax.nn.relu(ops.conv(x, unit.conv.kernel[...], strides=2, padding=1) / np.sqrt(1 + 1e-5))
    np.testing.assert_allclose(unit(x), expected, rtol=1e-5, atol=1e-6)
    assert unit.conv.bias is None
    bare = layers.ConvUnit(2, 3, 3, batch_norm=False, activation=None, rngs=nnx.Rngs(0))
    assert bare.conv.bias is not None and bare.norm is None and np.min(bare(x)) < 0


@pytest.mark.parametrize("block", [layers.ResidualBlock, layers.PreActivationBlock])
@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize(
    ("shortcut", "projects"), [("A", (False, False)), ("B", (False, True)), ("C", (True, True)), ("none", (False,) * 2)]
)
def test_shortcuts_project_where_they_should(block, bottleneck, shortcut, projects):
    outputs = 8 if bottleneck else 2
    for strides, inputs, project in ((1, outputs, projects[0]), (2, outputs // 2, projects[1])):
        made = block(inputs, 2, strides, bottleneck=bottleneck, shortcut=shortcut, rngs=nnx.Rngs(0))
        assert made(jnp.ones((1, 6, 6, inputs))).shape == (1, 6 // strides, 6 // strides, outputs)
        parameters = {} if made.shortcut is None else nnx.state(made.shortcut, nnx.Param)
        assert bool(jax.tree.leaves(parameters)) == project


def test_shortcut_a_decimates_and_pads_with_zeros(random):
    block = layers.ResidualBlock(2, 6, 2, shortcut="A", zero_last=True, rngs=nnx.Rngs(0))
    x = normal(random, 1, 5, 5, 2)
    found = block(x)  # the branch starts at zero
    np.testing.assert_array_equal(found[..., 2:4], jnp.maximum(x[:, ::2, ::2], 0))
    np.testing.assert_array_equal(found[..., jnp.array([0, 1, 4, 5])], 0)


def test_a_plain_block_has_no_way_past(random):
    block = layers.ResidualBlock(2, 2, shortcut="none", zero_last=True, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(block(normal(random, 1, 4, 4, 2)), 0)


def test_strides_stand_where_they_are_asked_for():
    for where, strides in (("first", [2, 1, 1]), ("middle", [1, 2, 1])):
        block = layers.ResidualBlock(8, 2, 2, bottleneck=True, stride_on=where, rngs=nnx.Rngs(0))
        assert [unit.conv.strides[0] for unit in block.units] == strides


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shortcut": "A", "in_features": 4}, "`shortcut` 'A' can only add channels; got 4 before and 2 after."),
        ({"shortcut": "D"}, "`shortcut` must be one of 'A', 'B', 'C', 'none'; got 'D'."),
        ({"stride_on": "last"}, "`stride_on` must be one of 'first', 'middle'; got 'last'."),
    ],
)
@pytest.mark.parametrize("block", [layers.ResidualBlock, layers.PreActivationBlock])
def test_unknown_options_of_blocks_are_refused(block, options, message):
    with pytest.raises(ValueError, match=message):
        block(**({"in_features": 2, "features": 2, "rngs": nnx.Rngs(0)} | options))


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_inception_with_strides_halves_every_branch(size):
    block = layers.Inception(4, [[(1, 2), (3, 5)], [(1, 2), (3, 3), (3, 3)]], projection=0, strides=2, rngs=nnx.Rngs(0))
    halves = tuple(-(-n // 2) for n in size)
    assert block(jnp.ones((1, *size, 4))).shape == (1, *halves, 5 + 3 + 4) and block.out_features == 12
