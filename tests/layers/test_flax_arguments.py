"""What Flax's layers take, ours take, and do the same with it: signatures, values, gradients, statistics."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn import layers

OTHERS = {"ConvTranspose"}  # its paddings are those of `ops.conv_transpose`, which give PyTorch's sizes
TWINS = [name for name in layers.__all__ if hasattr(nnx, name) and name not in OTHERS]
ABSENT = {
    ("BatchNorm", "axis_index_groups"): "a mesh says it: one axis of groups, and one inside a group as `axis_name`",
    ("BatchNorm", "use_fast_variance"): "decided by the dtype: one reading where rounding is larger than what it loses",
    ("BatchNorm", "promote_dtype"): "nothing is promoted: the result has the dtype of `dtype`, or that of the input",
    ("PReLU", "negative_slope_init"): "`slope`; ours are one for each channel, as in the paper",
    ("PReLU", "negative_slope_metadata"): "as its slopes are others, so is its parameter",
    ("PReLU", "promote_dtype"): "only the slopes are brought to another dtype",
}
OTHER_DEFAULTS = {
    ("BatchNorm", "momentum"): "0.9, as 1 - 0.1 in PyTorch, Keras's 0.99 being slow to settle",
    ("Conv", "conv_general_dilated"): "None is `ops.conv`, whose rule is what this library is for",
    **{
        (name, key): "the same numbers, without a compilation for every shape"
        for name, keys in {
            "BatchNorm": ("scale_init", "bias_init"),
            "Conv": ("kernel_init", "bias_init"),
            "Linear": ("kernel_init", "bias_init"),
        }.items()
        for key in keys
    },
}


def signatures():
    for name in TWINS:
        for method in ("__init__", "__call__"):
            ours, theirs = (getattr(getattr(module, name), method) for module in (layers, nnx))
            yield name, inspect.signature(ours).parameters, inspect.signature(theirs).parameters


def test_flax_s_twins_are_these():
    assert TWINS == ["BatchNorm", "Conv", "Linear", "PReLU"]


def test_every_argument_of_flax_is_taken_or_listed():
    absent = {(name, key) for name, ours, theirs in signatures() for key in theirs if key not in ours}
    assert absent == set(ABSENT)


def test_arguments_have_flax_s_places_and_defaults():
    others = set()
    for name, ours, theirs in signatures():
        shared = [key for key in theirs if key in ours]
        positional = [key for key in shared if theirs[key].kind is not inspect.Parameter.KEYWORD_ONLY]
        if name != "PReLU":
            assert list(ours)[: len(positional)] == positional
        assert all(ours[key].kind == theirs[key].kind for key in shared)
        others |= {(name, key) for key in shared if ours[key].default != theirs[key].default}
    assert others == set(OTHER_DEFAULTS)


def in_float64(arrays, dtype=None):
    """A promotion that neither layer would do by itself."""
    del dtype
    return tuple(None if a is None else jnp.asarray(a, jnp.float64) for a in arrays)


def lax_in_reverse(lhs, rhs, *args, **options):
    """A convolution that is not the usual one."""
    return lax.conv_general_dilated(-lhs, rhs, *args, **options)


normal = nnx.initializers.normal()
KERNEL_MASK = np.arange(3 * 2 * 2 * 6).reshape(3, 2, 2, 6) % 3 > 0
CONVS = [
    {"use_bias": True, "kernel_init": normal, "bias_init": normal},
    {"strides": None, "input_dilation": None, "kernel_dilation": None},
    {"strides": (2, 1), "padding": "REFLECT", "kernel_dilation": 2},
    {"strides": 2, "padding": ((1, 0), (2, 1)), "input_dilation": 2, "use_bias": False},
    {"mask": KERNEL_MASK},
    {"mask": KERNEL_MASK * np.float32(0.5), "padding": "CIRCULAR", "strides": 2},
    {"mask": KERNEL_MASK.astype(int), "dtype": jnp.float32},
    {"feature_group_count": 2, "mask": KERNEL_MASK},
    {"conv_general_dilated": lax_in_reverse, "mask": KERNEL_MASK, "padding": 1, "input_dilation": (1, 2)},
    {"conv_general_dilated": lax_in_reverse, "padding": "CIRCULAR", "precision": "highest"},
    {"conv_general_dilated": lax_in_reverse, "dtype": jnp.bfloat16, "preferred_element_type": jnp.float32},
    {"promote_dtype": in_float64, "precision": lax.Precision.HIGHEST},
    {"param_dtype": jnp.float32, "preferred_element_type": jnp.float64, "dtype": jnp.float64},
    {"kernel_metadata": {"seen": 1}, "bias_metadata": {"of": "bias"}},
]


def made(kind, *sizes, **options):
    return kind(*sizes, **{"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)} | options)


def outcome(layer, x, error, **call):
    """Output, gradients of parameters and input, and what the layer remembers."""
    graph, params, rest = nnx.split(layer, nnx.Param, ...)

    def run(params, x):
        copy = nnx.merge(graph, params, rest, copy=True)
        return copy(x, **call), nnx.state(copy, nnx.BatchStat)

    with jax.numpy_dtype_promotion("standard"):  # Flax mixes dtypes
        y, back, kept = jax.vjp(run, params, x, has_aux=True)
        return y, *back(error.astype(y.dtype)), kept


def assert_same(found, expected, tolerance=1e-11):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        rtol = {jnp.float64: tolerance, jnp.float32: 1e-5, jnp.bfloat16: 2e-2}[a.dtype.type]
        where = jax.tree_util.keystr(path)
        np.testing.assert_allclose(a.astype(float), b.astype(float), rtol=rtol, atol=rtol, err_msg=where)


@pytest.mark.parametrize("options", CONVS, ids=lambda options: ", ".join(options))
def test_conv_does_as_flax_s(random, float64, options):
    channels = 2 * options.get("feature_group_count", 1)
    ours, theirs = (made(kind, channels, 6, (3, 2), **options) for kind in (layers.Conv, nnx.Conv))
    x = jnp.asarray(random.normal(size=(2, 7, 6, channels)), options.get("dtype"))
    error = random.normal(size=jax.eval_shape(ours, x).shape)
    assert_same(outcome(ours, x, error), outcome(theirs, x, error))
    for name in ("kernel", "bias"):
        assert all(
            getattr(getattr(ours, name), key) == value for key, value in options.get(f"{name}_metadata", {}).items()
        )


def test_conv_is_called_with_every_argument_of_flax():
    tried = {key for options in CONVS for key in options} | {"param_dtype", "rngs"}
    assert tried == set(inspect.signature(nnx.Conv.__init__).parameters) - {
        "self",
        "in_features",
        "out_features",
        "kernel_size",
    }


def test_a_masked_weight_gets_no_gradient(random):
    mask = jnp.asarray(KERNEL_MASK)
    for own in ({}, {"conv_general_dilated": lax.conv_general_dilated}):
        layer = layers.Conv(2, 6, (3, 2), mask=mask, rngs=nnx.Rngs(0), **own)
        x = jnp.asarray(random.normal(size=(2, 7, 6, 2)), jnp.float32)
        gradient = nnx.grad(lambda layer, x=x: jnp.sum(jnp.square(layer(x))))(layer)
        assert {path[-1] for path, _ in nnx.to_flat_state(gradient)} == {"kernel", "bias"}
        np.testing.assert_array_equal(gradient.kernel[...] != 0, KERNEL_MASK)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"`mask` must have the shape of the kernel, \(3, 2, 3\); got \(3, 2\)\."):
        layers.Conv(2, 3, 3, mask=np.ones((3, 2)), rngs=nnx.Rngs(0))


def test_a_function_of_the_user_s_convolves_with_a_flipped_kernel(random):
    x = jnp.asarray(random.normal(size=(2, 7, 6, 2)), jnp.float32)
    options = {"flip_kernel": True, "strides": 2, "rngs": nnx.Rngs(0)}
    ours = layers.Conv(2, 3, (3, 2), **options)
    graph, state = nnx.split(ours)
    users = nnx.merge(graph, state)
    users.conv_general_dilated = lax.conv_general_dilated
    np.testing.assert_allclose(users(x), ours(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", ["hand", "autodiff"])
def test_conv_gives_its_output_a_sharding(random, rule):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    ours, theirs = layers.Conv(2, 4, (3, 3), rule=rule, rngs=nnx.Rngs(0)), nnx.Conv(2, 4, (3, 3), rngs=nnx.Rngs(0))
    with jax.set_mesh(mesh):
        x = jax.device_put(jnp.asarray(random.normal(size=(8, 5, 5, 2)), jnp.float32), NamedSharding(mesh, P("data")))
        found, expected = (
            jax.jit(lambda state, x, graph=graph: nnx.merge(graph, state)(x, out_sharding=P("data")))(
                jax.device_put(state, NamedSharding(mesh, P())), x
            )
            for graph, state in map(nnx.split, (ours, theirs))
        )
    assert jax.typeof(found).sharding == jax.typeof(expected).sharding
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


CELLS = np.array([True, True, False, True]).reshape(4, 1, 1, 1)
SOME = np.arange(4 * 5 * 6 * 3).reshape(4, 5, 6, 3) % 7 > 2
NORMS = [
    {"momentum": 0.5, "epsilon": 0.1},
    {"axis": 1},
    {"axis": -2, "use_scale": False},
    {"use_bias": False},
    {"use_bias": False, "use_scale": False},
    {"bias_init": normal, "scale_init": normal},
    {"use_running_average": True},
    {"use_running_average": None},
    {"dtype": jnp.bfloat16},
    {"dtype": jnp.float32, "param_dtype": jnp.float32},
    {"scale_metadata": {"seen": 1}, "bias_metadata": {"of": "bias"}},
]


CALLS = {
    "plain": {},
    "examples": {"mask": CELLS},
    "cells": {"mask": SOME},
    "running": {"use_running_average": True},
}


@pytest.mark.filterwarnings("ignore:scatter inputs have incompatible types")  # Flax's statistics stay in float32
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("options", NORMS, ids=lambda options: ", ".join(options))
def test_batch_norm_does_as_flax_s(random, float64, options, call):
    x = jnp.asarray(2 * random.normal(size=(4, 5, 6, 3)) + 1, options.get("dtype"))
    if options.get("use_running_average", False) is None:
        call = {"use_running_average": False} | call
    ours, theirs = (
        made(kind, x.shape[options.get("axis", -1)], **{"momentum": 0.9} | options)
        for kind in (layers.BatchNorm, nnx.BatchNorm)
    )
    error = random.normal(size=x.shape)
    found, expected = outcome(ours, x, error, **call), outcome(theirs, x, error, **call)
    low = options.get("dtype") == jnp.bfloat16  # whose gradients Flax rounds on the way, ours at the end
    if low:
        found, expected = (found[0], found[-1]), (expected[0], expected[-1])
    assert_same(found, expected, 1e-5 if call.get("use_running_average") or ours.use_running_average else 1e-10)
    for name in ("scale", "bias"):
        assert all(
            getattr(getattr(ours, name), key) == value for key, value in options.get(f"{name}_metadata", {}).items()
        )


def test_batch_norm_is_called_with_every_argument_of_flax():
    tried = {key for options in NORMS for key in options} | {"param_dtype", "rngs"}
    elsewhere = {"axis_name"}  # held against Flax's over several devices
    wanted = set(inspect.signature(nnx.BatchNorm.__init__).parameters) - {"self", "num_features"}
    assert tried | elsewhere == wanted - {key for name, key in ABSENT if name == "BatchNorm"}


def test_some_statistics_must_be_chosen():
    layer = layers.BatchNorm(2, use_running_average=None, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`use_running_average` must be given to the layer or to its call; got None."):
        layer(jnp.ones((3, 2)))


def test_a_view_chooses_the_statistics(random):
    layer, x = layers.BatchNorm(2, rngs=nnx.Rngs(0)), jnp.asarray(random.normal(size=(5, 2)), jnp.float32)
    view = nnx.view(layer, use_running_average=True)
    np.testing.assert_array_equal(view(x), layer(x, use_running_average=True))
    assert not layer.use_running_average


def test_an_axis_of_channels_is_kept_by_what_is_one_operation(random):
    layer = layers.BatchNorm(5, axis=1, rngs=nnx.Rngs(0))
    x, shortcut = (jnp.asarray(random.normal(size=(4, 5, 6)), jnp.float32) for _ in range(2))
    np.testing.assert_allclose(layer.and_relu(x, shortcut), nnx.relu(layer(x) + shortcut), rtol=1e-5, atol=1e-6)


def test_prelu_takes_a_dtype(random):
    x = jnp.asarray(random.normal(size=(4, 3)), jnp.float32)
    ours, theirs = layers.PReLU(3, slope=0.1, dtype=jnp.bfloat16), nnx.PReLU(0.1, dtype=jnp.bfloat16)
    assert ours(x).dtype == theirs(x).dtype == jnp.bfloat16
    np.testing.assert_array_equal(ours(x), theirs(x))
