"""The digits of normalization where the mean is far from zero, and the gradients of given statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxcnn import ops

ONES, ZEROS = jnp.ones(4), jnp.zeros(4)
# how far mean, variance and outputs may be, relative to the deviation: float32 has 24 bits, of which the mean takes
# 10; float16's outputs have 11 bits; bfloat16's variance is computed in one pass
ROUNDING = {"float32": (1e-3, 1e-4, 1e-3), "float16": (1e-3, 1e-4, 3e-3), "bfloat16": (1e-3, 2e-2, 2e-2)}
KINDS = pytest.mark.parametrize("dtype", ROUNDING)


def far(random, mean, dtype):
    """Unit noise round a mean; and the mean, the variance and the normalized values of what is left of it, exactly."""
    x = jnp.asarray(mean + random.standard_normal((64, 16, 16, 4)), dtype)
    exact = np.asarray(x.astype(jnp.float32)).astype(np.float64)
    means, variances = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
    return x, (means, variances, (exact - means) / np.sqrt(variances + 1e-5))


def assert_exact(found, expected, dtype):
    y, mean, variance = found
    means, variances, outputs = expected
    of_mean, of_variance, of_outputs = ROUNDING[dtype]
    assert y.dtype == dtype and mean.dtype == variance.dtype == jnp.float32
    np.testing.assert_allclose(mean, means, rtol=0, atol=of_mean * np.sqrt(variances.max()))
    np.testing.assert_allclose(variance, variances, rtol=of_variance)
    np.testing.assert_allclose(np.asarray(y.astype(jnp.float32)), outputs, rtol=of_outputs, atol=of_outputs)


@KINDS
@pytest.mark.parametrize("rule", ["hand", "autodiff"])
@pytest.mark.parametrize("mean", [0.0, 200.0, 1500.0])
def test_a_mean_far_from_zero_costs_no_digits(random, dtype, rule, mean):
    x, expected = far(random, mean, dtype)
    assert_exact(jax.jit(lambda x: ops.batch_norm(x, ONES, ZEROS, rule=rule))(x), expected, dtype)


@KINDS
def test_nor_with_the_shortcut_and_relu_behind(random, dtype):
    x, (means, variances, outputs) = far(random, 1500.0, dtype)
    found = jax.jit(lambda x: ops.batch_norm_relu(x, ONES, ZEROS, jnp.zeros_like(x)))(x)
    assert_exact(found, (means, variances, np.maximum(outputs, 0)), dtype)


@KINDS
def test_nor_with_given_statistics(random, dtype):
    x, expected = far(random, 1500.0, dtype)
    means, variances = (jnp.asarray(a, jnp.float32) for a in expected[:2])
    found = jax.jit(lambda x: ops.batch_norm(x, ONES, ZEROS, mean=means, variance=variances))(x)
    assert_exact(found, expected, dtype)


@KINDS
def test_nor_on_several_devices(random, dtype):
    x, expected = far(random, 1500.0, dtype)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    spread = jax.shard_map(
        lambda x: ops.batch_norm(x, ONES, ZEROS, axis_name="data"),
        mesh=mesh,
        in_specs=P("data"),
        out_specs=(P("data"), P(), P()),
    )
    assert_exact(jax.jit(spread)(x), expected, dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nor_in_the_backend(random, dtype, built):
    x, expected = far(random, 1500.0, dtype)
    assert_exact(jax.jit(lambda x: ops.batch_norm(x, ONES, ZEROS, method="native"))(x), expected, dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_its_gradient_in_halves_is_that_in_float32(random, dtype):
    x, _ = far(random, 1500.0, dtype)
    error = jnp.asarray(random.standard_normal(x.shape), dtype)

    def gradients(x):
        def loss(x, scale, bias):
            y, _, variance = ops.batch_norm(x, scale, bias)
            return jnp.sum(error.astype(jnp.float32) * y.astype(jnp.float32)) + jnp.sum(variance)

        return jax.grad(loss, (0, 1, 2))(x, ONES, ZEROS)

    for found, expected in zip(jax.jit(gradients)(x), jax.jit(gradients)(x.astype(jnp.float32)), strict=True):
        largest = float(jnp.max(jnp.abs(expected)))
        np.testing.assert_allclose(found.astype(jnp.float32), expected, rtol=0, atol=2e-2 * largest)


@KINDS
def test_local_responses_of_large_values(random, dtype):
    x = jnp.asarray(200 * random.standard_normal((3, 5, 6)), dtype)
    exact = np.asarray(x.astype(jnp.float32)).astype(np.float64)
    padded = np.pad(np.square(exact), ((0, 0), (0, 0), (2, 2)))
    energy = sum(padded[..., i : i + 6] for i in range(5))
    y = jax.jit(ops.local_response_norm)(x)
    np.testing.assert_allclose(y.astype(jnp.float32), exact * (2 + 1e-4 * energy) ** -0.75, rtol=ROUNDING[dtype][2])


NAMES = ("x", "scale", "bias", "mean", "variance")


def by_hand(x, scale, bias, mean, variance):
    return ops.batch_norm(x, scale, bias, mean=mean, variance=variance)[0]


def places(random):
    x = random.normal(size=(3, 2, 4))
    return x, *(random.normal(size=4) for _ in range(3)), random.random(4) + 0.5


@pytest.mark.parametrize("at", range(5), ids=NAMES)
def test_each_gradient_is_the_slope_of_the_value(float64, random, at):
    """By differences of the value alone: no other rule takes part."""
    arrays, error = places(random), random.normal(size=(3, 2, 4))
    gradient = jax.vjp(by_hand, *map(jnp.asarray, arrays))[1](jnp.asarray(error))[at]
    step, slopes = 1e-6, np.zeros(arrays[at].shape)
    for place in np.ndindex(arrays[at].shape):
        values = []
        for sign in (1, -1):
            moved = [array.copy() for array in arrays]
            moved[at][place] += sign * step
            values.append(np.sum(error * np.asarray(by_hand(*moved))))
        slopes[place] = (values[0] - values[1]) / (2 * step)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-8)
