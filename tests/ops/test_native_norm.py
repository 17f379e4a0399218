"""Batch normalization, shortcut and ReLU by the loops that oneDNN's backend brings: as by the rule in JAX."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn import layers, models, ops
from jaxcnn.ops import choices
from jaxcnn.ops.arrays import along_last
from jaxcnn.ops.native import backend

SHAPES = [(4, 5, 6, 3), (7, 16), (3, 5, 7, 17), (2, 3, 4, 5, 128), (2, 131), (1, 4)]  # odd, folded, wide, one example
CASES = ["alone", "with ReLU", "with a shortcut"]


@pytest.fixture(autouse=True)
def _built(built):
    pass


def arguments(random, shape, dtype=jnp.float32):
    """`x`, scale, bias, shortcut and the error of the output."""
    images = lambda: jnp.asarray(2 * random.standard_normal(shape) + 3, dtype)  # noqa: E731
    numbers = lambda: jnp.asarray(random.standard_normal(shape[-1:]), jnp.float32)  # noqa: E731
    return images(), numbers(), numbers(), images() - 3, images()


def normalized(case, method, x, scale, bias, shortcut, **options):
    """The outputs with the statistics."""
    if case == "alone":
        return ops.batch_norm(x, scale, bias, method=method, **options)
    shortcut = shortcut if case == "with a shortcut" else None
    return ops.batch_norm_relu(x, scale, bias, shortcut, method=method, **options)


@functools.partial(jax.jit, static_argnums=(0, 1))
def values_and_gradients(case, method, *args):
    """Everything that comes forth, where all three outputs count."""
    *operands, error = args
    found, back = jax.vjp(functools.partial(normalized, case, method), *operands)
    ramp = jnp.arange(1, found[1].size + 1, dtype=jnp.float32)
    return found, back((error, ramp, 1 / ramp))


def assert_close(found, expected, tolerance=2e-5):
    """Each array to a share of its largest entry."""
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        largest = max(1.0, float(jnp.max(jnp.abs(b.astype(jnp.float32)))))
        np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32), rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_equals_the_rule_in_jax(random, case, shape):
    args = arguments(random, shape)
    assert_close(values_and_gradients(case, "native", *args), values_and_gradients(case, "jax", *args))


def test_many_lines(random):
    """Parts that are summed by themselves come together."""
    args = arguments(random, (300, 7, 11, 24))
    assert_close(values_and_gradients("with ReLU", "native", *args), values_and_gradients("with ReLU", "jax", *args))


@pytest.mark.parametrize("case", CASES[:2])  # a shortcut is rounded before it is added in JAX, and ReLUs open otherwise
def test_halves(random, case):
    args = arguments(random, (5, 6, 7, 12), jnp.bfloat16)
    found, expected = (values_and_gradients(case, method, *args) for method in ("native", "jax"))
    assert_close(found, expected, 1e-2)


def test_a_shortcut_in_halves_is_rounded_once(random):
    x, scale, bias, shortcut, _ = arguments(random, (5, 6, 7, 12), jnp.bfloat16)
    y, *given = ops.batch_norm_relu(x, scale, bias, shortcut, method="native")
    mean, variance, scale, bias = (along_last(numbers, x) for numbers in (*given, scale, bias))
    wide = (x.astype(jnp.float32) - mean) * (scale / jnp.sqrt(variance + 1e-5)) + bias + shortcut.astype(jnp.float32)
    np.testing.assert_allclose(y.astype(jnp.float32), jnp.maximum(wide, 0), rtol=2**-8)


def test_the_mean_far_from_zero_costs_no_digits(random):
    x = (random.standard_normal((4096, 6)) + 1e4).astype(np.float32)
    _, mean, variance = ops.batch_norm(x, jnp.ones(6), jnp.zeros(6), method="native")
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(0), rtol=1e-7)
    np.testing.assert_allclose(variance, x.astype(np.float64).var(0), rtol=1e-4)


def test_what_is_no_number_spoils_its_channel_alone(random):
    x, scale, bias, shortcut, _ = arguments(random, (4, 5, 6, 3))
    x = x.at[1, 2, 3, 0].set(jnp.nan).at[0, 0, 0, 1].set(jnp.inf)
    y = ops.batch_norm_relu(x, scale, bias, shortcut, method="native")[0]
    assert np.isnan(y[..., 0]).all() and np.isnan(y[0, 0, 0, 1]) and np.isfinite(y[..., 2]).all()
    y = ops.batch_norm_relu(shortcut, scale, bias, x, method="native")[0]
    assert np.isnan(y).sum() == 1 and np.isinf(y).sum() == 1


@pytest.mark.parametrize("case", CASES)
def test_second_derivatives(random, case):
    *operands, error = arguments(random, (6, 5))

    def curvature(method):
        def loss(*operands):
            y, mean, variance = normalized(case, method, *operands)
            return jnp.sum(error * jnp.tanh(y)) + jnp.sum(mean * variance)

        slope = jax.grad(loss, (0, 1, 2, 3))
        return jax.jit(jax.grad(lambda *args: sum(jnp.sum(jnp.sin(a)) for a in slope(*args)), (0, 1, 2, 3)))(*operands)

    assert_close(curvature("native"), curvature("jax"), 1e-4)


def test_mapped(random):
    args = jax.tree.map(lambda *parts: jnp.stack(parts), *(arguments(random, (4, 5, 3)) for _ in range(3)))
    found, expected = (
        jax.vmap(functools.partial(values_and_gradients, "with a shortcut", method))(*args)
        for method in ("native", "jax")
    )
    assert_close(found, expected)


@pytest.mark.parametrize("case", CASES)
def test_the_batch_of_all_devices(random, case):
    """Inside `shard_map`, with and without types, statistics and gradients are those of the whole batch."""
    args = arguments(random, (8, 3, 5))
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))

    def gradient(method, axis_name, x, scale, bias, shortcut, error):
        def loss(*operands):
            y, mean, variance = normalized(case, method, *operands, axis_name=axis_name)
            share = 1 if axis_name is None else 1 / 4
            return jnp.sum(error * jnp.tanh(y)) + share * jnp.sum(mean + variance**2)

        return jax.grad(loss, (0, 1, 2, 3))(x, scale, bias, shortcut)

    expected = jax.jit(lambda *args: gradient("jax", None, *args))(*args)
    specs = {"in_specs": (P("data"), P(), P(), P("data"), P("data")), "out_specs": (P("data"), P(), P(), P("data"))}
    for checked in (True, False):

        def local(*args, checked=checked):
            dx, dscale, dbias, dshortcut = gradient("native", "data", *args)
            shares = (dscale, dbias) if checked else jax.lax.psum((dscale, dbias), "data")
            return dx, *shares, dshortcut

        found = jax.jit(jax.shard_map(local, mesh=mesh, check_vma=checked, **specs))(*args)
        assert_close(found, expected)


def test_on_a_mesh_that_the_compiler_divides(random):
    """Each device goes through the whole, and the results are right."""
    args = arguments(random, (8, 3, 4, 5))
    mesh = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    placed = [jax.device_put(a, NamedSharding(mesh, P("data") if a.ndim > 1 else P())) for a in args]
    expected = values_and_gradients("with a shortcut", "jax", *args)
    assert_close(values_and_gradients("with a shortcut", "native", *placed), expected)


def test_a_block_chooses_them(random, monkeypatch):
    """A residual block gets one operation for normalization, shortcut and ReLU; in evaluation none."""
    from flax import nnx

    block = layers.ResidualBlock(8, 8, rngs=nnx.Rngs(0))
    x = jnp.asarray(random.standard_normal((4, 6, 6, 8)), jnp.float32)

    def run(block, x):
        graph, params, rest = nnx.split(block, nnx.Param, ...)

        def loss(params, x):
            model = nnx.merge(graph, params, rest, copy=True)
            y = model(x)
            return jnp.sum(y**2), (y, nnx.state(model, nnx.BatchStat))

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, x)

    expected = jax.jit(run)(block, x)
    monkeypatch.setattr(backend, "active", lambda: True)
    monkeypatch.setattr(choices, "fastest", lambda kind, *_: "native" if kind == choices.NORM else "jax")
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    program = jax.jit(lambda block, x: run(block, x)).lower(block, x)
    assert program.as_text().count(f"@{backend.NORM_NORMALIZE}") == 2
    assert_close(program.compile()(block, x), expected)
    block.eval()
    assert "custom_call" not in jax.jit(lambda block, x: block(x)).lower(block, x).as_text()
    block.train()
    assert "relu = true" in program.as_text()
    in_parts = jax.jit(lambda block, x: run(block, x)).lower(models.with_options(block, fuse=False), x).as_text()
    assert in_parts.count(f"@{backend.NORM_NORMALIZE}") == 2 and "relu = true" not in in_parts


def test_no_channels_are_refused():
    with pytest.raises(ValueError, match=r"`x` must have a last axis, of channels; got shape \(\)\."):
        ops.batch_norm(jnp.float32(1), jnp.float32(1), jnp.float32(0))


def test_what_they_do_not_have_is_refused():
    x, one = jnp.ones((4, 5)), jnp.ones(5)
    training = "`method='native'` supports only the hand-written rule in training; got "
    with pytest.raises(ValueError, match=training + "rule='autodiff'."):
        ops.batch_norm(x, one, one, rule="autodiff", method="native")
    with pytest.raises(ValueError, match=training + "given statistics."):
        ops.batch_norm(x, one, one, mean=one, variance=one, method="native")
    with pytest.raises(ValueError, match="`method='native'` needs float32 or bfloat16, .*; got float16"):
        ops.batch_norm(x.astype(jnp.float16), one, one, method="native")
    with pytest.raises(ValueError, match="`method` must be one of 'auto', 'jax', 'native'; got 'lax'."):
        ops.batch_norm(x, one, one, method="lax")


def test_a_shortcut_that_does_not_fit_is_refused():
    x, one = jnp.ones((4, 5)), jnp.ones(5)
    with pytest.raises(ValueError, match=r"`shortcut` must have the shape of `x`, \(4, 5\); got \(1, 5\)."):
        ops.batch_norm_relu(x, one, one, x[:1])
    with pytest.raises(TypeError, match="`x` and `shortcut` must have the same dtype; got float32 and bfloat16."):
        ops.batch_norm_relu(x, one, one, x.astype(jnp.bfloat16))
