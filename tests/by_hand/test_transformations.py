"""`by_hand` under, and round, every transformation of JAX: the value and the gradient are the function's own."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxcnn

# every operation that is known is replaced, whatever is faster here
by_hand = partial(jaxcnn.by_hand, rule="hand")

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(4, 3, 10, 9))
KERNEL = RANDOM.normal(size=(3, 3, 3, 3)) / 5


def convolve(x, w, strides=(1, 1)):
    return lax.conv_general_dilated(x, w, strides, "SAME")


def pool(x):
    window = (1,) * (x.ndim - 2) + (2, 2)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


def layer(x, w):
    return jax.nn.relu(convolve(x, w))


def plain(x, w):
    return pool(layer(x, w))


def in_scan(x, w):
    return pool(lax.scan(lambda x, w: (layer(x, w), x.sum()), x, jnp.stack([w, 2 * w, w]))[0])


def in_scan_of_scans(x, w):
    return lax.scan(lambda x, _: (lax.scan(lambda x, w: (layer(x, w), None), x, w[None])[0], None), x, None, 2)[0]


def in_a_loop(x, w):  # of a known length, so that JAX differentiates it
    return lax.fori_loop(0, 3, lambda _, x: layer(x, w), x)


def in_cond(x, w):
    return lax.cond(x.sum() > 0, lambda x: pool(layer(x, w)), lambda x: 2 * pool(convolve(x, w)), x)


def in_switch(x, w):
    return lax.switch(1, [lambda x: x, lambda x: layer(x, w), lambda x: 3 * x], x)


def in_jit(x, w):
    return jax.jit(plain)(x, w) + jax.jit(plain)(2 * x, w)


def in_remat(x, w):
    return jax.checkpoint(plain)(x, w)


def in_remat_with_a_policy(x, w):
    def named(x, w):
        return pool(checkpoint_name(layer(x, w), "maps"))

    return jax.checkpoint(named, policy=jax.checkpoint_policies.save_only_these_names("maps"))(x, w)


def in_vmap(x, w):
    return jax.vmap(lambda x: plain(x[None], w)[0])(x)


def in_vmap_over_kernels(x, w):
    return jax.vmap(plain, (None, 0))(x, jnp.stack([w, 2 * w]))


def in_vmap_without_a_batch_axis(x, w):  # as Equinox writes it
    return jax.vmap(lambda x: pool(layer(x[None], w)[0]))(x)


@jax.custom_jvp
def doubled(x, w):
    return 2 * layer(x, w)


@doubled.defjvp
def _(primals, tangents):
    return doubled(*primals), 5 * tangents[0]  # a rule of somebody: it stays


@jax.custom_vjp
def tripled(x, w):
    return 3 * layer(x, w)


tripled.defvjp(lambda x, w: (tripled(x, w), w), lambda w, error: (7 * error, w))


FUNCTIONS = [
    plain,
    in_scan,
    in_scan_of_scans,
    in_a_loop,
    in_cond,
    in_switch,
    in_jit,
    in_remat,
    in_remat_with_a_policy,
    in_vmap,
    in_vmap_over_kernels,
    in_vmap_without_a_batch_axis,
    doubled,
    tripled,
]


def both(function, wrap=lambda f: f, arguments=None):
    """Value and gradients of the sum of sines: stock, and by hand."""
    arguments = (jnp.asarray(IMAGES), jnp.asarray(KERNEL)) if arguments is None else arguments

    def found(function):
        def loss(x, w):
            return jnp.sum(jnp.sin(wrap(function)(x, w)))

        return jax.jit(jax.value_and_grad(loss, (0, 1)))(*arguments)

    return found(by_hand(function)), found(function)


def assert_same(found, expected, tolerance=1e-10):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), found, expected)


def replaced(function, *arguments):
    return [one.op for one in jaxcnn.by_hand.report(by_hand(function), *arguments).replacements if one.replaced]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: getattr(function, "__name__", str(function)))
def test_value_and_gradient_are_stocks(float64, function):
    assert_same(*both(function))
    assert "conv" in replaced(function, IMAGES, KERNEL)


@pytest.mark.parametrize("function", [plain, in_scan, in_remat_with_a_policy], ids=lambda function: function.__name__)
@pytest.mark.parametrize(
    "wrap",
    [
        jax.jit,
        jax.checkpoint,
        lambda f: jax.vmap(lambda x, w: f(x[None], w)[0], (0, None)),
        by_hand,
        lambda f: jax.jit(by_hand(jax.jit(f))),
    ],
    ids=["jit", "remat", "vmap", "by_hand", "jit of by_hand of jit"],
)
def test_inside_of_a_transformation(float64, function, wrap):
    assert_same(*both(function, wrap))


def test_a_while_loop_of_unknown_length(float64):
    def function(x, w):
        return lax.while_loop(lambda x: jnp.abs(x).sum() > 1e-3, lambda x: 0.1 * layer(x, w), x)

    np.testing.assert_allclose(by_hand(function)(IMAGES, KERNEL), function(IMAGES, KERNEL), rtol=1e-10)
    assert replaced(function, IMAGES, KERNEL) == ["conv", "relu"]


def test_second_derivatives(float64):
    def norm(function):
        def penalty(x, w):
            return jnp.sum(jnp.square(jax.grad(lambda x: jnp.sum(jnp.sin(function(x, w))))(x)))

        return jax.jit(jax.grad(penalty, (0, 1)))(jnp.asarray(IMAGES), jnp.asarray(KERNEL))

    assert_same(norm(by_hand(plain)), norm(plain))


def test_the_gradient_inside_stays_correct(float64):
    """Whoever differentiates inside gets the gradient that JAX has put there, computed as faster convolutions."""

    def step(x, w):
        return w - 0.1 * jax.grad(lambda w: jnp.sum(jnp.sin(plain(x, w))))(w)

    np.testing.assert_allclose(by_hand(step)(IMAGES, KERNEL), step(IMAGES, KERNEL), rtol=1e-9, atol=1e-12)


def mesh(kind):
    return jax.make_mesh((2,), ("data",), axis_types=(kind,), devices=jax.devices()[:2])


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_arrays_on_several_devices(float64, kind):
    with jax.set_mesh(mesh(kind)):
        x = jax.device_put(IMAGES, NamedSharding(mesh(kind), P("data")))
        w = jax.device_put(KERNEL, NamedSharding(mesh(kind), P()))
        found, expected = both(plain, arguments=(x, w))
    assert_same(found, expected)
    assert found[1][0].sharding == expected[1][0].sharding


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("function", [plain, in_scan, in_remat, in_cond], ids=lambda function: function.__name__)
def test_shard_map_inside(float64, function, check_vma):
    def mapped(x, w):
        def shard(x, w):
            return lax.pmean(function(x, w).sum(), "data")

        options = {"mesh": mesh(AxisType.Auto), "in_specs": (P("data"), P()), "out_specs": P(), "check_vma": check_vma}
        return jax.shard_map(shard, **options)(x, w)

    assert_same(*both(mapped))
    assert "conv" in replaced(mapped, IMAGES, KERNEL)


def test_shard_map_outside(float64):
    def mapped(function):
        options = {"mesh": mesh(AxisType.Auto), "in_specs": (P("data"), P()), "out_specs": P()}
        return jax.shard_map(lambda x, w: lax.pmean(function(x, w).sum(), "data"), **options)

    assert_same(*both(plain, mapped))


def test_pmap_inside_and_outside(float64):
    def inside(x, w):
        return jax.pmap(plain, in_axes=(0, None))(x.reshape(2, 2, *x.shape[1:]), w)

    assert_same(*both(inside))
    assert "conv" in replaced(inside, IMAGES, KERNEL)

    def mapped(function):
        return lambda x, w: jax.pmap(function, in_axes=(0, None))(x.reshape(2, 2, *x.shape[1:]), w)

    assert_same(*both(plain, mapped))


def test_a_named_axis_outside(float64):
    def function(x, w):
        return plain(x[None], w)[0] - lax.pmean(x.sum(), "examples")

    assert_same(*both(function, lambda f: jax.vmap(f, (0, None), axis_name="examples")))


def test_what_jax_cannot_differentiate_has_a_gradient_by_hand(float64):
    """A dilated window, of which lax has no gradient."""

    def dilated(x):
        options = {"window_dilation": (1, 1, 2, 2)}
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 1, 1), "VALID", **options)

    with pytest.raises(NotImplementedError):
        jax.grad(lambda x: dilated(x).sum())(IMAGES)
    found = jax.grad(lambda x: by_hand(dilated)(x).sum())(IMAGES)
    assert found.sum() == dilated(IMAGES).size


def test_forward_mode_has_a_way_out(float64):
    tangents = jnp.ones_like(IMAGES), jnp.ones_like(KERNEL)
    with pytest.raises(TypeError, match="reverse mode; for jvp, jacfwd or hessian pass rule='autodiff'"):
        jax.jvp(by_hand(plain), (IMAGES, KERNEL), tangents)
    found = jax.jvp(jaxcnn.by_hand(plain, rule="autodiff"), (IMAGES, KERNEL), tangents)
    assert_same(found, jax.jvp(plain, (IMAGES, KERNEL), tangents))


def deep(layers):
    def function(x, w):
        for _ in range(layers):
            x = layer(x, w)
        return x

    return function


def test_layers_that_are_alike_are_traced_once(monkeypatch):
    calls = []
    own = jaxcnn.ops.conv_general_dilated
    monkeypatch.setattr(jaxcnn.ops, "conv_general_dilated", lambda *a, **k: calls.append(1) or own(*a, **k))
    jaxpr = jax.make_jaxpr(by_hand(deep(50)))(IMAGES.astype(np.float32), KERNEL.astype(np.float32))
    assert len(calls) == 1
    assert str(jaxpr).count("name=conv_by_hand") == 50


def test_explicit_shardings_of_channels(float64):
    both_axes = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    with jax.set_mesh(both_axes):
        x = jax.device_put(np.ones((4, 4, 8, 8)), NamedSharding(both_axes, P("data", "model")))
        assert jax.typeof(by_hand(pool)(x)) == jax.typeof(pool(x))
        x = jax.device_put(np.ones((4, 4, 8, 8)), NamedSharding(both_axes, P("data")))
        w = jax.device_put(np.ones((4, 4, 3, 3)), NamedSharding(both_axes, P("model")))

        def function(x, w):
            return lax.conv_general_dilated(x, w, (1, 1), "SAME", out_sharding=P("data", "model"))

        assert jax.typeof(by_hand(function)(x, w)) == jax.typeof(function(x, w))
