"""The rules of `by_hand`: what is found, what is taken by itself, and a reader's own rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcnn import by_hand, check, ops

X = jnp.asarray([-2.0, -0.0, 0.0, 3.0, jnp.nan])
E = jnp.asarray([1.0, 2.0, -3.0, -4.0, 5.0])


def wider_where(x, zeros):
    """Zeros decide the result's dtype and shape."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.where(x > 0, x, zeros)


RECTIFIED = {
    "jax.nn.relu": jax.nn.relu,
    "maximum": lambda x: jnp.maximum(x, 0),
    "maximum, the other way": lambda x: jnp.maximum(0.0, x),
    "lax.max": lambda x: lax.max(x, jnp.zeros_like(x)),
    "where": lambda x: jnp.where(x > 0, x, 0),
    "where, float": lambda x: jnp.where(x > 0.0, x, 0.0),
    "where, zeros": lambda x: jnp.where(x > 0, x, jnp.zeros_like(x)),
    "where, turned round": lambda x: jnp.where(x < 0, 0.0, x),
    "where, zero first": lambda x: jnp.where(0 < x, x, 0),
    "where, at least": lambda x: jnp.where(x >= 0, x, 0),
    "select": lambda x: lax.select(x > 0, x, jnp.zeros_like(x)),
}
OTHERS = {
    "another threshold": lambda x: jnp.where(x > 1, x, 0),
    "another value": lambda x: jnp.where(x > 0, x, 1.0),
    "leaky": lambda x: jnp.where(x > 0, x, 0.1 * x),
    "minimum": lambda x: jnp.minimum(x, 0),
    "the negative part": lambda x: jnp.where(x > 0, 0, x),
    "two arguments": lambda x: jnp.maximum(x, 2 * x),
    "the other argument": lambda x: jnp.where(x > 0, 2 * x, 0),
    "integers": lambda x: jnp.maximum(jnp.arange(3), 0),
    "silu": jax.nn.silu,
    "relu6, which is a function of JAX with a rule of its own": jax.nn.relu6,
    "a change of dtype": lambda x: wider_where(x.astype(jnp.bfloat16), jnp.zeros(5)),
    "more rows": lambda x: wider_where(x[0], jnp.zeros(3)),
}


def found(function, *arguments, **options):
    return [one for one in by_hand.report(by_hand(function, **options), *arguments).replacements]


@pytest.mark.parametrize("name", RECTIFIED)
@pytest.mark.parametrize("jitted", [False, True])
def test_a_relu_is_found_however_it_is_written(name, jitted):
    function = jax.jit(RECTIFIED[name]) if jitted else RECTIFIED[name]
    assert [one.op for one in found(function, X)] == ["relu"]
    guided = by_hand(function, rules={"relu": "guided"})
    outputs, back = jax.vjp(guided, X)
    np.testing.assert_array_equal(outputs, jnp.maximum(X, 0))
    np.testing.assert_array_equal(back(E)[0], jax.vjp(lambda x: ops.relu(x, rule="guided"), X)[1](E)[0])


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_relu_is_not_taken_for_one(name):
    assert not found(OTHERS[name], X)


def test_somebodys_own_relu_keeps_its_rule():
    @jax.custom_jvp
    def relu(x):
        return x + jax.nn.sigmoid(x)

    relu.defjvp(lambda primals, tangents: (relu(*primals), 9 * tangents[0]))
    assert not found(relu, X, rules={"relu": "guided"})
    np.testing.assert_array_equal(
        jax.grad(by_hand(lambda x: relu(x).sum(), rules={"relu": "guided"}))(E), jnp.full(5, 9.0)
    )


def window_max(x, start=-jnp.inf):
    return lax.reduce_window(x, start, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def test_pools_are_found():
    x = jnp.ones((2, 3, 6, 6))
    assert [one.op for one in found(window_max, x)] == ["max_pool"]
    average = lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") / 4  # noqa: E731
    (one,) = found(average, x)
    assert one.op == "sum_pool" and not one.replaced
    assert found(average, x, rule="hand")[0].replaced
    assert not found(lambda x: window_max(x, 0.0), x)  # the largest, or 0
    assert not found(lambda x: lax.reduce_window(x, jnp.inf, lax.min, (1, 1, 2, 2), (1, 1, 2, 2), "VALID"), x)
    over_four = lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2,) * 4, (1,) * 4, "VALID")  # noqa: E731
    assert found(over_four, x)[0].why == "a window that spans more than three axes"


@pytest.mark.parametrize(
    "options",
    [
        ((1, 1, 2, 2), (1, 1, 2, 2), "VALID"),
        ((1, 1, 3, 3), (1, 1, 2, 1), "SAME"),
        ((1, 3, 1, 1), (1, 1, 1, 1), "SAME"),
        ((1, 1, 2, 3), (1, 1, 1, 2), ((0, 0), (0, 0), (1, 0), (0, 2))),
    ],
)
def test_average_pools_by_hand(float64, options, random):
    x = jnp.asarray(random.normal(size=(2, 3, 6, 7)))

    def average(x):
        sums = lax.reduce_window(x, 0.0, lax.add, *options)
        return jnp.sum(jnp.sin(sums / lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, *options)))

    ours = jax.value_and_grad(by_hand(average, rules={"sum_pool": "hand"}))(x)
    for one, other in zip(ours, jax.value_and_grad(average)(x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@jax.custom_vjp
def straight_through(x):
    return jnp.maximum(x, 0)


straight_through.defvjp(lambda x: (straight_through(x), None), lambda _, error: (error,))


def test_a_rule_of_the_readers_own():
    def network(x):
        return jax.vmap(lambda x: jax.nn.relu(x) * 2)(x).sum()

    fast = by_hand(network, rules={"relu": straight_through})
    np.testing.assert_array_equal(jax.jit(jax.grad(fast))(X[:4, None]), jnp.full((4, 1), 2.0))
    assert found(network, X[:, None], rules={"relu": straight_through})[0].became == "straight_through"


def test_a_rule_gets_the_options_of_lax(float64, random):
    calls = []

    def mine(operand, *, window_dimensions, window_strides, padding, base_dilation, window_dilation):
        calls.append((window_dimensions, window_strides, padding))
        return lax.reduce_window(operand, -jnp.inf, lax.max, window_dimensions, window_strides, padding) + 1

    def mine_too(lhs, rhs, *, window_strides, padding, dimension_numbers, **others):
        assert others["feature_group_count"] == 1
        return lax.conv_general_dilated(lhs, 2 * rhs, window_strides, padding, dimension_numbers=dimension_numbers)

    x, w = jnp.asarray(random.normal(size=(2, 3, 6, 6))), jnp.asarray(random.normal(size=(4, 3, 3, 3)))

    def network(x, w):
        return window_max(lax.conv(x, w, (1, 1), "SAME"))

    np.testing.assert_allclose(
        by_hand(network, rules={"max_pool": mine, "conv": mine_too})(x, w), network(x, 2 * w) + 1
    )
    assert calls == [((1, 1, 2, 2), (1, 1, 2, 2), ((0, 0),) * 4)]


def test_a_rule_may_give_back_its_operand_or_bring_arrays():
    scale = jnp.asarray([1.0, 2.0, 3.0, 4.0, 5.0])
    for rule, expected in ((lambda x: x, X), (lambda x: scale, scale), (lambda x: x * scale, X * scale)):
        for function in (jax.nn.relu, lambda x: lax.scan(lambda c, _: (jax.nn.relu(c), None), x, None, 1)[0]):
            np.testing.assert_array_equal(jax.jit(by_hand(function, rules={"relu": rule}))(X), expected)
    np.testing.assert_array_equal(jax.grad(by_hand(lambda x: jax.nn.relu(x).sum(), rules={"relu": lambda x: x}))(X), 1)


def test_a_rule_that_gives_something_else_is_refused():
    with pytest.raises(
        ValueError, match=r"a rule must return f\w*32\[5\], as custom_jvp_call does; got f\w*32\[\]"
    ) as error:
        by_hand(jax.nn.relu, rules={"relu": jnp.sum})(X)
    assert "rules['relu']" in error.value.__notes__[0]


def test_a_proven_rule_runs_inside_of_a_network(float64, random):
    """Rules of one's own are proven by the kit, then given."""

    @jax.custom_vjp
    def soft(x):
        return jnp.log1p(jnp.exp(x))

    soft.defvjp(lambda x: (soft(x), x), lambda x, error: (error * jax.nn.sigmoid(x),))
    x = jnp.asarray(random.normal(size=(3, 4)))
    assert check.check_vjp(soft, x, kinds=("differences", "value")).passed
    fast = by_hand(lambda x: jax.nn.relu(x).sum(), rules={"relu": soft})
    np.testing.assert_allclose(jax.grad(fast)(x), jax.nn.sigmoid(x), rtol=1e-12)


def test_by_itself_nothing_is_taken_that_was_not_measured(monkeypatch):
    x, w = jnp.ones((2, 8, 8, 16)), jnp.ones((3, 3, 16, 16))

    def network(x, w):
        y = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return lax.reduce_window(y, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [(one.op, one.replaced, one.why) for one in found(network, x, w)] == [
        ("conv", False, "not measured on gpu"),
        ("max_pool", False, "not measured on gpu"),
    ]
    assert all(one.replaced for one in found(network, x, w, rule="hand"))


def test_the_report_is_read_as_a_table():
    def network(x, w):
        with jax.named_scope("stem"):
            x = jax.nn.relu(lax.conv(x, w, (1, 1), "SAME"))
        return lax.scan(lambda x, _: (jax.nn.relu(x), None), x[0], None, 2)[0].sum()

    report = by_hand.report(network, jnp.ones((1, 3, 5, 5)), jnp.ones((3, 3, 3, 3)))
    text = str(report)
    assert text.splitlines()[0].startswith("network: 3 operations found, ")
    assert "in stem" in text and "in scan" in text
    assert [one.op for one in report.replacements] == ["conv", "relu", "relu"]


def test_a_decorated_function_reports_by_its_own_rules():
    fast = by_hand(lambda x: jax.nn.relu(x), rules={"relu": "guided"})
    assert by_hand.report(fast, X).replacements[0].became == "ours, guided"


def test_what_is_ours_already_stays_as_it_is():
    guided = lambda x: ops.relu(x, rule="guided").sum()  # noqa: E731
    np.testing.assert_array_equal(jax.grad(by_hand(guided, rule="hand"))(-X[:4]), jax.grad(guided)(-X[:4]))
    (one,) = found(guided, X, rule="hand")
    assert not one.replaced and one.why == "ours already"
    (one,) = found(lambda x: ops.relu(x), X, rules={"relu": "deconvnet"})
    assert one.replaced
    kernel = jnp.ones((3, 3, 2, 4))
    assert not found(lambda x: ops.max_pool(ops.conv(x, kernel), 2), jnp.ones((1, 8, 8, 2)), rule="hand")


def test_the_report_tells_where_only_the_value_is_ours():
    def penalty(x):
        return jax.checkpoint(straight_through)(x).sum()

    (one,) = found(penalty, X, rules={"relu": "guided"})
    assert one.replaced and "the value alone" in one.why
    np.testing.assert_array_equal(jax.grad(by_hand(penalty, rules={"relu": "guided"}))(X), jnp.ones(5))


def test_by_hand_a_relu_keeps_its_gradient():
    """`jnp.maximum` gives half a gradient at 0, and `jnp.where` a number for NaN; ours do not."""
    for function in RECTIFIED.values():
        stock, ours = (
            (f(X), jax.grad(lambda x, f=f: f(x).sum())(X)) for f in (function, by_hand(function, rule="hand"))
        )
        jax.tree.map(np.testing.assert_array_equal, stock, ours)


def test_a_window_reduced_by_another_function_is_no_max_pool():
    x = -jnp.arange(16.0).reshape(1, 1, 4, 4)  # whose last cells are no maxima
    window = (1, 1, 2, 2)
    for function in (lambda a, b: lax.max(b, b), lambda a, b: lax.max(b, jnp.float32(3))):
        pool = lambda x, function=function: lax.reduce_window(x, -jnp.inf, function, window, window, "VALID")  # noqa: E731
        np.testing.assert_array_equal(by_hand(pool, rule="hand")(x), pool(x))


def test_a_rule_that_reads_a_traced_value_is_refused():
    def loss(slope):
        leaky = lambda x: jnp.where(x > 0, x, slope * x)  # noqa: E731
        return by_hand(lambda x: jax.jit(jax.nn.relu)(x).sum(), rules={"relu": leaky})(E)

    with pytest.raises(ValueError, match="a rule must read traced arrays only from its operands"):
        jax.grad(loss)(0.1)
