"""Losses of regression: against PyTorch, at the bound, and what they refuse. `jaxcnn check` proves their rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import ops


@pytest.mark.parametrize("delta", [0.25, 1.0, 3.0])
def test_hubers_loss_is_pytorchs(random, delta):
    torch = pytest.importorskip("torch")
    predictions, targets = 4 * random.normal(size=(2, 5, 3)).astype(np.float32)
    y = torch.tensor(predictions, requires_grad=True)
    expected = torch.nn.functional.huber_loss(y, torch.tensor(targets), delta=delta, reduction="none")
    expected.sum().backward()
    np.testing.assert_allclose(ops.huber_loss(predictions, targets, delta=delta), expected.detach(), rtol=1e-6)
    slope = jax.grad(lambda y: ops.huber_loss(y, targets, delta=delta).sum())(jnp.asarray(predictions))
    np.testing.assert_allclose(slope, y.grad, rtol=1e-6)


def test_hubers_loss_has_one_value_and_one_slope_at_the_bound():
    y = jnp.array([1.0, -1.0, jnp.inf, jnp.nan])
    losses, pull = jax.vjp(lambda y: ops.huber_loss(y, jnp.zeros(4)), y)
    np.testing.assert_array_equal(losses, [0.5, 0.5, np.inf, np.nan])
    np.testing.assert_array_equal(pull(jnp.ones(4))[0], [1, -1, 1, np.nan])


def test_half_the_squared_error_is_half_of_k_times_its_mean(random):
    predictions, targets = random.normal(size=(2, 4, 5)).astype(np.float32)
    half, mean = ops.half_squared_error(predictions, targets), ops.mean_squared_error(predictions, targets)
    np.testing.assert_allclose(half, 5 / 2 * mean, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_halves_are_computed_in_float32(dtype):
    y, t = jnp.full((1, 2), 300, dtype), jnp.zeros((1, 2), dtype)
    assert ops.huber_loss(y, t).dtype == ops.half_squared_error(y, t).dtype == dtype
    assert float(ops.half_squared_error(y / 4, t)[0]) == pytest.approx(5625, rel=1e-2)


@pytest.mark.parametrize("loss", [ops.huber_loss, ops.half_squared_error])
def test_other_shapes_and_dtypes_are_refused(loss):
    with pytest.raises(ValueError, match=r"must have one shape; got \(2, 3\) and \(3,\)."):
        loss(jnp.zeros((2, 3)), jnp.zeros(3))
    with pytest.raises(TypeError):
        loss(jnp.zeros((2, 3)), jnp.zeros((2, 3), int))
    with pytest.raises(ValueError, match="`delta` must be positive and finite; got 0."):
        ops.huber_loss(jnp.zeros(2), jnp.zeros(2), delta=0)
    with pytest.raises(ValueError, match="must have a last axis"):
        ops.half_squared_error(jnp.zeros(()), jnp.zeros(()))
