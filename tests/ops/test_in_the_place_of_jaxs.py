"""What people try first: to put our ops in the place of JAX's own functions, for all code that calls these."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import ops

REPLACED = [
    (jax.lax, "conv_general_dilated"),
    (jax.nn, "relu"),
    (jax.nn, "sigmoid"),
    (jax.nn, "softmax"),
    (jax.nn, "leaky_relu"),
    (jnp, "tanh"),
]


@pytest.fixture
def replaced(monkeypatch):
    for module, name in REPLACED:
        monkeypatch.setattr(module, name, getattr(ops, name))


def test_a_replaced_convolution_is_ours_and_ends(monkeypatch, random):
    x, w = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((2, 3, 6, 6), (4, 3, 3, 3)))

    def loss(w):
        return jnp.sum(jax.lax.conv_general_dilated(x, w, (1, 1), "SAME") ** 2)

    expected = jax.value_and_grad(loss)(w)
    monkeypatch.setattr(jax.lax, "conv_general_dilated", ops.conv_general_dilated)
    assert "custom_vjp" in str(jax.make_jaxpr(loss)(w))
    for found, value in zip(jax.value_and_grad(loss)(w), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4)


def test_autodiff_is_jaxs_own_in_any_place(replaced, random):
    x = jnp.asarray(random.normal(size=5), jnp.float32)
    for name in ("relu", "sigmoid", "softmax", "tanh", "scaled_tanh", "leaky_relu"):
        jax.jvp(lambda x, name=name: getattr(ops, name)(x, rule="autodiff"), (x,), (x,))  # only JAX's own know this


def test_ours_still_have_their_own_rules(replaced, random):
    x = jnp.asarray(random.normal(size=(1, 6, 6, 2)), jnp.float32)
    for name in ("relu", "sigmoid", "softmax", "tanh", "scaled_tanh", "leaky_relu"):
        value, back = jax.vjp(getattr(ops, name), x)
        assert value.shape == back(value)[0].shape == x.shape
