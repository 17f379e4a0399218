"""Residual networks whose batch lies on several devices: one step's gradient is that of one device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn import layers, models, ops

DEVICES = 4


class Small(nnx.Module):
    """One block of each kind, with shortcuts A and B, narrow."""

    def __init__(self, rule, param_dtype, rngs):
        options = {"rule": rule, "param_dtype": param_dtype, "rngs": rngs}
        self.stem = layers.ConvUnit(3, 2, 3, **options)
        self.first = layers.ResidualBlock(2, 3, 2, shortcut="A", **options)
        self.second = layers.PreActivationBlock(3, 4, 2, shortcut="B", **options)

    def __call__(self, images):
        return ops.global_avg_pool(self.second(self.first(self.stem(images))))


def step_of(network, axis_name, rule="hand"):
    """`(params, rest, images, labels) -> (loss, gradient, statistics)`, and the two states."""
    model = network(rule=rule, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    model.set_attributes(axis_name=axis_name, raise_if_not_found=False)
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def step(params, rest, images, labels):
        def loss(params):
            model = nnx.merge(graph, params, rest, copy=True)
            losses = ops.softmax_cross_entropy(model(images), labels, rule=rule)
            return losses.mean(), nnx.split(model, nnx.Param, ...)[2]

        (value, remembered), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        return value, gradient, remembered

    return step, params, rest


@pytest.fixture(scope="module")
def batch():
    with jax.enable_x64(True):
        images = np.random.default_rng(0).normal(size=(8, 8, 8, 3))
        yield jnp.asarray(images), jnp.arange(8) % 4


@pytest.fixture(scope="module")
def expected(batch):
    return on_one_device(Small, batch)


def on_pmap(network, batch):
    step, params, rest = step_of(network, "data")

    def local(*args):
        value, gradient, rest = step(*args)
        return *jax.lax.pmean((value, gradient), "data"), rest

    parts = [a.reshape(DEVICES, -1, *a.shape[1:]) for a in batch]
    outputs = jax.pmap(local, axis_name="data", in_axes=(None, None, 0, 0))(params, rest, *parts)
    return jax.tree.map(lambda a: a[0], outputs)


def on_shard_map(network, batch, checked):
    step, params, rest = step_of(network, "data")

    def local(*args):
        value, gradient, rest = step(*args)
        if checked:  # the gradient is already the sum over devices
            return jax.lax.pmean(value, "data"), jax.tree.map(lambda a: a / DEVICES, gradient), rest
        return *jax.lax.pmean((value, gradient), "data"), rest

    mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(AxisType.Auto,))
    specs = {"in_specs": (P(), P(), P("data"), P("data")), "out_specs": P()}
    return jax.jit(jax.shard_map(local, mesh=mesh, check_vma=checked, **specs))(params, rest, *batch)


def on_sharded_arrays(network, batch):
    step, params, rest = step_of(network, None)  # the compiler sees the whole batch
    mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(AxisType.Auto,))
    params, rest = jax.device_put((params, rest), NamedSharding(mesh, P()))
    return jax.jit(step)(params, rest, *jax.device_put(batch, NamedSharding(mesh, P("data"))))


WAYS = {
    "pmap": on_pmap,
    "shard_map": functools.partial(on_shard_map, checked=True),
    "shard_map, unchecked": functools.partial(on_shard_map, checked=False),
    "sharded arrays": on_sharded_arrays,
}


def on_one_device(network, batch):
    step, params, rest = step_of(network, None, rule="autodiff")
    return jax.jit(step)(params, rest, *batch)


def assert_same(found, expected):
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    for tree, whole, tolerance in ((found[1], expected[1], 1e-10), (found[2], expected[2], 1e-6)):
        largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(whole))
        for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(tree), jax.tree.leaves(whole), strict=True):
            # entries are held to the largest of their array, unless all of it is rounding: a bias before a mean
            size = max(float(jnp.max(jnp.abs(b))), 1e-4 * largest)
            error = float(jnp.max(jnp.abs(a - b))) / size
            assert error < tolerance, (jax.tree_util.keystr(path), error)


@pytest.mark.parametrize("way", WAYS)
def test_a_small_residual_network(batch, expected, way):
    assert_same(WAYS[way](Small, batch), expected)


@pytest.mark.slow
def test_resnet_20(batch):
    network = functools.partial(models.CifarResNet, 4, 3, depth=20)
    assert_same(on_pmap(network, batch), on_one_device(network, batch))
