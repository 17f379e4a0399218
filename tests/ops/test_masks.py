"""Masked kernels and masked statistics: values, gradients, several devices, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxcnn import ops

DEVICES = 4


def test_a_masked_kernel_is_a_product(random, float64):
    x, w = random.normal(size=(2, 6, 5, 2)), random.normal(size=(3, 2, 2, 4))
    mask = random.integers(0, 2, w.shape).astype(bool)
    y, back = jax.vjp(lambda w: ops.conv(x, w, mask=mask), w)
    expected, back_plain = jax.vjp(lambda w: ops.conv(x, w, rule="autodiff"), w * mask.astype(float))
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    error = random.normal(size=y.shape)
    np.testing.assert_allclose(back(error)[0], back_plain(error)[0] * mask.astype(float), rtol=1e-10, atol=1e-12)


def test_the_fused_stage_takes_a_mask(random):
    x, w, b = (jnp.asarray(random.normal(size=s), jnp.float32) for s in ((2, 6, 6, 2), (3, 3, 2, 3), (3,)))
    mask = jnp.arange(w.size).reshape(w.shape) % 2 == 0
    found = ops.conv_relu_pool(x, w, b, mask=mask)
    np.testing.assert_allclose(found, ops.conv_relu_pool(x, w * mask.astype(w.dtype), b), rtol=1e-6)


def test_a_kernel_s_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"`mask` must have the shape of `kernel`, \(3, 1, 2\); got \(3, 1, 1\)\."):
        ops.conv(np.ones((1, 4, 1), np.float32), np.ones((3, 1, 2), np.float32), mask=np.ones((3, 1, 1)))


def masked_norm(x, scale, bias, mask, epsilon=1e-5):
    """The definition, in NumPy."""
    counted = [x[..., c][np.broadcast_to(mask, x.shape)[..., c]] for c in range(x.shape[-1])]
    mean, variance = np.array([cells.mean() for cells in counted]), np.array([cells.var() for cells in counted])
    return (x - mean) / np.sqrt(variance + epsilon) * scale + bias, mean, variance


MASKS = {
    "examples": np.arange(8).reshape(8, 1, 1) < 5,
    "cells": np.arange(8 * 5 * 3).reshape(8, 5, 3) % 7 < 4,
    "one row": np.arange(5).reshape(5, 1) != 2,
}


@pytest.mark.parametrize("rule", ["hand", "autodiff"])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_masked_statistics_are_those_of_the_cells(random, float64, mask, rule):
    x, scale, bias = random.normal(size=(8, 5, 3)), random.normal(size=3), random.normal(size=3)
    found = ops.batch_norm(x, scale, bias, mask=mask, rule=rule)
    for a, b in zip(found, masked_norm(x, scale, bias, mask), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_what_does_not_count_may_be_nan(random):
    x = jnp.asarray(random.normal(size=(4, 3)), jnp.float32).at[3].set(jnp.nan)
    mask = jnp.arange(4)[:, None] < 3
    y, mean, variance = ops.batch_norm(x, jnp.ones(3), jnp.zeros(3), mask=mask)
    expected, *statistics = ops.batch_norm(x[:3], jnp.ones(3), jnp.zeros(3))
    np.testing.assert_allclose(y[:3], expected, rtol=1e-5, atol=1e-6)
    for a, b in zip((mean, variance), statistics, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_nor_has_it_a_part_in_the_gradients_if_it_is_not_read(random):
    x = jnp.asarray(random.normal(size=(5, 3)), jnp.float32)
    mask = jnp.arange(5)[:, None] != 2

    def loss(x, scale, bias):
        return jnp.sum(jnp.sin(jnp.where(mask, ops.batch_norm(x, scale, bias, mask=mask)[0], 0)))

    given = jnp.ones(3), jnp.zeros(3)
    expected = jax.grad(loss, (0, 1, 2))(x, *given)
    found = jax.grad(loss, (0, 1, 2))(jnp.where(mask, x, jnp.nan), *given)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)


@pytest.mark.parametrize("mapping", ["pmap", "shard_map", "shard_map, unchecked"])
@pytest.mark.parametrize("mask", [MASKS["examples"], MASKS["cells"]], ids=["examples", "cells"])
def test_several_devices_have_the_statistics_of_all_cells(random, float64, mask, mapping):
    """Though one device has more cells that count than another, or none."""
    x, scale, bias, error = (random.normal(size=s) for s in ((8, 5, 3), 3, 3, (8, 5, 3)))

    def gradients(x, scale, bias, mask, error, axis_name=None):
        (y, mean, variance), back = jax.vjp(
            lambda *args: ops.batch_norm(*args, mask=mask, axis_name=axis_name), x, scale, bias
        )
        no_error = jnp.zeros_like(mean), jnp.zeros_like(variance)
        return y, mean, variance, *back((error, *no_error))

    expected = gradients(x, scale, bias, mask, error)
    arrays = x, scale, bias, np.broadcast_to(mask, x.shape), error

    def local(x, scale, bias, mask, error):
        found = gradients(x, scale, bias, mask, error, "data")
        if mapping == "shard_map":
            return found  # the parameters' gradients are summed by then
        return *found[:4], *jax.lax.psum(found[4:], "data")

    if mapping == "pmap":
        split = [a.reshape(DEVICES, 2, *a.shape[1:]) if a.ndim == 3 else a for a in arrays]
        found = jax.pmap(local, axis_name="data", in_axes=(0, None, None, 0, 0))(*split)
        found = [a.reshape(8, 5, 3) if i in (0, 3) else a[0] for i, a in enumerate(found)]
    else:
        mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(AxisType.Auto,))
        specs = {"in_specs": (P("data"), P(), P(), P("data"), P("data"))}
        specs["out_specs"] = (P("data"), P(), P(), P("data"), P(), P())
        found = jax.jit(jax.shard_map(local, mesh=mesh, check_vma=mapping == "shard_map", **specs))(*arrays)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mask": np.ones((4, 1))}, TypeError, "`mask` must be boolean; got float"),
        (
            {"mask": np.ones((3, 1), bool)},
            ValueError,
            r"`mask` must broadcast to the shape of `x`, \(4, 3\); got \(3, 1\)\.",
        ),
        ({"mask": np.ones((1, 1, 1), bool)}, ValueError, r"got \(1, 1, 1\)\."),
        (
            {"mask": np.ones((4, 1), bool), "method": "native"},
            ValueError,
            "supports only the hand-written rule in training; got a `mask`",
        ),
    ],
)
def test_masks_that_do_not_fit_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        ops.batch_norm(np.ones((4, 3), np.float32), np.ones(3, np.float32), np.ones(3, np.float32), **options)


def test_given_statistics_make_a_mask_idle(random):
    x, one = jnp.asarray(random.normal(size=(4, 3)), jnp.float32), jnp.ones(3)
    found = ops.batch_norm(x, one, one, mean=one, variance=one, mask=np.zeros((4, 1), bool))
    np.testing.assert_array_equal(found[0], ops.batch_norm(x, one, one, mean=one, variance=one)[0])
