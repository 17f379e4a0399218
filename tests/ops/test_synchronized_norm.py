"""Batch normalization of a batch that lies on several devices is that of the whole batch on one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxcnn import ops
from jaxcnn.ops import arrays
from jaxcnn.ops.norm import batch as norm
from jaxcnn.ops.rule import custom_vjp

DEVICES = 4
SHARE = 1 / DEVICES  # of a term that every device has in its loss
TOLERANCES = {"float64": {"rtol": 1e-12, "atol": 1e-12}, "float32": {"rtol": 1e-5, "atol": 1e-5}}
MAPPINGS = ("pmap", "vmap", "shard_map", "shard_map, unchecked")


def values(dtype):
    """`x`, scale, bias and the error of the output."""
    random = np.random.default_rng(0)
    x, *others = (random.normal(size=shape) for shape in ((8, 3, 5), (5,), (5,), (8, 3, 5)))
    return [jnp.asarray(value, dtype) for value in (2 * x + 3, *others)]


@pytest.fixture(params=["float64", "float32"])
def problem(request):
    """The arguments, and the tolerance of their dtype."""
    with jax.enable_x64(request.param == "float64"):
        yield values(request.param), TOLERANCES[request.param]


DOUBLE = pytest.mark.parametrize("problem", ["float64"], indirect=True)
SINGLE = pytest.mark.parametrize("problem", ["float32"], indirect=True)


def mesh(**axes):
    return jax.make_mesh(tuple(axes.values()), tuple(axes), axis_types=(AxisType.Auto,) * len(axes))


def mapped(mapping, function, args, kinds):
    """Maps a function of `(x, scale, bias, error)`, of which `x` and error are spread over the axis `data`.

    `kinds` says of each output whether it is the "same" on every device, a share to "add", or a part of the "batch".
    """
    x, scale, bias, error = args
    if mapping in ("pmap", "vmap"):
        split = lambda a: a.reshape(DEVICES, -1, *a.shape[1:])  # noqa: E731
        transform = {"pmap": jax.pmap, "vmap": jax.vmap}[mapping]
        spread = jax.jit(transform(function, in_axes=(0, None, None, 0), axis_name="data"))
        outputs = spread(split(x), scale, bias, split(error))
        for output, kind in zip(outputs, kinds, strict=True):
            if kind == "same":
                np.testing.assert_array_equal(output, jnp.broadcast_to(output[:1], output.shape))
        merge = {"same": lambda a: a[0], "add": lambda a: a.sum(0), "batch": lambda a: a.reshape(-1, *a.shape[2:])}
        return [merge[kind](output) for output, kind in zip(outputs, kinds, strict=True)]
    checked = mapping == "shard_map"

    def local(*args):
        # what the types know to be the same everywhere is added up by the rule
        added = lambda a, kind: jax.lax.psum(a, "data") if kind == "add" and not checked else a  # noqa: E731
        return [added(output, kind) for output, kind in zip(function(*args), kinds, strict=True)]

    specs = {"same": P(), "add": P(), "batch": P("data")}
    outputs = [specs[kind] for kind in kinds]
    inputs = (P("data"), P(), P(), P("data"))
    over = mesh(data=DEVICES)
    return jax.jit(jax.shard_map(local, mesh=over, in_specs=inputs, out_specs=outputs, check_vma=checked))(*args)


def first_order(axis_name, rule, share=SHARE):
    """Gradients of a loss in which all three outputs count."""

    def loss(x, scale, bias, error):
        y, mean, variance = ops.batch_norm(x, scale, bias, axis_name=axis_name, rule=rule)
        weights = jnp.arange(1, mean.size + 1, dtype=mean.dtype)
        return jnp.sum(error * jnp.tanh(y)) + share * jnp.sum(weights * (mean + variance**2))

    return jax.jit(jax.grad(loss, (0, 1, 2)))


def second_order(axis_name, rule, share=SHARE, same=1.0):
    """Gradients of a functional of the gradients; `same` weighs those that every device may have in common."""

    def functional(x, scale, bias, error):
        dx, dscale, dbias = first_order(axis_name, rule, share)(x, scale, bias, error)
        weights = jnp.cos(jnp.arange(dbias.size, dtype=dbias.dtype))
        return jnp.sum(jnp.sin(1 + error) * dx) + same * jnp.sum(weights * (dscale + 2 * dbias))

    return jax.jit(jax.grad(functional, (0, 1, 2)))


@functools.cache
def on_one_device(order, dtype):
    """What JAX derives for the whole batch; to be called in that precision."""
    return order(None, "autodiff", share=1)(*values(dtype))


def assert_same(found, expected, tolerance):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        scale = float(jnp.max(jnp.abs(b)))
        np.testing.assert_allclose(a / scale, b / scale, **tolerance)


RULES = ("hand", "autodiff")
GRADIENTS = ("batch", "add", "add")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_the_statistics_are_those_of_the_whole_batch(problem, mapping, rule):
    args, tolerance = problem
    forward = lambda x, scale, bias, error: ops.batch_norm(x, scale, bias, axis_name="data", rule=rule)  # noqa: E731
    expected = ops.batch_norm(*args[:3], rule="autodiff")
    assert_same(mapped(mapping, forward, args, ("batch", "same", "same")), expected, tolerance)
    np.testing.assert_allclose(expected[2], np.var(np.asarray(args[0]), (0, 1)), rtol=1e-5)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_gradients_are_those_of_the_whole_batch(problem, mapping):
    args, tolerance = problem
    expected = on_one_device(first_order, str(args[0].dtype))
    for rule in RULES if args[0].dtype == jnp.float64 else RULES[:1]:
        assert_same(mapped(mapping, first_order("data", rule), args, GRADIENTS), expected, tolerance)


@DOUBLE
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_second_order(problem, mapping):
    args, tolerance = problem
    expected = on_one_device(second_order, str(args[0].dtype))
    # with types, a gradient of a parameter is already the sum, and all devices' losses count it
    same = SHARE if mapping == "shard_map" else 1.0
    for rule in RULES:
        found = mapped(mapping, second_order("data", rule, same=same), args, GRADIENTS)
        assert_same(found, expected, tolerance)


@DOUBLE
@pytest.mark.parametrize("checked", [True, False])
def test_the_gradient_may_be_taken_outside(problem, checked):
    args, tolerance = problem

    def loss(rule, axis_name, x, scale, bias, error):
        y, mean, variance = ops.batch_norm(x, scale, bias, axis_name=axis_name, rule=rule)
        return jnp.sum(error * jnp.tanh(y)), jnp.sum(jnp.sin(mean) + variance**2)

    def whole(*args):
        local = lambda *args: tuple(part[None] for part in loss("hand", "data", *args))  # noqa: E731
        specs = {"in_specs": (P("data"), P(), P(), P("data")), "out_specs": (P("data"), P())}
        if not checked:
            specs["out_specs"] = (P("data"), P("data"))
        parts, of_statistics = jax.shard_map(local, mesh=mesh(data=DEVICES), check_vma=checked, **specs)(*args)
        return parts.sum() + of_statistics.mean()

    expected = jax.jit(jax.grad(lambda *args: sum(loss("autodiff", None, *args)), (0, 1, 2)))(*args)
    assert_same(jax.jit(jax.grad(whole, (0, 1, 2)))(*args), expected, tolerance)


@DOUBLE
@pytest.mark.parametrize("checked", [True, False])
def test_two_axes_together_and_one_alone(problem, checked):
    args, tolerance = problem
    over = mesh(rows=2, columns=2)

    def run(axis_name, batch):
        def local(*args):
            dx, *shares = first_order(axis_name, "hand", share=0)(*args)
            return dx, *(shares if checked else jax.lax.psum(shares, ("rows", "columns")))

        specs = {"in_specs": (batch, P(), P(), batch), "out_specs": (batch, P(), P())}
        return jax.jit(jax.shard_map(local, mesh=over, check_vma=checked, **specs))(*args)

    gradient = first_order(None, "autodiff", share=0)
    both = P(("rows", "columns"))
    assert_same(run(("rows", "columns"), both), gradient(*args), tolerance)
    x, scale, bias, error = args
    halves = [gradient(x[part], scale, bias, error[part]) for part in (slice(0, 4), slice(4, 8))]
    alone = [
        jnp.concatenate([a[0] for a in halves]),
        *(a + b for a, b in zip(halves[0][1:], halves[1][1:], strict=True)),
    ]
    assert_same(run("columns", both), alone, tolerance)  # statistics of each row of devices


@DOUBLE
def test_a_batch_that_every_device_has_whole(problem):
    (x, scale, bias, error), tolerance = problem
    expected = on_one_device(first_order, "float64")
    local = first_order("data", "hand", share=1)
    same = jax.shard_map(local, mesh=mesh(data=DEVICES), in_specs=P(), out_specs=P())
    assert_same(jax.jit(same)(x, scale, bias, error), expected, tolerance)


@DOUBLE
def test_every_device_may_have_a_scale_of_its_own(problem):
    (x, scale, bias, error), tolerance = problem
    x, error = (a.reshape(DEVICES, -1, *a.shape[1:]) for a in (x, error))
    scale, bias = (a[None] * jnp.arange(1.0, 1 + DEVICES)[:, None] for a in (scale, bias))
    found, expected = (
        jax.jit(jax.pmap(second_order("data", rule), axis_name="data"))(x, scale, bias, error) for rule in RULES
    )
    assert_same(found, expected, tolerance)


def _without_means(form, residuals, error):
    return norm._batch_norm_bwd(form._replace(devices=()), residuals, error)


def _with_sums(form, residuals, error):
    right, *others = norm._batch_norm_bwd(form, residuals, error)
    _, _, variance, scale, *_ = residuals
    direct = error * arrays.along_last(scale / jnp.sqrt(variance + form.epsilon), error)
    return direct + DEVICES * (right - direct), *others


@SINGLE
@pytest.mark.parametrize("wrong", [_without_means, _with_sums])
@pytest.mark.parametrize("mapping", [mapping for mapping in MAPPINGS if mapping != "vmap"])
def test_a_backward_pass_of_each_device_for_itself_is_found(problem, mapping, wrong, monkeypatch):
    args, tolerance = problem
    expected = on_one_device(first_order, str(args[0].dtype))
    mutant = custom_vjp(6)(norm._plain_batch_norm)
    mutant.defvjp(lambda *args: (mutant(*args), (*args[:5], None)), wrong)
    monkeypatch.setattr(norm, "_batch_norm", mutant)
    found = mapped(mapping, first_order("data", "hand"), args, GRADIENTS)
    assert_same(found[1:], expected[1:], tolerance)
    with pytest.raises(AssertionError):
        assert_same(found[:1], expected[:1], {"rtol": 1e-2, "atol": 1e-2})


def test_cotangents_keep_their_dtype(random):
    x, error = (jnp.asarray(random.normal(size=(8, 5)), jnp.bfloat16) for _ in range(2))
    scale, bias = jnp.ones(5, jnp.float32), jnp.zeros(5, jnp.float32)

    def loss(x, scale, bias, error):
        return jnp.sum((error * ops.batch_norm(x, scale, bias, axis_name="data")[0]).astype(jnp.float32))

    for mapping in ("pmap", "shard_map"):
        found = mapped(mapping, jax.grad(loss, (0, 1, 2)), (x, scale, bias, error), GRADIENTS)
        assert [a.dtype for a in found] == [jnp.bfloat16, jnp.float32, jnp.float32]


def test_given_statistics_need_no_other_device(random):
    x, one = jnp.asarray(random.normal(size=(4, 5)), jnp.float32), jnp.ones(5)
    found = ops.batch_norm(x, one, one, mean=one, variance=one, axis_name="data")
    np.testing.assert_array_equal(found[0], ops.batch_norm(x, one, one, mean=one, variance=one)[0])


def test_axes_that_are_not_mapped_are_refused():
    x, one = jnp.ones((4, 5)), jnp.ones(5)
    with pytest.raises(ValueError, match="`axis_name` must name axes that are mapped here; got 'data'."):
        ops.batch_norm(x, one, one, axis_name="data")
    with pytest.raises(TypeError, match="`axis_name` must be a name or a tuple of names; got 0."):
        ops.batch_norm(x, one, one, axis_name=0)
