"""The kit proves what is right, finds what is wrong, and says where."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import check, geometry, ops

QUICK = ("differences", "reference", "adjoint", "value", "dtypes")


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def distinct(*shape):
    count = int(np.prod(shape))
    values = np.random.default_rng(1).permutation(count).reshape(shape) - count // 2
    return jnp.asarray(values * 0.05 + 0.02, jnp.float32)


def swapped(low_high):
    return tuple((high, low) for low, high in low_high)


CONV = partial(ops.conv, strides=2, padding=((1, 0), (0, 2)))
CONV_ARGS = (normal(4, 4, 3, 2), normal(3, 2, 2, 2))


def test_every_kind_of_proof_holds_for_a_right_rule():
    report = check.check_vjp(
        CONV, *CONV_ARGS, reference=partial(CONV, rule="autodiff"), multilinear=(0, 1), batched=(0,), name="conv"
    )
    assert report.passed, str(report)
    kinds = {finding.kind for finding in report.findings if not finding.skipped}
    assert {"adjoint identity", "second order", "vmap, nested", "shard_map", "explicit mesh", "pmap"} <= kinds
    assert len(kinds) == 6 + 12 + 5


@pytest.fixture(params=["flip dropped", "paddings swapped", "remainder put in front", "cotangents not summed"])
def mutation(request, monkeypatch):
    """Breaks the rule of convolution on purpose."""
    module, transposed = sys.modules["jaxcnn.ops.conv.rule"], geometry.transposed_window
    right = module._input_gradient
    if request.param == "flip dropped":
        wrong = lambda error, kernel, inputs, spec: right(error, kernel, inputs, spec._replace(flip=not spec.flip))  # noqa: E731
        monkeypatch.setattr(module, "_input_gradient", wrong)
    elif request.param == "paddings swapped":

        def mirrored(window, shape):
            back = transposed(window, shape)
            return back._replace(padding=swapped(back.padding))

        monkeypatch.setattr(geometry, "transposed_window", mirrored)
    elif request.param == "remainder put in front":

        def wrong(window, shape):
            back = transposed(window, shape)
            moved = [(lo + a, hi - a) for (lo, hi), a in zip(back.padding, window.remainder(tuple(shape)), strict=True)]
            return back._replace(padding=tuple(moved))

        monkeypatch.setattr(geometry, "transposed_window", wrong)
    else:
        monkeypatch.setattr(module, "match_cotangent", lambda cotangent, primal: cotangent.astype(primal.dtype))
    return request.param


def test_a_broken_convolution_is_found(mutation):
    arguments = (normal(4, 6, 6, 2), normal(3, 2, 2, 2))
    kinds = ("devices",) if mutation == "cotangents not summed" else ("differences", "adjoint")
    report = check.check_vjp(
        partial(ops.conv, strides=2, padding=((1, 0), (0, 1))),
        *arguments,
        multilinear=(0, 1),
        batched=(0,),
        kinds=kinds,
    )
    assert not report.passed
    if mutation == "cotangents not summed":
        assert "shard_map" in {finding.kind for finding in report.failures}


def with_rule(forward, backward):
    function = jax.custom_vjp(forward)
    function.defvjp(lambda *args: (forward(*args), args), backward)
    return function


@pytest.mark.parametrize(
    ("forward", "backward", "args", "reference"),
    [
        pytest.param(
            lambda x: ops.max_pool(x, 2),
            lambda saved, error: jax.vjp(lambda x: jnp.flip(ops.max_pool(jnp.flip(x, (1, 2)), 2), (1, 2)), *saved)[1](
                error
            ),
            (jnp.zeros((1, 4, 4, 1)),),
            lambda x: ops.max_pool(x, 2, rule="autodiff"),
            id="a tie goes to the last winner",
        ),
        pytest.param(
            lambda x: ops.max_pool(x, 2),
            lambda saved, error: jax.vjp(lambda x: ops.avg_pool(x, 2), *saved)[1](error),
            (distinct(1, 4, 4, 1),),
            None,
            id="the error is averaged instead of routed",
        ),
        pytest.param(
            lambda x, w: ops.conv(x, w, feature_group_count=2),
            lambda saved, error: (
                jax.vjp(lambda x: ops.conv(x, saved[1][..., ::-1], feature_group_count=2), saved[0])[1](error)[0],
                jnp.zeros_like(saved[1])
                .at[..., :2]
                .set(jax.vjp(lambda w: ops.conv(saved[0], w, feature_group_count=2), saved[1])[1](error)[0][..., :2]),
            ),
            (normal(1, 3, 3, 4), normal(2, 2, 2, 4)),
            None,
            id="a group is forgotten",
        ),
        pytest.param(
            lambda x: x * x,
            lambda saved, error: (error * 2 * saved[0] + jnp.zeros_like(error).at[0].set(1e-4),),
            (normal(30) * 100,),
            None,
            id="one small element is wrong beside large ones",
        ),
    ],
)
def test_broken_rules_are_found(forward, backward, args, reference):
    kinds = ("reference",) if reference else ("differences",)
    assert check.check_vjp(forward, *args, reference=reference, kinds=kinds).passed
    report = check.check_vjp(with_rule(forward, backward), *args, reference=reference, kinds=kinds)
    assert not report.passed


def test_the_message_shows_place_found_and_expected():
    wrong = with_rule(
        lambda x: jnp.sin(x), lambda saved, error: (error * jnp.cos(saved[0]) * jnp.array([1.0, 2.0], error.dtype),)
    )
    with pytest.raises(AssertionError, match=r"d/d\(argument 0\)\[1, 1\]: rule 2, expected 1\b"):
        check.assert_vjp(wrong, jnp.zeros(2), kinds=("differences",))


def test_an_exception_inside_a_rule_is_a_finding():
    def explode(saved, error):
        raise RuntimeError("boom")

    report = check.check_vjp(with_rule(jnp.sin, explode), jnp.ones(2), kinds=("differences", "transformations"))
    assert not report.passed and "RuntimeError: boom" in str(report)


def test_what_cannot_be_examined_is_refused():
    with pytest.raises(ValueError, match="`fun` must have a floating argument"):
        check.check_vjp(lambda x: x, jnp.arange(3))
    with pytest.raises(ValueError, match="`kinds` must be among .*; got magic"):
        check.check_vjp(jnp.sin, jnp.ones(3), kinds=("magic",))


X, FLAT = distinct(2, 5, 4, 2), distinct(4, 6)
INFERENCE = lambda x, s, b, m, v, rule="hand": ops.batch_norm(x, s, b, mean=m, variance=v, rule=rule)[0]  # noqa: E731
RULES = {
    "conv_transpose": (
        partial(ops.conv_transpose, strides=2, padding=1, remainder=1, transpose_kernel=True),
        (normal(1, 3, 2, 2), normal(3, 3, 2, 2)),
        (0, 1),
    ),
    "conv_transpose, groups": (
        partial(ops.conv_transpose, strides=2, feature_group_count=2, transpose_kernel=True, padding="VALID"),
        (normal(1, 3, 2, 4), normal(3, 2, 1, 4)),
        (0, 1),
    ),
    "separable_conv": (ops.separable_conv, (X, normal(3, 3, 1, 4), normal(1, 1, 4, 3)), (0, 1, 2)),
    "locally_connected": (partial(ops.locally_connected, strides=2), (X, normal(2, 1, 3, 3, 2, 2)), (0, 1)),
    "conv_relu_pool": (
        partial(ops.conv_relu_pool, pool=3, pool_strides=2, pool_padding="SAME"),
        (X, normal(3, 3, 2, 2), normal(2)),
        (),
    ),
    "relu_max_pool": (partial(ops.relu_max_pool, window_shape=3, strides=2, padding="SAME"), (X,), ()),
    "lp_pool": (partial(ops.lp_pool, window_shape=2, p=3.0, padding="SAME", strides=1), (X,), ()),
    "subsample": (partial(ops.subsample, strides=(2, 3)), (X,), (0,)),
    "global_avg_pool": (ops.global_avg_pool, (X,), (0,)),
    "global_max_pool": (ops.global_max_pool, (X,), ()),
    "adaptive_avg_pool": (partial(ops.adaptive_avg_pool, output_shape=(2, 3)), (X,), (0,)),
    "adaptive_max_pool": (partial(ops.adaptive_max_pool, output_shape=(2, 3)), (X,), ()),
    "blur_pool": (ops.blur_pool, (X,), (0,)),
    "blur_pool, circular": (partial(ops.blur_pool, size=4, border="wrap"), (X,), (0,)),
    "batch_norm": (ops.batch_norm, (FLAT, normal(6), normal(6)), ()),
    "batch_norm, inference": (INFERENCE, (FLAT, normal(6), normal(6), normal(6), normal(6) ** 2 + 0.1), ()),
    "local_response_norm": (partial(ops.local_response_norm, alpha=0.5), (FLAT,), ()),
    "prelu": (ops.prelu, (FLAT, normal(6)), ()),
    "leaky_relu": (ops.leaky_relu, (FLAT,), ()),
    "scaled_tanh": (ops.scaled_tanh, (FLAT,), ()),
    "sigmoid": (ops.sigmoid, (FLAT,), ()),
    "softmax": (ops.softmax, (FLAT,), ()),
    "unit_step": (ops.unit_step, (FLAT,), ()),
    "signum": (ops.signum, (FLAT,), ()),
    "dropout": (partial(ops.dropout, rate=0.4), (FLAT, jax.random.key(0)), (0,)),
    "mean_squared_error": (ops.mean_squared_error, (FLAT, normal(4, 6)), ()),
    "binary_cross_entropy": (ops.binary_cross_entropy, (FLAT, abs(normal(4, 6))), ()),
}


@pytest.mark.parametrize("name", RULES)
def test_the_rules_of_the_course_are_proven(name):
    function, args, multilinear = RULES[name]
    check.assert_vjp(
        function, *args, reference=partial(function, rule="autodiff"), multilinear=multilinear, kinds=QUICK, name=name
    )


def test_a_maximum_over_nothing_does_not_move():
    """A window wholly in padding gives -inf whatever the input: no difference, and not one of infinities."""
    report = check.check_vjp(lambda x: ops.max_pool(x, 1, padding=1), jnp.linspace(-1.0, 1.0, 18).reshape(1, 3, 3, 2))
    assert report.passed, str(report)


def test_unpooling_is_the_adjoint_of_pooling_at_the_same_switches():
    pooled, switches = ops.max_pool_with_switches(X, 3, strides=2, padding=1)
    unpool = partial(ops.max_unpool, output_shape=(5, 4), window_shape=3, strides=2, padding=1)
    back = jax.vjp(lambda x: ops.max_pool(x, 3, strides=2, padding=1), X)[1](pooled)[0]
    np.testing.assert_array_equal(unpool(pooled, switches), back)
    check.assert_vjp(unpool, pooled, switches, multilinear=(0,), kinds=QUICK)
    with pytest.raises(ValueError, match="`pooled` and `switches` must have shape"):
        ops.max_unpool(pooled, switches, (9, 9), 3, strides=2, padding=1)
    with pytest.raises(TypeError, match="`switches` must have dtype uint8; got int32"):
        unpool(pooled, switches.astype(jnp.int32))


def test_forward_mode_says_which_argument_to_pass():
    x, w = normal(1, 3, 3, 1), normal(2, 2, 1, 1)
    with pytest.raises(TypeError, match="for jvp, jacfwd or hessian pass rule='autodiff'"):
        jax.jvp(lambda x: ops.conv(x, w), (x,), (x,))
    tangent = jax.jvp(lambda x: ops.conv(x, w, rule="autodiff"), (x,), (x,))[1]
    np.testing.assert_allclose(tangent, ops.conv(x, w), rtol=1e-6)
    assert jax.hessian(lambda x: jnp.sum(ops.conv(x, w, rule="autodiff") ** 2))(x).shape == 2 * x.shape


def test_what_was_not_examined_is_not_proven():
    wrong = lambda x: x * x  # noqa: E731
    report = check.check_vjp(wrong, jnp.ones(3), kinds=("reference", "adjoint"))
    assert not report.passed and "NOT proven, nothing was examined" in str(report)
    assert "`reference` was not given" in str(report) and "`multilinear` was not given" in str(report)
    with pytest.raises(ValueError, match="`kinds` must be among .*; got none"):
        check.check_vjp(wrong, jnp.ones(3), kinds=())
