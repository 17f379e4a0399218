"""The oneDNN backend: proofs, values and gradients against XLA, transformations, devices, refusals, its build."""

import itertools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn import check, ops
from jaxcnn.ops.cases.native import native_cases
from jaxcnn.ops.native import backend


def arrays(random, sizes, kernel, channels=4, outputs=6, groups=1, batch=3, dtype=np.float32):
    x = random.normal(size=(batch, *sizes, channels)).astype(dtype)
    w = random.normal(size=(*(kernel,) * len(sizes), channels // groups, outputs)).astype(dtype)
    return jnp.asarray(x), jnp.asarray(w)


def value_and_gradients(method, x, w, **options):
    def run(x, w):
        y, back = jax.vjp(lambda x, w: ops.conv(x, w, method=method, **options), x, w)
        return y, *back(jnp.cos(jnp.arange(y.size)).reshape(y.shape).astype(y.dtype))

    return jax.jit(run)(x, w)


def assert_as_lax(x, w, **options):
    found, expected = (value_and_gradients(method, x, w, **options) for method in ("native", "lax"))
    for name, a, b in zip(("output", "input gradient", "kernel gradient"), found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5, err_msg=name)


def test_the_kit_proves_it(built):
    plain, grouped, pool = native_cases()
    check.assert_vjp(plain.function, *plain.args, **plain.options)
    check.assert_vjp(pool.function, *pool.args, **pool.options)
    check.assert_vjp(
        grouped.function, *grouped.args, **grouped.options | {"kinds": ("reference", "adjoint", "devices")}
    )


@pytest.mark.parametrize(
    ("sizes", "channels", "groups", "outputs"),
    [((9, 8), 1, 1, 5), ((7, 9), 16, 1, 16), ((8, 7), 32, 2, 32), ((6, 7), 16, 16, 16), ((11,), 3, 1, 8)],
)
@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 3, "strides": 1, "padding": "SAME"},
        {"kernel": 3, "strides": 2, "padding": ((2, 0), (0, 3)), "kernel_dilation": 2},
        {"kernel": 2, "strides": 3, "padding": "LECTURE", "flip_kernel": True},
        {"kernel": 1, "strides": 1, "padding": 0},
    ],
    ids=str,
)
def test_equals_lax(built, random, sizes, channels, groups, outputs, options):
    options = dict(options)
    x, w = arrays(random, sizes, options.pop("kernel"), channels, outputs, groups)
    if not isinstance(options["padding"], str | int):
        options["padding"] = options["padding"][: len(sizes)]
    assert_as_lax(x, w, feature_group_count=groups, **options)


def test_three_axes(built, random):
    x, w = arrays(random, (5, 6, 4), 3)
    assert_as_lax(x, w, strides=(2, 1, 2), padding="SAME")


@pytest.mark.parametrize(("size", "stride"), [(4, 2), (5, 3), (4, 5), (7, 5)])
def test_every_remainder(built, random, size, stride):
    x, w = arrays(random, (size, 4), 3, outputs=16)
    options = {"strides": stride, "padding": ((0, 0), (1, 1))}
    assert_as_lax(x, w, **options)
    y, dx, _ = value_and_gradients("native", x, w, **options)
    reached = (y.shape[1] - 1) * stride + 3
    assert reached < size and not np.any(dx[:, reached:]), "cells that no window reached have gradient zero"


@pytest.mark.parametrize("batch", [8, 7, 1], ids=["in equal shares", "in unequal ones", "one example"])
@pytest.mark.parametrize("channels", [16, 1])
def test_divided_among_threads(built, random, batch, channels):
    """Large enough to be; kernel gradients are then sums of those of the shares."""
    x, w = arrays(random, (40, 36), 3, channels=channels, outputs=32, batch=batch)
    for a, b in zip(value_and_gradients("native", x, w), value_and_gradients("lax", x, w), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.max(np.abs(b)))


def test_second_derivatives_equal_those_of_lax(built, random):
    x, w = arrays(random, (5, 4), 2, groups=2)

    def curvature(method):
        def penalty(x, w):
            conv = lambda x, w: ops.conv(x, w, method=method, strides=2, feature_group_count=2, flip_kernel=True)  # noqa: E731
            dx, dw = jax.grad(lambda x, w: jnp.sum(jnp.tanh(conv(x, w))), argnums=(0, 1))(x, w)
            return jnp.sum(dx**2) + jnp.sum(dw**3)

        return jax.jit(jax.grad(penalty, argnums=(0, 1)))(x, w)

    for found, expected in zip(curvature("native"), curvature("lax"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_in_a_stage(built, random):
    x, w = arrays(random, (7, 6), 3)
    b = jnp.asarray(random.normal(size=6), jnp.float32)

    def run(method):
        stage = lambda *args: jnp.sum(jnp.tanh(ops.conv_relu_pool(*args, method=method)))  # noqa: E731
        return jax.jit(jax.value_and_grad(stage, (0, 1, 2)))(x, w, b)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), run("native"), run("lax"))


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("preferred", [None, jnp.float32])
def test_bfloat16(built, random, monkeypatch, preferred, native):
    monkeypatch.setattr(backend, "multiplies_bfloat16", lambda: native)
    x, w = arrays(random, (7, 6), 3, channels=32, outputs=16)
    half = [jnp.asarray(a, jnp.bfloat16) for a in (x, w)]
    try:
        found = value_and_gradients("native", *half, preferred_element_type=preferred)
    except ValueError as refused:
        assert native
        pytest.skip(str(refused))
    assert [a.dtype for a in found] == [preferred or jnp.bfloat16, jnp.bfloat16, jnp.bfloat16]
    expected = value_and_gradients("lax", *(a.astype(jnp.float32) for a in half))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.astype(np.float32), b, rtol=2e-2, atol=1e-2 * float(jnp.abs(b).max()))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, None), (None, 2)], ids=str)
def test_mapped_over_either_argument(built, random, axes, groups):
    x, w = arrays(random, (5, 4), 2, groups=groups)
    x, w = (a if axis is None else jnp.stack([a, 2 * a, 1 - a], axis) for a, axis in zip((x, w), axes, strict=True))

    def run(method):
        conv = lambda x, w: ops.conv(x, w, method=method, strides=2, feature_group_count=groups)  # noqa: E731
        every = jax.vmap(lambda x, w: jax.vjp(conv, x, w)[1](conv(x, w)), axes)
        return jax.jit(lambda x, w: (jax.vmap(conv, axes)(x, w), *every(x, w)))(x, w)

    for found, expected in zip(run("native"), run("lax"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("x_spec", "w_spec", "groups", "gathers"),
    [
        (P("data"), P(), 1, 0),
        (P("data"), P(), 2, 0),
        (P("data"), P(None, None, None, "model"), 1, 0),
        (P("data", None, None, "model"), P(None, None, "model"), 1, 0),
        (P("data", None, None, "model"), P(None, None, "model"), 2, 1),
        (P(("data", "model")), P(), 1, 0),
        (P("data", "model"), P(), 1, 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_sharded_over_a_mesh(built, random, kind, x_spec, w_spec, groups, gathers):
    x, w = arrays(random, (6, 5), 3, groups=groups, batch=4)
    expected = value_and_gradients("lax", x, w, feature_group_count=groups)
    mesh = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "model"), axis_types=(kind,) * 2)

    def run(x, w):
        y, back = jax.vjp(lambda x, w: ops.conv(x, w, method="native", feature_group_count=groups), x, w)
        return y, *back(expected[0])

    with jax.set_mesh(mesh):
        placed = jax.device_put(x, NamedSharding(mesh, x_spec)), jax.device_put(w, NamedSharding(mesh, w_spec))
        compiled = jax.jit(run).lower(*placed).compile()
        found = compiled(*placed)
    assert ("all-gather" in compiled.as_text()) == bool(gathers)
    assert found[0].sharding.shard_shape(found[0].shape)[0] < 4, "the batch stays spread"
    back = jax.jit(lambda x, w: jax.vjp(lambda x, w: ops.conv(x, w, feature_group_count=groups), x, w)[1](expected[0]))
    for a, b in zip(found, (expected[0], *back(x, w)), strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-4, atol=1e-4)


def test_a_shard_map_over_a_part_of_the_mesh_is_refused(built, random):
    x, w = arrays(random, (6, 5), 3, batch=4)
    mesh = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    some = jax.shard_map(
        lambda x, w: ops.conv(x, w, method="native"),
        mesh=mesh,
        in_specs=(P("data"), P()),
        out_specs=P("data"),
        axis_names={"data"},
    )
    with pytest.raises(ValueError, match=r"needs a `shard_map` over every axis .*got \('data',\) without \['model'\]"):
        jax.jit(some)(x, w)


def test_many_threads_and_devices_at_once(built, random):
    x, w = arrays(random, (20, 20), 3, channels=16, outputs=32, batch=8)
    expected = value_and_gradients("native", x, w)
    run = jax.jit(jax.grad(lambda x, w: jnp.sum(ops.conv(x, w, method="native")), (0, 1)))
    at = [jax.device_put((x, w), device) for device in jax.devices()]
    wanted = [np.asarray(a) for a in run(x, w)]
    wrong = []

    def repeat(place):
        for _ in range(10):
            found = run(*place)
            wrong.extend(g for g, e in zip(found, wanted, strict=True) if not np.allclose(g, e, rtol=1e-4, atol=1e-3))

    threads = [threading.Thread(target=repeat, args=(place,)) for place in itertools.chain(at, at)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and expected[0].shape == (8, 20, 20, 32)


@pytest.mark.parametrize("shape", [(0, 5, 5, 2), (2, 0, 5, 2)], ids=str)
def test_empty_inputs_have_empty_outputs_and_zero_gradients(built, shape):
    x, w = jnp.zeros(shape), jnp.ones((3, 3, 2, 4))
    y, back = jax.vjp(lambda x, w: ops.conv(x, w, padding="VALID", method="native"), x, w)
    dx, dw = back(jnp.ones_like(y))
    assert y.size == 0 and dx.shape == shape
    np.testing.assert_array_equal(dw, 0)


def test_mapped_over_nothing(built):
    found = jax.vmap(lambda x: ops.conv(x, jnp.ones((3, 3, 2, 4)), method="native"))(jnp.ones((0, 3, 5, 6, 2)))
    assert found.shape == (0, 3, 5, 6, 4)
    assert jax.vmap(lambda x: ops.max_pool(x, 2, method="native"))(jnp.ones((0, 3, 4, 6, 2))).shape == (0, 3, 2, 3, 2)


@pytest.mark.parametrize(
    ("error", "options", "message"),
    [
        (ValueError, {"input_dilation": 2, "strides": 2}, r"needs `input_dilation` 1, or `strides` 1 and a padding"),
        (ValueError, {"padding": ((-1, 0), (0, 0))}, r"needs a padding of 0 or more; got \(\(-1, 0\), \(0, 0\)\)\."),
        (ValueError, {"rule": "autodiff"}, r"supports only the hand-written rule; got rule='autodiff'\."),
    ],
)
def test_what_it_does_not_know_is_refused(random, error, options, message):
    x, w = arrays(random, (6, 5), 3)
    with pytest.raises(error, match=message):
        ops.conv(x, w, method="native", **options)


def test_forward_mode_is_refused(built, random):
    x, w = arrays(random, (6, 5), 3)
    with pytest.raises(TypeError, match="the hand-written rule is for reverse mode"):
        jax.jvp(lambda x: ops.conv(x, w, method="native"), (x,), (x,))


def test_other_dtypes_are_refused(random, float64):
    x, w = arrays(random, (6, 5), 3, dtype=np.float64)
    with pytest.raises(TypeError, match="needs float32, bfloat16 or float16 as dtype; got float64"):
        ops.conv(x, w, method="native")
    x, w = arrays(random, (6, 5), 3)
    with pytest.raises(TypeError, match="needs float32, bfloat16 or float16 as preferred_element_type; got float64"):
        ops.conv(x, w, method="native", preferred_element_type=jnp.float64)


def test_pytorch_in_the_same_process(built, random):
    """It brings an OpenMP and a oneDNN of its own."""
    torch = pytest.importorskip("torch")
    x, w = arrays(random, (9, 9), 3, channels=16, outputs=16)
    images, kernel = (
        torch.tensor(np.asarray(a.transpose(order))) for a, order in ((x, (0, 3, 1, 2)), (w, (3, 2, 0, 1)))
    )
    for _ in range(2):
        theirs = torch.nn.functional.conv2d(images, kernel).numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(ops.conv(x, w, padding="VALID", method="native"), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 16])
@pytest.mark.parametrize("batch", [1, 4])
def test_pytorch_keeps_its_threads(built, random, batch, groups):
    """Both may share an OpenMP, whose number of threads oneDNN reads."""
    torch = pytest.importorskip("torch")
    x, w = arrays(random, (40, 36), 7, channels=16, outputs=16, groups=groups, batch=batch)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        jax.block_until_ready(value_and_gradients("native", x, w, feature_group_count=groups))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
