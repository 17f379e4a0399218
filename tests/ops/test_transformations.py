"""Every rule under JAX's transformations and on several devices gives the plain gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn import ops


def stage(rule, method="auto"):
    def loss(w, x, labels):
        y = ops.relu(ops.conv(x, w, padding=1, strides=2, rule=rule, method=method), rule=rule)
        y = ops.tanh(
            ops.avg_pool(ops.max_pool(y, 2, strides=1, rule=rule), 2, strides=1, padding=1, rule=rule), rule=rule
        )
        losses = ops.softmax_cross_entropy(y.sum((1, 2)), labels, label_smoothing=0.1, rule=rule)
        return losses.mean()

    return loss


@pytest.fixture
def problem(random):
    w = jnp.asarray(random.normal(size=(3, 3, 2, 4)), jnp.float32)
    x = jnp.asarray(random.normal(size=(8, 7, 7, 2)), jnp.float32)
    return w, x, jnp.arange(8) % 4


@pytest.fixture
def expected(problem):
    return jax.grad(stage("autodiff"), argnums=(0, 1))(*problem)


def assert_same(found, expected, rtol=1e-4, atol=1e-6):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("method", ["lax", "im2col", "loops"])
def test_plain_jit_remat_and_scan(problem, expected, method):
    w, x, labels = problem
    gradient = jax.grad(stage("hand", method), argnums=(0, 1))
    assert_same(jax.jit(gradient)(*problem), expected)
    assert_same(jax.jit(jax.grad(jax.checkpoint(stage("hand", method)), argnums=(0, 1)))(*problem), expected)

    def body(total, _):
        return total + gradient(w, x, labels)[0], None

    total, _ = jax.jit(lambda: jax.lax.scan(body, jnp.zeros_like(w), None, length=2))()
    np.testing.assert_allclose(total, 2 * expected[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["lax", "im2col", "loops"])
def test_vmap_over_each_argument(float64, problem, method):
    w, x, labels = problem
    w, x = w.astype(jnp.float64), x.astype(jnp.float64)
    images, classes = x[:, None], labels[:, None]
    kernels = jnp.stack([w, 2 * w])
    for rule_gradient in (jax.grad(stage("hand", method), argnums=(0, 1)),):
        plain = jax.grad(stage("autodiff"), argnums=(0, 1))
        per_example = jax.jit(jax.vmap(rule_gradient, (None, 0, 0)))(w, images, classes)
        assert_same(per_example, jax.vmap(plain, (None, 0, 0))(w, images, classes), 1e-10, 1e-12)
        per_kernel = jax.jit(jax.vmap(rule_gradient, (0, None, None)))(kernels, x, labels)
        assert_same(per_kernel, jax.vmap(plain, (0, None, None))(kernels, x, labels), 1e-10, 1e-12)
        both = jax.vmap(jax.vmap(rule_gradient, (None, 0, 0)), (0, None, None))
        nested = jax.vmap(jax.vmap(plain, (None, 0, 0)), (0, None, None))
        assert_same(jax.jit(both)(kernels, images, classes), nested(kernels, images, classes), 1e-10, 1e-12)


@pytest.mark.parametrize("method", ["lax", "im2col", "loops"])
@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map(problem, expected, check_vma, method):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    batch = P("data")

    def local(w, x, labels):
        dw, dx = jax.grad(stage("hand", method), argnums=(0, 1))(w, x, labels)
        # w is the same everywhere: with check_vma its cotangent is summed by the rules themselves
        return (dw if check_vma else jax.lax.psum(dw, "data")) / 4, dx / 4

    sharded = jax.shard_map(local, mesh=mesh, in_specs=(P(), batch, batch), out_specs=(P(), batch), check_vma=check_vma)
    assert_same(jax.jit(sharded)(*problem), expected)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_sharded_arrays(problem, expected, axis_type):
    w, x, labels = problem
    mesh = jax.make_mesh((4,), ("data",), axis_types=(axis_type,))
    with jax.set_mesh(mesh):
        w = jax.device_put(w, NamedSharding(mesh, P()))
        x, labels = (jax.device_put(a, NamedSharding(mesh, P("data"))) for a in (x, labels))
        found = jax.jit(jax.grad(stage("hand"), argnums=(0, 1)))(w, x, labels)
        assert_same(found, expected)
        if axis_type == AxisType.Explicit:
            assert found[0].sharding.is_fully_replicated
            assert jax.typeof(found[1]).sharding.spec[0] == "data"


def test_nothing_leaks_and_nothing_is_nan(problem, expected):
    with jax.checking_leaks(), jax.debug_nans(True):
        assert_same(jax.jit(jax.grad(stage("hand"), argnums=(0, 1)))(*problem), expected)
