"""The initializers: Flax's numbers to the bit, from one compiled program for all shapes."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import monitoring

from jaxcnn import layers, models
from jaxcnn.layers import initializers

PAIRS = {
    "lecun_normal": (initializers.lecun_normal(), nnx.initializers.lecun_normal()),
    "he_normal": (
        initializers.variance_scaling(2.0, "fan_out", "normal"),
        nnx.initializers.variance_scaling(2.0, "fan_out", "normal"),
    ),
    "uniform": (
        initializers.variance_scaling(3.0, "fan_in", "uniform"),
        nnx.initializers.variance_scaling(3.0, "fan_in", "uniform"),
    ),
    "normal": (initializers.normal(0.01), nnx.initializers.normal(0.01)),
    "constant": (initializers.constant(0.3), nnx.initializers.constant(0.3)),
}
SHAPES = [(5, 5, 1, 6), (1 << 14, 1), ((1 << 14) + 1, 1), (3, 3, 40, 100)]  # less than a chunk, one, and more


@pytest.fixture(params=PAIRS)
def pair(request):
    return PAIRS[request.param]


OLDER = tuple(map(int, jax.__version__.split(".")[:2])) < (0, 12)  # the newer scales a normal before its last rounding


def same(ours: jax.Array, theirs: jax.Array) -> None:
    assert ours.dtype == theirs.dtype
    rounding = 0.0 if OLDER else 3 * float(jnp.finfo(ours.dtype).eps)
    wide = [
        np.asarray(array.astype(jnp.float32 if array.dtype.itemsize < 4 else array.dtype)) for array in (ours, theirs)
    ]
    np.testing.assert_allclose(*wide, rtol=rounding, atol=0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_the_numbers_are_those_of_flax(pair, dtype, shape):
    ours, theirs = pair
    key = nnx.Rngs(3).params()
    same(ours(key, shape, dtype), theirs(key, shape, dtype))


def test_the_numbers_are_those_of_flax_in_float64(pair, float64):
    ours, theirs = pair
    same(ours(jax.random.key(1), (7, 5), jnp.float64), theirs(jax.random.key(1), (7, 5), jnp.float64))


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_keys_of_another_generator_draw_as_in_flax(pair, impl):
    ours, theirs = pair
    key = jax.random.key(1, impl=impl)
    same(ours(key, (7, 5)), theirs(key, (7, 5)))


def test_old_keys_draw_as_in_flax(pair):
    ours, theirs = pair
    same(ours(jax.random.PRNGKey(1), (7, 5)), theirs(jax.random.PRNGKey(1), (7, 5)))


def test_the_older_threefry_draws_as_in_flax(pair):
    ours, theirs = pair
    with jax.threefry_partitionable(False):
        same(ours(jax.random.key(1), (7, 5)), theirs(jax.random.key(1), (7, 5)))


def test_they_draw_inside_jit_and_vmap(pair):
    ours, theirs = pair
    keys = jax.random.split(jax.random.key(2), 3)
    traced = jax.jit(jax.vmap(lambda key: ours(key, (7, 5))))(keys)
    np.testing.assert_allclose(traced, np.stack([theirs(key, (7, 5)) for key in keys]), rtol=1e-6)


@pytest.mark.parametrize("around", [jax.jit, jax.checkpoint, lambda f: lambda: jax.lax.cond(True, f, f)])
def test_a_key_from_outside_draws_inside_a_trace(pair, around):
    ours, theirs = pair
    key = jax.random.key(1)
    np.testing.assert_allclose(around(lambda: ours(key, (7, 5)))(), theirs(key, (7, 5)), rtol=1e-6)


def test_a_committed_key_places_the_numbers(pair):
    ours, theirs = pair
    key = jax.device_put(jax.random.key(1), jax.devices()[1])
    if theirs is not PAIRS["constant"][1]:
        assert ours(key, (7, 5)).devices() == theirs(key, (7, 5)).devices() == {jax.devices()[1]}


def test_float64_without_x64_is_float32(pair):
    ours, theirs = pair
    with pytest.warns(UserWarning, match="float64"):
        expected = theirs(jax.random.key(1), (7, 5), jnp.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(ours(jax.random.key(1), (7, 5), jnp.float64), expected)


@pytest.mark.parametrize("axis_type", ["Auto", "Explicit"])
def test_metadata_of_a_sharding_is_taken_under_a_mesh(axis_type):
    kinds = (jax.sharding.AxisType[axis_type],)
    with jax.set_mesh(jax.make_mesh((2,), ("x",), axis_types=kinds, devices=jax.devices()[:2])):
        conv = layers.Conv(3, 8, (3, 3), rngs=nnx.Rngs(0), bias_metadata={"out_sharding": ("x",)})
        norm = layers.BatchNorm(8, rngs=nnx.Rngs(0), scale_metadata={"out_sharding": ("x",)})
        assert conv.bias[...].sharding.spec == norm.scale[...].sharding.spec == jax.P("x")


def test_a_shape_without_a_fan_is_refused_in_the_words_of_jax():
    with pytest.raises(ValueError, match="Can't compute input and output sizes"):
        initializers.lecun_normal()(jax.random.key(0), (5,))


def test_a_sharding_that_is_asked_for_is_kept():
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,), devices=jax.devices()[:2])
    with jax.set_mesh(mesh):
        kernel = initializers.lecun_normal()(jax.random.key(0), (4, 6), jnp.float32, jax.P("x", None))
        assert jax.typeof(kernel).sharding.spec == jax.P("x", None)
        assert initializers.lecun_normal()(jax.random.key(0), (4, 6)).shape == (4, 6)


def test_a_linear_layer_is_that_of_flax():
    same(layers.Linear(40, 12, rngs=nnx.Rngs(5)).kernel[...], nnx.Linear(40, 12, rngs=nnx.Rngs(5)).kernel[...])


def test_a_network_can_be_built_inside_eval_shape():
    abstract = nnx.eval_shape(lambda: models.create("lenet5", rngs=nnx.Rngs(0)))
    assert abstract.dense1.kernel.shape == (400, 120)


def test_parameters_can_be_donated():
    kernel = initializers.lecun_normal()(jax.random.key(0), (64, 64))
    before = np.array(kernel)
    np.testing.assert_array_equal(jax.jit(lambda x: x + 1, donate_argnums=0)(kernel), before + 1)


def test_a_deep_network_compiles_no_more_programs_than_a_shallow_one():
    compiled: list[str] = []

    def count(event: str, seconds: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    def programs(name: str) -> int:
        jax.clear_caches()
        compiled.clear()
        models.create(name, rngs=nnx.Rngs(0))
        return len(compiled)

    monitoring.register_event_duration_secs_listener(count)
    try:
        assert programs("resnet56") == programs("resnet20") <= 10
    finally:
        monitoring.unregister_event_duration_listener(count)
