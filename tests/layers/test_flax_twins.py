"""Networks of somebody else's, with their own Flax layers, trained through the hand-written rule."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxcnn import ops

STEPS = 20


class Linen(nn.Module):
    """Strides, groups, dilation, a transposed kernel's worth of options, as a user of Linen would write them."""

    convolution: object = None

    @nn.compact
    def __call__(self, x):
        options = {} if self.convolution is None else {"conv_general_dilated": self.convolution}
        x = nn.relu(nn.Conv(8, (3, 3), strides=2, **options)(x))
        x = nn.relu(nn.Conv(8, (3, 2), feature_group_count=2, padding=((1, 0), (0, 1)), **options)(x))
        x = nn.relu(nn.Conv(8, (3, 3), kernel_dilation=2, padding="VALID", **options)(x))
        return nn.Dense(5)(x.mean((1, 2)))


class Nnx(nnx.Module):
    """The same in NNX."""

    def __init__(self, rngs, **options):
        self.first = nnx.Conv(2, 8, (3, 3), strides=2, rngs=rngs, **options)
        self.second = nnx.Conv(8, 8, (3, 2), feature_group_count=2, padding=((1, 0), (0, 1)), rngs=rngs, **options)
        self.third = nnx.Conv(8, 8, (3, 3), kernel_dilation=2, padding="VALID", rngs=rngs, **options)
        self.head = nnx.Linear(8, 5, rngs=rngs)

    def __call__(self, x):
        for layer in (self.first, self.second, self.third):
            x = nnx.relu(layer(x))
        return self.head(x.mean((1, 2)))


@pytest.fixture
def batch(random):
    return random.normal(size=(16, 12, 12, 2)).astype(np.float32), random.integers(0, 5, 16).astype(np.int32)


def trained(params, logits_of, batch):
    """Parameters after some steps of SGD with momentum, and the losses on the way."""
    images, labels = batch
    optimizer = optax.sgd(0.1, momentum=0.9)

    def loss_of(params):
        return optax.softmax_cross_entropy_with_integer_labels(logits_of(params, images), labels).mean()

    @jax.jit
    def step(params, state):
        loss, gradient = jax.value_and_grad(loss_of)(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, loss

    state, losses = optimizer.init(params), []
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(STEPS):
            params, state, loss = step(params, state)
            losses.append(float(loss))
    return params, losses


def assert_same_training(ours, stock):
    (params, losses), (expected, their_losses) = ours, stock
    assert losses[-1] < 0.7 * losses[0]
    np.testing.assert_allclose(losses, their_losses, rtol=1e-4)
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
        found = dict(jax.tree_util.tree_leaves_with_path(params))[path]
        np.testing.assert_allclose(found, leaf, rtol=1e-3, atol=2e-5, err_msg=jax.tree_util.keystr(path))


def test_linen_trains_to_the_same_parameters(batch):
    stock, ours = Linen(), Linen(ops.conv_general_dilated)
    params = stock.init(jax.random.key(0), batch[0])
    assert "custom_vjp" in str(jax.make_jaxpr(ours.apply)(params, batch[0]))
    assert_same_training(trained(params, ours.apply, batch), trained(params, stock.apply, batch))


def test_nnx_trains_to_the_same_parameters(batch):
    def run(**options):
        graph, params = nnx.split(Nnx(nnx.Rngs(0), **options))
        return trained(params, lambda params, x: nnx.merge(graph, params)(x), batch)

    assert_same_training(run(conv_general_dilated=ops.conv_general_dilated), run())


def test_linen_s_transposed_layers_and_half_precision_pass(batch):
    """dtypes and promotions that Flax itself does reach the rule unharmed."""
    images = jnp.asarray(batch[0])
    for dtype in (jnp.bfloat16, jnp.float16):
        layer = nn.Conv(4, (3, 3), dtype=dtype, conv_general_dilated=ops.conv_general_dilated)
        params = layer.init(jax.random.key(0), images)
        gradient = jax.grad(lambda p, layer=layer: layer.apply(p, images).astype(jnp.float32).sum())(params)
        assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype(jnp.float32)}
        assert layer.apply(params, images).dtype == dtype
