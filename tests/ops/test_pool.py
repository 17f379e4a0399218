"""Pooling: values and gradients against the oracle, autodiff, the full Jacobian and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxcnn import geometry, ops
from jaxcnn.geometry import Window
from jaxcnn.ops.pool.switches import switch_dtype

WINDOWS = [1, 2, 3, (2, 3)]
STRIDES = [None, 1, 2, (3, 2), 4]
PADDINGS = ["VALID", "SAME", "LECTURE", ((1, 0), (0, 1)), ((-1, 1), (1, -2))]


def value_and_gradient(op, x, error, window, **options):
    @jax.jit
    def run(x, error):
        y, back = jax.vjp(lambda x: op(x, window, **options), x)
        return y, *back(error)

    return run(x, error)


def every_pool(x, error, window, **options):
    """The maximum, and the mean with and without the padding, each with its gradient, compiled at once."""

    @jax.jit
    def run(x, error):
        kinds = (ops.max_pool, {}), *((ops.avg_pool, {"count_include_pad": counted}) for counted in (True, False))
        return [value_and_gradient(op, x, error, window, **options, **more) for op, more in kinds]

    return run(x, error)


def plain_arguments(x, window, strides=None, padding="VALID", window_dilation=1):
    resolved = geometry.pool_window(x.shape, window, strides=strides, padding=padding, window_dilation=window_dilation)
    arguments = resolved.shape, resolved.strides, resolved.padding, resolved.dilation
    return arguments, (x.shape[0], *resolved.output_shape(x.shape[1:-1]), x.shape[-1])


def assert_same(found, expected, **tolerance):
    for name, a, b in zip(("output", "input gradient"), found, expected, strict=True):
        np.testing.assert_allclose(a, b, err_msg=name, **tolerance)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("strides", STRIDES, ids=str)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_pools_equal_the_oracle(random, float64, window, strides, padding, dilation):
    options = {"strides": strides, "padding": padding, "window_dilation": dilation}
    x = random.integers(0, 4, size=(2, 7, 8, 2)).astype(float)  # few values, many ties
    arguments, shape = plain_arguments(x, window, **options)
    error = random.normal(size=shape)
    biggest, *means = every_pool(x, error, window, **options)
    assert_same(biggest, oracles.max_pool(x, error, *arguments))
    for counted, found in zip((True, False), means, strict=True):
        assert_same(found, oracles.avg_pool(x, error, *arguments, counted), atol=1e-12)


@pytest.mark.parametrize("op", [ops.max_pool, ops.avg_pool])
@pytest.mark.parametrize("padding", ["VALID", "SAME", "LECTURE"])
@pytest.mark.parametrize("strides", [None, 1, 3])
@pytest.mark.parametrize("window", [2, 3])
def test_hand_rule_equals_autodiff(random, float64, op, window, strides, padding):
    x = random.integers(0, 4, size=(2, 7, 8, 2)).astype(float)
    _, shape = plain_arguments(x, window, strides, padding)
    error = random.normal(size=shape)

    @jax.jit
    def by_both_rules(x, error):
        options = {"strides": strides, "padding": padding}
        return [value_and_gradient(op, x, error, window, rule=rule, **options) for rule in ("hand", "autodiff")]

    hand, autodiff = by_both_rules(x, error)
    assert_same(hand, autodiff, atol=1e-12)


@pytest.mark.parametrize(("sizes", "window"), [((9,), 3), ((4, 5, 6), (2, 3, 2))])
def test_one_and_three_dimensions(random, float64, sizes, window):
    options = {"strides": 2, "padding": "SAME", "window_dilation": 2}
    x = random.integers(0, 9, size=(2, *sizes, 3)).astype(float)
    arguments, shape = plain_arguments(x, window, **options)
    error = random.normal(size=shape)
    assert_same(value_and_gradient(ops.max_pool, x, error, window, **options), oracles.max_pool(x, error, *arguments))
    found = value_and_gradient(ops.avg_pool, x, error, window, **options)
    assert_same(found, oracles.avg_pool(x, error, *arguments, True), atol=1e-12)


@pytest.mark.parametrize("op", [ops.max_pool, ops.avg_pool])
def test_full_jacobian(random, float64, op):
    x = random.permutation(60).reshape(1, 6, 5, 2) / 7.0  # no ties: the Jacobian exists

    def function(x):
        return op(x, (3, 2), strides=(2, 1), padding=((1, 0), (0, 1)))

    analytic = jax.jit(jax.jacrev(function))(x).reshape(-1, x.size)
    np.testing.assert_allclose(analytic, oracles.jacobian(jax.jit(function), x), atol=1e-8)


@pytest.mark.parametrize("op", [ops.max_pool, ops.avg_pool])
def test_second_derivatives_equal_autodiff(random, float64, op):
    x = random.normal(size=(1, 7, 6, 2))

    def curvature(rule):
        def penalty(x):
            loss = lambda x: jnp.sum(op(x, 3, strides=2, padding="SAME", rule=rule) ** 3)  # noqa: E731
            return jnp.sum(jax.grad(loss)(x) ** 2)

        return jax.jit(jax.grad(penalty))(x)

    np.testing.assert_allclose(curvature("hand"), curvature("autodiff"), rtol=1e-10, atol=1e-12)


def test_ties_go_to_the_first_maximum():
    gradient = jax.grad(lambda x: ops.max_pool(x, 2).sum())(jnp.zeros((1, 4, 4, 1)))
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[1, 0, 1, 0], [0] * 4, [1, 0, 1, 0], [0] * 4])


def test_zeros_of_both_signs_tie():
    x = jnp.array([0.0, -0.0, -0.0, 0.0]).reshape(1, 4, 1)
    y, back = jax.vjp(lambda x: ops.max_pool(x, 2), x)
    np.testing.assert_array_equal(np.signbit(y).ravel(), [False, True])
    np.testing.assert_array_equal(back(jnp.ones_like(y))[0].ravel(), [1, 0, 1, 0])


@pytest.mark.parametrize("padding", ["VALID", "LECTURE"])
def test_the_first_nan_wins(random, padding):
    x = random.normal(size=(1, 6, 6, 1)).astype(np.float32)
    x[0, [1, 2, 4], [2, 2, 5], 0] = np.nan
    arguments, shape = plain_arguments(x, 3, 1, padding)
    error = random.normal(size=shape).astype(np.float32)
    found = value_and_gradient(ops.max_pool, x, error, 3, strides=1, padding=padding)
    assert_same(found, oracles.max_pool(x, error, *arguments), rtol=1e-6)


def test_infinities_beside_padding_keep_their_gradient():
    x = jnp.full((1, 3, 3, 1), -jnp.inf)
    y, back = jax.vjp(lambda x: ops.max_pool(x, 3, strides=2, padding=1), x)
    assert np.all(np.isneginf(y))
    np.testing.assert_array_equal(back(jnp.ones_like(y))[0][0, :, :, 0], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


def test_a_window_of_padding_alone_is_minus_infinity_and_has_no_gradient():
    x = jnp.arange(2.0).reshape(1, 2, 1)
    y, back = jax.vjp(lambda x: ops.max_pool(x, 2, strides=1, padding=[(3, 0)]), x)
    np.testing.assert_array_equal(y.ravel(), [-np.inf, -np.inf, 0, 1])
    np.testing.assert_array_equal(back(jnp.array([5.0, 7.0, 1.0, 2.0]).reshape(y.shape))[0].ravel(), [1, 2])
    averages = ops.avg_pool(x, 2, strides=1, padding=[(3, 0)], count_include_pad=False)
    np.testing.assert_array_equal(averages.ravel(), [0, 0, 0, 0.5])


@pytest.mark.parametrize("size", [16, 17, 300])
def test_windows_of_more_taps_than_a_byte_counts(random, float64, size):
    x = random.permutation(size * size).reshape(1, size, size, 1).astype(float) if size < 100 else None
    x = random.permutation(size).reshape(1, size, 1).astype(float) if x is None else x
    gradient = jax.jit(jax.grad(lambda x: ops.max_pool(x, size).sum()))(x)
    np.testing.assert_array_equal(gradient, x == x.max())


def test_the_first_nan_of_the_whole_field_takes_its_error(random):
    x = jnp.asarray(random.normal(size=(1, 4, 5, 1)), jnp.float32).at[0, [1, 2, 3], [3, 0, 4], 0].set(jnp.nan)
    y, back = jax.vjp(ops.global_max_pool, x)
    assert np.isnan(y).all()
    np.testing.assert_array_equal(back(jnp.ones_like(y))[0], jnp.zeros_like(x).at[0, 1, 3, 0].set(1))


def test_many_taps_have_the_winners_of_few(random, float64):
    x = random.integers(0, 9, size=(2, 30, 33, 2)).astype(float)
    x[0, ::7, ::5], x[1, :14] = np.nan, -np.inf
    options = {"strides": (5, 7), "padding": [(3, 2), (4, 6)], "window_dilation": (1, 2)}
    arguments, shape = plain_arguments(x, (12, 13), **options)
    error = random.normal(size=shape)
    found = value_and_gradient(ops.max_pool, x, error, (12, 13), **options)
    assert_same(found, oracles.max_pool(x, error, *arguments), atol=1e-12)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(("window", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 1), (3, 3, 0)])
def test_pytorch_agrees(random, window, stride, padding, dilation):
    torch = pytest.importorskip("torch")
    x = random.integers(0, 5, size=(2, 9, 10, 3)).astype(np.float32)  # ties included
    x[0, 4, 4, 0] = np.nan
    x[1, :3, :3] = -np.inf
    _, shape = plain_arguments(x, window, stride, padding, dilation)
    error = random.normal(size=shape).astype(np.float32)

    def theirs(function, **options):
        tx = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
        ty = function(tx, window, stride=stride, padding=padding, **options)
        ty.backward(torch.tensor(error.transpose(0, 3, 1, 2)))
        return ty.detach().numpy().transpose(0, 2, 3, 1), tx.grad.numpy().transpose(0, 2, 3, 1)

    found = value_and_gradient(
        ops.max_pool, x, error, window, strides=stride, padding=padding, window_dilation=dilation
    )
    assert_same(found, theirs(torch.nn.functional.max_pool2d, dilation=dilation), rtol=1e-6, atol=1e-6)
    if dilation == 1:
        x = np.nan_to_num(x, neginf=-1.0)
        for counted in (True, False):
            found = value_and_gradient(
                ops.avg_pool, x, error, window, strides=stride, padding=padding, count_include_pad=counted
            )
            expected = theirs(torch.nn.functional.avg_pool2d, count_include_pad=counted)
            assert_same(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_halves_are_summed_in_float32(dtype):
    x = jnp.full((1, 5000, 1), 0.3, dtype)
    y, back = jax.vjp(lambda x: ops.avg_pool(x, 5000), x)
    assert y.dtype == dtype and y[0, 0, 0] == x[0, 0, 0]
    assert back(y)[0].dtype == dtype


def test_the_residual_of_max_pool_is_one_byte_a_window():
    x = jnp.zeros((4, 8, 8, 16))
    _, back = jax.vjp(lambda x: ops.max_pool(x, 2), x)
    kept = [leaf for leaf in jax.tree.leaves(back) if hasattr(leaf, "nbytes")]
    assert sum(leaf.nbytes for leaf in kept) == 4 * 4 * 4 * 16


def test_no_select_and_scatter_in_the_gradient():
    text = (
        jax.jit(jax.grad(lambda x: ops.max_pool(x, 3, strides=2, padding=1).sum()))
        .lower(jnp.ones((1, 8, 8, 2)))
        .as_text()
    )
    assert "select_and_scatter" not in text and "scatter" not in text


@pytest.mark.parametrize("op", [ops.max_pool, ops.avg_pool])
def test_empty_inputs(op):
    for shape in ((0, 4, 4, 2), (2, 0, 4, 2)):
        y, back = jax.vjp(lambda x: op(x, 2), jnp.zeros(shape))
        assert y.size == 0 and back(y)[0].shape == shape


@pytest.mark.parametrize("op", [ops.max_pool, ops.avg_pool])
@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (np.ones((1, 4, 4, 1), np.int32), {}, TypeError, "`inputs` must be real floating; got int32."),
        (np.ones((4, 4), np.float32), {}, ValueError, r"1 to 3 spatial axes; got shape \(4, 4\)"),
        (np.ones((1, 1, 4, 1), np.float32), {}, ValueError, r"the window must fit into the padded input, \(1, 4\)"),
        (np.ones((1, 4, 4, 1), np.float32), {"strides": 0}, ValueError, "`strides` must be positive; got 0."),
        (np.ones((1, 4, 4, 1), np.float32), {"window_dilation": -1}, ValueError, "`window_dilation` must be positive"),
        (np.ones((1, 4, 4, 1), np.float32), {"rule": "x"}, ValueError, "`rule` must be one of"),
    ],
)
def test_bad_arguments_get_one_sentence(op, x, options, error, message):
    with pytest.raises(error, match=message):
        op(x, 2, **options)


def test_what_no_window_sees_may_be_infinite():
    x = jnp.array([1.0, -2.0, jnp.inf, 3.0, 2.0, jnp.nan]).reshape(1, 6, 1)
    for op in (ops.lp_pool, ops.avg_pool, ops.max_pool):
        value, back = jax.vjp(lambda x, op=op: op(x, 2, strides=3), x)
        gradient = back(jnp.ones_like(value))[0]
        assert np.isfinite(value).all() and np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[0, 2::3], 0)


@pytest.mark.parametrize(("taps", "dtype"), [(254, jnp.uint8), (255, jnp.uint16), (65_535, jnp.uint32)])
def test_switches_leave_a_number_for_no_winner(taps, dtype):
    """It is 254 in bytes, which therefore number 254 taps, 0 to 253."""
    assert switch_dtype(Window((taps,), (1,), ((0, 0),), (1,), (1,))) == dtype


def test_a_padded_window_over_three_axes_is_a_short_program():
    """Axis by axis: at once it has 27 taps in each of 27 parts, 2,540 operations, and takes seconds to trace."""

    def operations(jaxpr):
        inner = jax.tree.leaves([list(e.params.values()) for e in jaxpr.eqns], is_leaf=lambda v: hasattr(v, "eqns"))
        return len(jaxpr.eqns) + sum(operations(j) for j in inner if hasattr(j, "eqns"))

    pool = jax.grad(lambda x: ops.max_pool(x, 3, strides=2, padding="SAME").sum())
    assert operations(jax.make_jaxpr(pool)(jnp.ones((2, 8, 8, 8, 4))).jaxpr) < 600
