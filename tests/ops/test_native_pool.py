"""Max-pooling by the loops that oneDNN's backend brings: the same values and switches, wherever arrays lie."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn import ops
from jaxcnn.ops import choices, sharding
from jaxcnn.ops.native import backend

WINDOWS = [
    ((3, 9, 8, 5), {"window_shape": 2}),
    ((2, 9, 8, 17), {"window_shape": 3, "strides": 2, "padding": 1}),
    (
        (2, 11, 7, 3),
        {"window_shape": (3, 2), "strides": (1, 3), "padding": ((2, 0), (0, 1)), "window_dilation": (2, 1)},
    ),
    ((2, 13, 4), {"window_shape": 3, "strides": 2, "padding": "SAME", "window_dilation": 2}),
    ((2, 5, 6, 4, 33), {"window_shape": 2, "strides": 2, "padding": ((1, 1),) * 3}),
    ((2, 5, 6, 4), {"window_shape": 1, "strides": 3, "padding": ((3, 3), (0, 3))}),
    ((1, 20, 20, 16), {"window_shape": 5, "strides": 1, "padding": "LECTURE"}),
    # one channel, whose rows are split by the strides
    ((6, 9, 21, 1), {"window_shape": 3, "strides": 1, "padding": "SAME"}),
    ((6, 9, 21, 1), {"window_shape": 3, "strides": 2, "padding": 1}),
    (
        (6, 8, 20, 1),
        {"window_shape": (2, 4), "strides": (1, 3), "padding": ((0, 1), (3, 2)), "window_dilation": (1, 2)},
    ),
    ((6, 37, 1), {"window_shape": 3, "strides": 5, "padding": ((4, 0),)}),
    ((2, 5, 6, 9, 1), {"window_shape": 2, "strides": 2}),
]


def value_and_gradient(method, x, **options):
    def run(x):
        y, back = jax.vjp(lambda x: ops.max_pool(x, method=method, **options), x)
        error = jnp.cos(jnp.arange(y.size)).reshape(y.shape).astype(y.dtype)
        return y, back(sharding.varying_like(error, y))[0]

    return jax.jit(run)(x)


def assert_equal(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-6, atol=1e-6)


def rough(random, shape):
    """Ties everywhere, NaNs, and windows of -inf alone."""
    x = random.integers(-3, 4, shape).astype(np.float32)
    x.flat[::97], x.flat[5::31], x[0] = np.nan, -np.inf, np.where(random.random(shape[1:]) < 0.9, -np.inf, x[0])
    return x


@pytest.mark.parametrize(("shape", "options"), WINDOWS, ids=str)
def test_equals_the_rule_in_jax(built, random, shape, options):
    x = rough(random, shape)
    assert_equal(value_and_gradient("native", x, **options), value_and_gradient("jax", x, **options))


def test_divided_among_threads(built, random):
    x = rough(random, (5, 60, 44, 16))
    assert_equal(
        value_and_gradient("native", x, window_shape=3, strides=2),
        value_and_gradient("jax", x, window_shape=3, strides=2),
    )


@pytest.mark.parametrize(("shape", "options"), WINDOWS, ids=str)
def test_halves(built, random, shape, options):
    x = jnp.asarray(rough(random, shape), jnp.bfloat16)
    found = value_and_gradient("native", x, **options)
    assert [a.dtype for a in found] == [jnp.bfloat16] * 2
    values, sums = value_and_gradient("jax", x.astype(jnp.float32), **options)  # whose errors are not rounded first
    np.testing.assert_array_equal(found[0].astype(jnp.float32), values)
    np.testing.assert_allclose(found[1].astype(jnp.float32), sums, rtol=2**-7, atol=2**-6)


@pytest.mark.parametrize(("shape", "options"), WINDOWS[1:5:3], ids=str)
def test_mapped(built, random, shape, options):
    x = np.stack([rough(random, shape), rough(random, shape)], 1)

    def run(method):
        def one(x):
            y, back = jax.vjp(lambda x: ops.max_pool(x, method=method, **options), x)
            return y, back(jnp.ones_like(y))[0], jax.vmap(back)(jnp.stack([y, 2 * y]))[0]

        return jax.jit(jax.vmap(one, 1))(x)

    for found, expected in zip(run("native"), run("jax"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_second_derivatives(built, random):
    x = random.standard_normal((2, 6, 7, 3), np.float32)

    def curvature(method):
        pooled = lambda x: ops.max_pool(x, 3, strides=2, padding=1, method=method)  # noqa: E731
        slope = jax.grad(lambda x: jnp.sum(pooled(x) ** 3))
        return jax.jit(jax.grad(lambda x: jnp.sum(slope(x) ** 2)))(x)

    np.testing.assert_allclose(curvature("native"), curvature("jax"), rtol=1e-5)


def test_second_derivatives_of_a_stage(built, random):
    x = random.standard_normal((2, 6, 7, 3), np.float32)

    def curvature(method):
        pooled = lambda x: ops.relu_max_pool(x, 2, method=method)  # noqa: E731
        slope = jax.grad(lambda x: jnp.sum(pooled(x) ** 3))
        return jax.jit(jax.grad(lambda x: jnp.sum(slope(x) ** 2)))(x)

    np.testing.assert_allclose(curvature("native"), curvature("jax"), rtol=1e-5)


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        *itertools.product(
            [P("data"), P("data", None, None, "model"), P(("data", "model"))], [AxisType.Auto, AxisType.Explicit]
        ),
        (P(None, "data"), AxisType.Auto),
    ],
    ids=str,
)
def test_spread_over_a_mesh(built, random, spec, kind):
    x = random.standard_normal((4, 8, 6, 4), np.float32)
    options = {"window_shape": 3, "strides": 2, "padding": 1}
    expected = value_and_gradient("jax", x, **options)
    mesh = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "model"), axis_types=(kind,) * 2)

    def run(x):
        y, back = jax.vjp(lambda x: ops.max_pool(x, method="native", **options), x)
        return y, back(jax.sharding.reshard(error, jax.typeof(y).sharding) if kind == AxisType.Explicit else error)[0]

    error = jnp.cos(jnp.arange(expected[0].size)).reshape(expected[0].shape).astype(jnp.float32)
    with jax.set_mesh(mesh):
        found = jax.jit(run)(jax.device_put(x, NamedSharding(mesh, spec)))
    assert_equal(tuple(map(np.asarray, found)), expected)
    if spec[0]:
        assert found[0].sharding.shard_shape(found[0].shape)[0] < 4, "the batch stays spread"


def test_in_shard_map(built, random):
    x = random.standard_normal((4, 8, 6, 4), np.float32)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    share = jax.shard_map(
        lambda x: value_and_gradient("native", x, window_shape=2),
        mesh=mesh,
        in_specs=P("data"),
        out_specs=P("data"),
    )
    one_by_one = [value_and_gradient("jax", part, window_shape=2) for part in np.split(x, 4)]
    assert_equal(share(x), [np.concatenate(parts) for parts in zip(*one_by_one, strict=True)])


def test_a_stage_and_its_rule(built, random, monkeypatch):
    """`auto` takes the loops where they are built and win, for ReLU and pool as one operation too."""
    x = random.standard_normal((2, 8, 6, 4), np.float32)
    run = lambda method: jax.value_and_grad(lambda x: jnp.sum(ops.relu_max_pool(x, 2, method=method) ** 2))(x)  # noqa: E731
    expected = run("jax")
    assert "custom_call" not in jax.jit(lambda: run("auto")).lower().as_text(), "JAXCNN_NATIVE is off in tests"
    monkeypatch.setattr(backend, "active", lambda: True)
    monkeypatch.setattr(choices, "fastest", lambda *_: "native")
    for method in ("auto", "native"):
        assert backend.MAX_ROUTE in jax.jit(lambda method=method: run(method)).lower().as_text()
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), run(method), expected)
    for dtype, there in ((jnp.bfloat16, True), (jnp.float16, False)):
        narrow = jax.jit(lambda x: ops.max_pool(x, 2)).lower(jnp.asarray(x, dtype))
        assert (backend.MAX_POOL in narrow.as_text()) == there


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.ones((1, 4, 4, 1), np.float32), {"rule": "autodiff"}, "only the hand-written rule; got rule='autodiff'"),
        (np.ones((1, 4, 4, 1), np.float16), {}, r"needs float32 or bfloat16, .*; got f(loat)?16\[1,4,4,1\] and Window"),
        (np.ones((1, 20, 20, 1), np.float32), {"window_shape": 16}, "up to 253 taps"),
        (np.ones((0, 4, 4, 1), np.float32), {}, "inputs and outputs that are not empty"),
    ],
    ids=["rule", "dtype", "taps", "empty"],
)
def test_what_it_does_not_know_is_refused(x, options, message):
    with pytest.raises(ValueError, match=message):
        ops.max_pool(x, **{"window_shape": 2, **options}, method="native")
