"""Batch norm by given statistics: the gradients of all five arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import ops

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
