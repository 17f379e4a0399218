"""Networks as users of other libraries have them: by hand, every gradient is the one that stock JAX gives."""

import importlib.util
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand.networks import KINDS, WAYS
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxcnn

by_hand = partial(jaxcnn.by_hand, rule="hand")


def mesh():
    return jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))


# Each gives a function `(parameters, images, labels) -> (value, gradient)`, of a loss.


def jitted(loss):
    return jax.jit(jax.value_and_grad(loss))


def alone(loss):
    return jax.value_and_grad(loss)


def in_remat(loss):
    return jax.jit(jax.value_and_grad(jax.checkpoint(loss, policy=jax.checkpoint_policies.dots_saveable)))


def mapped(loss):
    def by_example(parameters, x, labels):
        each = jax.vmap(lambda x, label: loss(parameters, x[None], label[None]))(x, labels)
        return jnp.mean(each)

    return jax.jit(jax.value_and_grad(by_example))


def steps_in_a_scan(loss):
    def train(parameters, x, labels):
        def step(parameters, _):
            value, gradient = jax.value_and_grad(loss)(parameters, x, labels)
            return jax.tree.map(lambda w, g: w - 0.1 * g, parameters, gradient), value

        parameters, values = lax.scan(step, parameters, None, 3)
        return values, parameters

    return jax.jit(train)


def on_four_devices(loss):
    function = jax.jit(jax.value_and_grad(loss))

    def sharded(parameters, x, labels):
        data, whole = NamedSharding(mesh(), P("data")), NamedSharding(mesh(), P())
        return function(jax.device_put(parameters, whole), jax.device_put(x, data), jax.device_put(labels, data))

    return sharded


def in_shard_map(loss):
    def shard(parameters, x, labels):
        value, gradient = jax.value_and_grad(loss)(parameters, x, labels)
        return lax.pmean(value, "data"), jax.tree.map(lambda g: g / 4, gradient)  # a sum already: they are replicated

    return jax.jit(jax.shard_map(shard, mesh=mesh(), in_specs=(P(), P("data"), P("data")), out_specs=P()))


def in_pmap(loss):
    def shard(parameters, x, labels):
        return lax.pmean(jax.value_and_grad(loss)(parameters, x, labels), "data")

    function = jax.pmap(shard, "data", in_axes=(None, 0, 0))

    def split(parameters, x, labels):
        found = function(parameters, *(a.reshape(4, 2, *a.shape[1:]) for a in (x, labels)))
        return jax.tree.map(lambda a: a[0], found)

    return split


TRANSFORMATIONS = [jitted, alone, in_remat, mapped, steps_in_a_scan, on_four_devices, in_shard_map, in_pmap]


@pytest.fixture
def dtypes_of_numpy():
    """Keras and Haiku mix dtypes and ranks as NumPy does."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def assert_same_gradients(way, kind, transform):
    name = "flax" if way in ("linen", "nnx") else "jax" if way == "lax" else way
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    network = WAYS[way](kind)
    parameters = jax.tree.map(lambda w: jnp.asarray(w, jnp.float64), network.parameters)
    x, labels = jnp.asarray(network.images, jnp.float64), jnp.asarray(network.labels)
    report = jaxcnn.by_hand.report(by_hand(network.loss), parameters, x, labels)
    ops = [one.op for one in report.replacements if one.replaced]
    assert ops.count("conv") == (2 if kind == "lenet" else 7)
    assert ops.count("max_pool") == (2 if kind == "lenet" else 0)
    found = transform(by_hand(network.loss))(parameters, x, labels)
    expected = transform(network.loss)(parameters, x, labels)
    scale = max(float(abs(g).max()) for g in jax.tree.leaves(expected))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9 * scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_gradients_of_peers_networks(dtypes_of_numpy, way, kind):
    assert_same_gradients(way, kind, jitted)


@pytest.mark.parametrize("transform", TRANSFORMATIONS[1:], ids=lambda transform: transform.__name__)
@pytest.mark.parametrize("way", ["lax", "equinox", "keras"])
def test_gradients_of_peers_networks_transformed(dtypes_of_numpy, way, transform):
    assert_same_gradients(way, "lenet", transform)


@pytest.mark.slow
@pytest.mark.parametrize("transform", TRANSFORMATIONS[1:], ids=lambda transform: transform.__name__)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_gradients_of_all_peers_networks_transformed(dtypes_of_numpy, way, kind, transform):
    assert_same_gradients(way, kind, transform)
