"""The layer that normalizes over all devices, alone and as a part of units, against Flax's and one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxcnn import layers

DEVICES = 4


def unit():
    made = layers.ConvUnit(2, 3, 3, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    made.norm.scale[...], made.norm.bias[...] = jnp.array([1.0, -2.0, 0.5]), jnp.array([0.1, 1.0, -1.0])
    return made


def step_of(model):
    """`(params, rest, images, error) -> (gradient of the mean loss, what the layers remember)`, and the two states."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def step(params, rest, images, error):
        def loss(params):
            model = nnx.merge(graph, params, rest, copy=True)
            return jnp.mean(error * model(images)), nnx.split(model, nnx.Param, ...)[2]

        return jax.grad(loss, has_aux=True)(params)

    return step, params, rest


def split(a):
    return a.reshape(DEVICES, -1, *a.shape[1:])


def assert_same(found, expected, rtol):
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, err_msg=jax.tree_util.keystr(path))


@pytest.fixture
def batch(random, float64):
    return random.normal(size=(8, 5, 4, 2)) + 1, random.normal(size=(8, 5, 4, 3))


@pytest.mark.parametrize("mapping", ["pmap", "shard_map", "shard_map, unchecked"])
def test_a_unit_on_several_devices_is_the_unit_on_one(batch, mapping):
    step, params, rest = step_of(unit())
    gradient, remembered = jax.jit(step)(params, rest, *batch)
    several = unit()
    several.set_attributes(axis_name="data", raise_if_not_found=False)
    step, params, rest = step_of(several)
    checked = mapping == "shard_map"

    def local(*args):
        found, rest = step(*args)
        found = jax.tree.map(lambda a: a / DEVICES, found) if checked else jax.lax.pmean(found, "data")
        return found, rest

    if mapping == "pmap":
        spread = jax.pmap(local, axis_name="data", in_axes=(None, None, 0, 0))
        outputs = spread(params, rest, *map(split, batch))
        for device in range(DEVICES):
            part = jax.tree.map(lambda a, device=device: a[device], outputs)
            assert_same(part[0], gradient, 1e-12)
            assert_same(part[1], remembered, 1e-6)  # kept in float32
    else:
        mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(AxisType.Auto,))
        specs = {"in_specs": (P(), P(), P("data"), P("data")), "out_specs": P()}
        found, rest = jax.jit(jax.shard_map(local, mesh=mesh, check_vma=checked, **specs))(params, rest, *batch)
        assert_same(found, gradient, 1e-12)
        assert_same(rest, remembered, 1e-6)


@pytest.mark.filterwarnings("ignore:scatter inputs have incompatible types")  # Flax's statistics stay in float32
def test_the_layer_on_several_devices_is_flax_s(batch):
    ours = layers.BatchNorm(2, axis_name="data", param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    theirs = nnx.BatchNorm(2, axis_name="data", momentum=0.9, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    images, error = batch[0], batch[1][..., :2]
    with jax.numpy_dtype_promotion("standard"):  # Flax mixes dtypes
        found, expected = (
            jax.pmap(step, axis_name="data", in_axes=(None, None, 0, 0))(params, rest, split(images), split(error))
            for step, params, rest in map(step_of, (ours, theirs))
        )
    for name in ("scale", "bias"):
        assert_same(found[0][name], expected[0][name], 1e-10)
    for name in ("mean", "var"):
        assert_same(found[1][name], expected[1][name], 1e-6)


def test_evaluation_needs_no_other_device(batch):
    model = unit()
    model.eval()
    expected = model(batch[0])
    model.set_attributes(axis_name="data")
    np.testing.assert_array_equal(model(batch[0]), expected)
    model.train()
    with pytest.raises(ValueError, match="`axis_name` must name axes that are mapped here; got 'data'."):
        model(batch[0])
