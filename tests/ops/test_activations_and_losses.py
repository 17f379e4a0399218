"""Activations and losses against autodiff, the full Jacobian, the oracle and PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxcnn import ops

ACTIVATIONS = [ops.relu, ops.tanh]


@pytest.mark.parametrize("op", ACTIVATIONS)
def test_activations_equal_autodiff_and_the_jacobian(random, float64, op):
    x = random.normal(size=(3, 5)) * 3
    error = random.normal(size=x.shape)
    for rule in ("hand", "autodiff"):
        y, back = jax.vjp(lambda x, rule=rule: op(x, rule=rule), x)
        np.testing.assert_allclose(y, {ops.relu: lambda x: np.maximum(x, 0), ops.tanh: np.tanh}[op](x), rtol=1e-15)
        np.testing.assert_allclose(back(error)[0], error * np.diag(oracles.jacobian(op, x)).reshape(x.shape), atol=1e-8)
    second = jax.vmap(jax.grad(jax.grad(lambda x: op(x) ** 2)))(x.ravel())
    expected = jax.vmap(jax.grad(jax.grad(lambda x: op(x, rule="autodiff") ** 2)))(x.ravel())
    np.testing.assert_allclose(second, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("op", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_activations_keep_their_dtype(op, dtype):
    y, back = jax.vjp(op, jnp.array([-1.0, 0.5], dtype))
    assert y.dtype == dtype and back(y)[0].dtype == dtype


def test_relu_at_its_kink_and_at_nan():
    gradient = jax.vmap(jax.grad(ops.relu))(jnp.array([-1.0, -0.0, 0.0, 1.0, jnp.inf, -jnp.inf, jnp.nan]))
    np.testing.assert_array_equal(gradient, [0, 0, 0, 1, 1, 0, 0])
    assert np.isnan(ops.relu(jnp.nan))


@pytest.mark.parametrize("op", ACTIVATIONS)
def test_activations_refuse_other_dtypes_and_rules(op):
    with pytest.raises(TypeError, match="`x` must be real floating; got int32."):
        op(jnp.arange(3))
    with pytest.raises(ValueError, match="`rule` must be one of .*; got 'x'"):
        op(jnp.ones(3), rule="x")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_integers_equals_pytorch_and_autodiff(random, smoothing):
    torch = pytest.importorskip("torch")
    logits, labels = random.normal(size=(6, 5)).astype(np.float32) * 4, np.array([0, 4, 2, 2, 1, 3])
    error = random.normal(size=6).astype(np.float32)
    t = torch.tensor(logits, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(t, torch.tensor(labels), reduction="none", label_smoothing=smoothing)
    theirs.backward(torch.tensor(error))
    for rule in ("hand", "autodiff"):
        loss, back = jax.vjp(
            lambda z, rule=rule: ops.softmax_cross_entropy(z, labels, label_smoothing=smoothing, rule=rule), logits
        )
        np.testing.assert_allclose(loss, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(back(jnp.asarray(error))[0], t.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_cross_entropy_of_probabilities_equals_the_oracle(random, float64):
    logits, targets, error = random.normal(size=(4, 5)) * 3, random.uniform(size=(4, 5)), random.normal(size=4)
    loss, back = jax.vjp(ops.softmax_cross_entropy, logits, targets)
    expected = oracles.softmax_cross_entropy(logits, targets, error)
    for a, b in zip((loss, *back(error)), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    jacobian = oracles.jacobian(jax.jit(lambda z: ops.softmax_cross_entropy(z, targets)), logits)
    analytic = jax.jacrev(ops.softmax_cross_entropy)(logits, targets).reshape(4, -1)
    np.testing.assert_allclose(analytic, jacobian, atol=1e-8)


def test_cross_entropy_second_derivatives_equal_autodiff(random, float64):
    logits, targets = random.normal(size=(3, 4)), random.uniform(size=(3, 4))

    def curvature(rule):
        def penalty(z, t):
            gradient = jax.grad(lambda z, t: ops.softmax_cross_entropy(z, t, rule=rule).sum(), argnums=(0, 1))(z, t)
            return sum(jnp.sum(g**3) for g in gradient)

        return jax.grad(penalty, argnums=(0, 1))(logits, targets)

    for hand, autodiff in zip(curvature("hand"), curvature("autodiff"), strict=True):
        np.testing.assert_allclose(hand, autodiff, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_cross_entropy_is_stable_at_large_logits(dtype):
    logits = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], dtype)
    loss, back = jax.vjp(lambda z: ops.softmax_cross_entropy(z, np.array([0, 0])), logits)
    np.testing.assert_allclose(loss.astype(np.float32), [0, 2e4], rtol=0.01)
    gradient = back(jnp.ones_like(loss))[0]
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(gradient.astype(np.float32), [[0, 0, 0], [-1, 1, 0]])


def test_cross_entropy_of_a_class_ruled_out_by_an_infinite_logit():
    logits = jnp.array([[0.0, -jnp.inf, 0.0]])
    loss, back = jax.vjp(lambda z: ops.softmax_cross_entropy(z, np.array([0])), logits)
    np.testing.assert_allclose(loss, [np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(back(jnp.ones(1))[0], [[-0.5, 0, 0.5]], rtol=1e-6)


def test_cross_entropy_of_unlabeled_examples_is_zero():
    loss, back = jax.vjp(lambda z: ops.softmax_cross_entropy(z, np.array([-1, 1])), jnp.ones((2, 3)))
    assert loss[0] == 0 and not np.any(back(jnp.ones(2))[0][0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_unlabeled_example_has_no_part_whatever_its_logits_are(bad):
    logits = jnp.array([[1.0, bad, 2.0], [1.0, bad, 2.0], [0.0, 1.0, 2.0]])
    loss, back = jax.vjp(lambda z: ops.softmax_cross_entropy(z, np.array([-1, 0, 1])), logits)
    assert loss[0] == 0 and np.isnan(loss[1]) and np.isfinite(loss[2])
    (gradient,) = back(jnp.ones(3))
    assert not np.any(gradient[0]) and np.isfinite(gradient[2]).all()
    assert np.isnan(gradient[1]).any(), "what is labeled tells that it is no number"


@pytest.mark.parametrize(
    ("labels", "smoothing", "message"),
    [
        (np.zeros((3,), np.int32), 0.0, r"`labels` must have shape \(2,\), for logits \(2, 5\); got \(3,\)"),
        (np.zeros((2, 4), np.float32), 0.0, r"`labels` must have shape \(2, 5\)"),
        (np.zeros(2, np.int32), 1.5, r"`label_smoothing` must be in \[0, 1\]; got 1.5"),
    ],
)
def test_cross_entropy_refuses_what_does_not_fit(labels, smoothing, message):
    with pytest.raises(ValueError, match=message):
        ops.softmax_cross_entropy(np.zeros((2, 5), np.float32), labels, label_smoothing=smoothing)


@pytest.mark.parametrize("rule", ["hand", "autodiff"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy_weighs_classes_and_ignores_a_label(random, float64, rule, smoothing):
    """By sums over the examples that count; the mean is over their labels' weights."""
    logits, weights, labels = random.normal(size=(6, 3)), np.array([0.5, 2.0, 0.0]), np.array([0, 1, -100, 2, 1, 0])
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    losses = [
        0.0 if y == -100 else -(weights * log_p[i]) @ ((1 - smoothing) * np.eye(3)[y] + smoothing / 3)
        for i, y in enumerate(labels)
    ]
    options = {"class_weights": weights, "ignore_index": -100, "label_smoothing": smoothing, "rule": rule}
    np.testing.assert_allclose(ops.softmax_cross_entropy(logits, labels, **options), losses, rtol=1e-12)
    expected = {"sum": sum(losses), "mean": sum(losses) / sum(weights[y] for y in labels if y != -100)}
    for reduction, value in expected.items():
        found = ops.softmax_cross_entropy(logits, labels, reduction=reduction, **options)
        np.testing.assert_allclose(found, value, rtol=1e-12)


def test_a_mean_of_probabilities_is_over_the_examples(random):
    logits, targets = (jnp.asarray(random.uniform(size=(2, 4, 3)), jnp.float32) for _ in range(2))
    weights = jnp.array([1.0, 2.0, 3.0])
    losses = ops.softmax_cross_entropy(logits, targets, class_weights=weights)
    mean = ops.softmax_cross_entropy(logits, targets, class_weights=weights, reduction="mean")
    np.testing.assert_allclose(losses, ops.softmax_cross_entropy(logits, targets * weights[None, None]), rtol=1e-6)
    np.testing.assert_allclose(mean, losses.mean(), rtol=1e-6)


def test_a_label_that_the_dtype_cannot_hold_ignores_nothing():
    logits, labels = jnp.ones((2, 3)), np.array([0, 2], np.uint8)
    found = ops.softmax_cross_entropy(logits, labels, ignore_index=-100, reduction="mean")
    np.testing.assert_allclose(found, np.log(3), rtol=1e-6)
    assert np.isnan(ops.softmax_cross_entropy(logits, jnp.full(2, -100), ignore_index=-100, reduction="mean"))
    for largest in (np.array([0, 255], np.uint8), np.array([0, 127], np.int8)):
        found = ops.softmax_cross_entropy(logits, largest, ignore_index=int(largest[1]), label_smoothing=0.3)
        np.testing.assert_allclose(found, [np.log(3), 0], rtol=1e-6)


@pytest.mark.parametrize("rule", ["hand", "autodiff"])
def test_binary_cross_entropy_weighs_the_positive_part(random, float64, rule):
    z, t, w = random.normal(size=(4, 3)), random.uniform(size=(4, 3)), np.array([0.5, 2.0, 0.0])
    p = 1 / (1 + np.exp(-z))
    loss, back = jax.vjp(lambda z, t, w: ops.binary_cross_entropy(z, t, pos_weight=w, rule=rule), z, t, w)
    np.testing.assert_allclose(loss, -w * t * np.log(p) - (1 - t) * np.log(1 - p), rtol=1e-12)
    e = random.normal(size=(4, 3))
    expected = e * ((1 - t) * p - w * t * (1 - p)), e * (np.log(1 - p) - w * np.log(p)), -(e * t * np.log(p)).sum(0)
    for found, gradient in zip(back(e), expected, strict=True):
        np.testing.assert_allclose(found, gradient, rtol=1e-10, atol=1e-14)


def test_a_positive_weight_of_what_infinite_logits_decide():
    z, t = jnp.array([jnp.inf, jnp.inf, -jnp.inf, -jnp.inf]), jnp.array([1.0, 0.0, 0.0, 1.0])
    loss, back = jax.vjp(lambda z, w: ops.binary_cross_entropy(z, t, pos_weight=w), z, jnp.full(4, 3.0))
    np.testing.assert_array_equal(loss, [0, jnp.inf, 0, jnp.inf])
    of_logits, of_weights = back(jnp.ones(4))
    np.testing.assert_array_equal(of_logits, [0, 1, 0, -3])
    np.testing.assert_array_equal(of_weights, [0, 0, 0, jnp.inf])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda z, y: ops.softmax_cross_entropy(z, y, reduction="avg"),
            ValueError,
            r"`reduction` must be one of .*'avg'",
        ),
        (
            lambda z, y: ops.softmax_cross_entropy(z, y, class_weights=np.ones(2, np.float32)),
            ValueError,
            r"`class_weights` must have shape \(3,\), one entry per class; got \(2,\)\.",
        ),
        (lambda z, y: ops.softmax_cross_entropy(z, y, class_weights=np.ones(3, int)), TypeError, "real floating"),
        (
            lambda z, y: ops.softmax_cross_entropy(z, z, ignore_index=1),
            ValueError,
            "`ignore_index` needs integer labels; got 1 with labels of float32.",
        ),
        (
            lambda z, y: ops.binary_cross_entropy(z, z, pos_weight=np.ones(2, np.float32)),
            ValueError,
            r"`pos_weight` must broadcast to the shape of `logits`, \(2, 3\); got \(2,\)\.",
        ),
        (
            lambda z, y: ops.binary_cross_entropy(z, z, pos_weight=np.ones((1, 1, 3), np.float32)),
            ValueError,
            r"`pos_weight` must broadcast to the shape of `logits`, \(2, 3\); got \(1, 1, 3\)\.",
        ),
    ],
)
def test_losses_refuse_weights_that_do_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call(np.zeros((2, 3), np.float32), np.array([0, 1]))


KINK = np.array([-2.0, -0.0, 0.0, 0.5, 3.0], np.float32)


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        ("standard", lambda x, error: (x > 0) * error),
        ("hand", lambda x, error: (x > 0) * error),
        ("guided", lambda x, error: (x > 0) * (error > 0) * error),
        ("deconvnet", lambda x, error: (error > 0) * error),
    ],
)
def test_relu_s_rules_let_pass_what_they_should(rule, passes):
    x, error = (a.ravel() for a in np.meshgrid(KINK, np.array([-1.5, 0.0, 2.0], np.float32)))
    value, back = jax.vjp(lambda x: ops.relu(x, rule=rule), x)
    np.testing.assert_array_equal(value, np.maximum(x, 0))
    np.testing.assert_array_equal(back(error)[0], passes(x, error))


def test_a_rule_of_relu_is_no_global_state():
    """What is compiled with one rule never answers for another."""
    x, error = jnp.asarray(KINK), jnp.full(5, -1.0)

    def gradient(rule):
        return jax.jit(lambda x, e: jax.vjp(lambda x: ops.relu(x, rule=rule), x)[1](e)[0])(x, error)

    np.testing.assert_array_equal(gradient("standard"), [0, 0, 0, -1, -1])
    np.testing.assert_array_equal(gradient("guided"), np.zeros(5))
    np.testing.assert_array_equal(gradient("standard"), [0, 0, 0, -1, -1])


def test_labels_that_are_no_classes_are_refused():
    with pytest.raises(TypeError, match="`labels` must be integers, or real floating probabilities; got bool"):
        ops.softmax_cross_entropy(jnp.ones((2, 2)), jnp.array([True, False]))
    with pytest.raises(ValueError, match=r"`logits` must have a last axis, of classes; got shape \(\)"):
        ops.softmax_cross_entropy(jnp.float32(1.0), jnp.int32(0))


@pytest.mark.parametrize("rule", ["hand", "autodiff"])
def test_targets_of_zero_have_the_gradient_of_the_others(rule):
    logits, targets = jnp.array([[1.0, 2.0, -jnp.inf]]), jnp.array([[0.0, 1.0, 0.0]])
    slope = jax.grad(lambda t: ops.softmax_cross_entropy(logits, t, rule=rule).sum())(targets)
    np.testing.assert_allclose(slope[0, :2], -jax.nn.log_softmax(logits)[0, :2], rtol=1e-6)
    assert np.isfinite(ops.softmax_cross_entropy(logits, targets, rule=rule)).all()


@pytest.mark.parametrize("rule", ["hand", "autodiff"])
@pytest.mark.parametrize("error", [0.0, 1.0, -2.0])
def test_a_target_of_zero_counts_for_nothing_at_an_infinite_logit(rule, error):
    logits, targets = jnp.array([[1.0, 2.0, -jnp.inf]]), jnp.array([[0.25, 0.75, 0.0]])
    loss, back = jax.vjp(lambda z, t: ops.softmax_cross_entropy(z, t, rule=rule), logits, targets)
    log_p = np.append(jax.nn.log_softmax(logits[0, :2]), 0)
    np.testing.assert_allclose(loss, [-log_p[:2] @ [0.25, 0.75]], rtol=1e-6)
    dz, dt = back(jnp.full(1, error))
    np.testing.assert_allclose(dz[0], error * (np.append(jax.nn.softmax(logits[0, :2]), 0) - targets[0]), atol=1e-6)
    np.testing.assert_allclose(dt[0], -error * log_p, rtol=1e-6)


@pytest.mark.parametrize("rule", ["hand", "autodiff"])
@pytest.mark.parametrize("error", [0.0, 1.0, -2.0])
def test_who_is_infinitely_sure_and_right_loses_nothing(rule, error):
    logits, targets = jnp.array([jnp.inf, -jnp.inf, jnp.inf, -jnp.inf]), jnp.array([1.0, 0.0, 0.0, 0.25])
    loss, back = jax.vjp(lambda z, t: ops.binary_cross_entropy(z, t, rule=rule), logits, targets)
    np.testing.assert_array_equal(loss, [0, 0, np.inf, np.inf])
    dz, dt = back(jnp.full(4, error))
    np.testing.assert_array_equal(dz, error * np.array([0, 0, 1, -0.25]))
    np.testing.assert_array_equal(dt[:2], [0, 0])


POINTS = [-np.inf, -3e38, -100.0, -1.0, -1e-40, 0.0, 1.0, 100.0, 3e38, np.inf, np.nan]
ERRORS = [0.0, 1.0, -2.0, np.nan]
SHARES = [0.0, 0.25, 1.0, np.nan]


def rows(*columns):
    """Every combination, one a row; as arrays of each column."""
    return [np.array(c, np.float32) for c in np.broadcast_arrays(*np.meshgrid(*columns, indexing="ij"))]


def extremes(name) -> tuple[np.ndarray, ...]:
    """Operands at which something is infinite or no number."""
    if name == "softmax":
        return (np.stack(rows(POINTS, POINTS, [0.0, -np.inf]), -1).reshape(-1, 3),)
    if name == "softmax_cross_entropy":
        first, second, share, other = (column.ravel() for column in rows(POINTS, [0.0, -np.inf], SHARES, SHARES))
        return np.stack([first, second], -1), np.stack([share, other], -1)
    if name in ("binary_cross_entropy", "mean_squared_error"):
        pairs = rows([p for p in POINTS if p], SHARES)  # at logit 0 autodiff has kinks
        return tuple(column.ravel()[:, None] for column in pairs)
    return tuple(column.ravel()[:, None] for column in rows(POINTS, SHARES)) if name == "prelu" else (rows(POINTS)[0],)


@pytest.mark.parametrize(
    "name",
    [
        *("relu", "leaky_relu", "prelu", "sigmoid", "tanh", "scaled_tanh", "softmax", "unit_step", "signum"),
        *("mean_squared_error", "binary_cross_entropy", "softmax_cross_entropy"),
    ],
)
def test_by_hand_nothing_is_lost_at_infinities_that_jax_keeps(name):
    """Where the gradient of JAX is a number, that by hand is the same one, whatever the operands and the error."""
    op = getattr(ops, name)

    @functools.partial(jax.jit, static_argnums=0)
    def all_of(rule, error, *args):
        def pulled(*row):
            value, back = jax.vjp(lambda *row: op(*row, rule=rule), *row)
            return value, back(jnp.full_like(value, error))

        return jax.vmap(pulled)(*args)

    args = extremes(name)
    if name == "prelu":
        args = args[0], args[1][:, 0]
    for error in ERRORS:
        found, expected = (jax.tree.leaves(all_of(rule, jnp.float32(error), *args)) for rule in ("hand", "autodiff"))
        np.testing.assert_array_equal(np.isnan(found[0]), np.isnan(expected[0]))
        for ours, theirs in zip(found, expected, strict=True):
            told = ~np.isnan(theirs)
            np.testing.assert_allclose(ours[told], theirs[told], rtol=1e-5, atol=1e-6)


def test_a_positive_weight_may_be_a_number_of_python():
    half = jnp.asarray([0.5, -1.0], jnp.float16)
    found = ops.binary_cross_entropy(half, jnp.ones_like(half), pos_weight=2.0)
    assert found.dtype == ops.binary_cross_entropy(half, jnp.ones_like(half)).dtype
    np.testing.assert_allclose(found, 2 * ops.binary_cross_entropy(half, jnp.ones_like(half)), rtol=2e-3)
