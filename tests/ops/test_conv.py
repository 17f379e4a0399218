"""Convolution: values and gradients against the oracle, autodiff, the full Jacobian, PyTorch and cs231n."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxcnn import geometry, ops
from jaxcnn.ops import arrays

KERNELS = [1, 3, (2, 3)]
STRIDES = [1, 2, (3, 2)]
PADDINGS = ["SAME", "VALID", "LECTURE", ((0, 1), (2, 0)), ((-1, 1), (1, -1))]
DILATIONS = [(1, 1), (2, 1), (1, 2)]
SIZES = (7, 8)


def problem(random, kernel, options, *, sizes=SIZES, channels=4, outputs=6, dtype=np.float64):
    """Inputs, kernel and error of one convolution, and its plain arguments for the oracle."""
    rank, groups = len(sizes), options.get("feature_group_count", 1)
    window = geometry.per_axis(kernel, rank, "kernel")
    x = random.normal(size=(2, *sizes, channels)).astype(dtype)
    w = random.normal(size=(*window, channels // groups, outputs)).astype(dtype)
    resolved = geometry.conv_window(
        x.shape,
        w.shape,
        strides=options.get("strides", 1),
        padding=options.get("padding", "SAME"),
        input_dilation=options.get("input_dilation", 1),
        kernel_dilation=options.get("kernel_dilation", 1),
        feature_group_count=groups,
    )
    error = random.normal(size=(2, *resolved.output_shape(sizes), outputs)).astype(dtype)
    plain = (resolved.strides, resolved.padding, resolved.input_dilation, resolved.dilation)
    return x, w, error, (*plain, groups, options.get("flip_kernel", False))


def value_and_gradients(x, w, error, **options):
    @jax.jit
    def run(x, w, error):
        y, back = jax.vjp(lambda x, w: ops.conv(x, w, **options), x, w)
        return y, *back(error)

    return run(x, w, error)


def by_both_rules(x, w, error, **options):
    """The same by hand and by autodiff, compiled at once."""

    @jax.jit
    def run(x, w, error):
        return [value_and_gradients(x, w, error, rule=rule, **options) for rule in ("hand", "autodiff")]

    return run(x, w, error)


def assert_same(found, expected, **tolerance):
    for name, a, b in zip(("output", "input gradient", "kernel gradient"), found, expected, strict=True):
        np.testing.assert_allclose(a, b, err_msg=name, **tolerance)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dilations", DILATIONS)
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("strides", STRIDES, ids=str)
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_hand_rule_equals_oracle_and_autodiff(random, float64, kernel, strides, padding, dilations, groups):
    options = {
        "strides": strides,
        "padding": padding,
        "input_dilation": dilations[0],
        "kernel_dilation": dilations[1],
        "feature_group_count": groups,
    }
    x, w, error, plain = problem(random, kernel, options)
    found, autodiff = by_both_rules(x, w, error, **options)
    assert_same(found, oracles.conv(x, w, error, *plain), atol=1e-12)
    assert_same(found, autodiff, atol=1e-12)


@pytest.mark.parametrize("method", ["lax", "im2col", "loops"])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": "VALID"},
        {"padding": "LECTURE", "strides": 2, "flip_kernel": True},
        {"padding": ((0, 1), (2, 0)), "strides": (3, 2), "feature_group_count": 2},
        {"padding": ((-1, 1), (1, -1)), "input_dilation": 2, "flip_kernel": True},
        {"padding": 2, "kernel_dilation": (2, 1), "strides": 2, "feature_group_count": 4, "flip_kernel": True},
        {"padding": "SAME", "input_dilation": (2, 3), "kernel_dilation": 2, "strides": 2},
    ],
    ids=str,
)
def test_every_method_equals_the_oracle(random, float64, method, options):
    x, w, error, plain = problem(random, (2, 3), options, outputs=8)
    found, autodiff = by_both_rules(x, w, error, method=method, **options)
    assert_same(found, oracles.conv(x, w, error, *plain), atol=1e-12)
    assert_same(found, autodiff, atol=1e-12)


@pytest.mark.parametrize("method", ["lax", "im2col", "loops"])
@pytest.mark.parametrize(("sizes", "kernel"), [((9,), 3), ((4, 5, 6), (2, 3, 2))])
def test_one_and_three_dimensions(random, float64, sizes, kernel, method):
    options = {"strides": 2, "padding": "SAME", "flip_kernel": True, "feature_group_count": 2}
    x, w, error, plain = problem(random, kernel, options, sizes=sizes)
    assert_same(
        value_and_gradients(x, w, error, method=method, **options), oracles.conv(x, w, error, *plain), atol=1e-12
    )


@pytest.mark.parametrize("size", range(3, 10))
@pytest.mark.parametrize("stride", [2, 3, 4, 5])
def test_every_remainder(random, float64, size, stride):
    options = {"strides": stride, "padding": "VALID"}
    x, w, error, plain = problem(random, 3, options, sizes=(size,))
    found = value_and_gradients(x, w, error, **options)
    assert_same(found, oracles.conv(x, w, error, *plain), atol=1e-12)
    reached = (found[0].shape[1] - 1) * stride + 3
    assert not np.any(found[1][:, reached:]), "cells that no window reached have gradient zero"


@pytest.mark.parametrize("method", ["lax", "im2col", "loops"])
@pytest.mark.parametrize(
    "options",
    [
        {"strides": 2, "padding": "SAME", "flip_kernel": True},
        {"strides": (1, 2), "padding": ((1, 0), (-1, 2)), "kernel_dilation": 2, "feature_group_count": 2},
    ],
    ids=str,
)
def test_full_jacobian(random, float64, method, options):
    x, w, _, _ = problem(random, (2, 3), options, sizes=(5, 6), channels=2, outputs=2)
    x = x[:1]
    of_x = jax.jit(lambda x: ops.conv(x, w, method=method, **options))
    of_w = jax.jit(lambda w: ops.conv(x, w, method=method, **options))
    for function, at in ((of_x, x), (of_w, w)):
        analytic = jax.jit(jax.jacrev(function))(at).reshape(-1, at.size)
        np.testing.assert_allclose(analytic, oracles.jacobian(function, at), atol=1e-8)


@pytest.mark.parametrize("method", ["lax", "im2col", "loops"])
def test_second_derivatives_equal_autodiff(random, float64, method):
    options = {"strides": 2, "padding": ((1, 0), (0, 2)), "feature_group_count": 2, "flip_kernel": True}
    x, w, error, _ = problem(random, (2, 3), options, sizes=(5, 4), outputs=4)

    def curvature(rule):
        def penalty(x, w):
            loss = lambda x, w: jnp.sum(jnp.tanh(ops.conv(x, w, method=method, rule=rule, **options)) * error)  # noqa: E731
            dx, dw = jax.grad(loss, argnums=(0, 1))(x, w)
            return jnp.sum(dx**2) + jnp.sum(dw**3)

        return jax.jit(jax.grad(penalty, argnums=(0, 1)))(x, w)

    for hand, autodiff in zip(curvature("hand"), curvature("autodiff"), strict=True):
        np.testing.assert_allclose(hand, autodiff, rtol=1e-9, atol=1e-10)


def test_a_kernel_of_many_taps(random):
    """As of signals; its gradient is not a product for each tap."""
    x, w = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((2, 400, 3), (300, 3, 4)))
    found, expected = (
        jax.grad(lambda x, w, rule=rule: jnp.sum(jnp.sin(ops.conv(x, w, rule=rule))), (0, 1))(x, w)
        for rule in ("hand", "autodiff")
    )
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-3), found, expected)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("options", [{}, {"strides": 2, "kernel_dilation": 2, "padding": ((1, 2),)}])
def test_one_axis_has_the_gradients_of_the_oracle(float64, random, flip, options):
    """In one axis the kernel gradient is a matrix product for each tap."""
    options = options | {"flip_kernel": flip}
    x, w, error, plain = problem(random, 3, options, sizes=(9,))
    expected = oracles.conv(x, w, error, *plain)
    for found, value in zip(value_and_gradients(x, w, error, **options), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-10, atol=1e-12)


def test_flip_is_the_convolution_of_signal_processing(random):
    x, w = random.normal(size=9).astype(np.float32), random.normal(size=4).astype(np.float32)
    y = ops.conv(x[None, :, None], w[:, None, None], padding=3, flip_kernel=True)
    np.testing.assert_allclose(y[0, :, 0], np.convolve(x, w), rtol=1e-5, atol=1e-6)


def test_cs231n_anchor(float64):
    x = np.linspace(-0.1, 0.5, 96).reshape(2, 3, 4, 4).transpose(0, 2, 3, 1)
    w = np.linspace(-0.2, 0.3, 144).reshape(3, 3, 4, 4).transpose(2, 3, 1, 0)
    y = np.asarray(ops.conv(x, w, strides=2, padding=1)) + np.linspace(-0.1, 0.2, 3)
    expected = [[-0.08759809, -0.10987781], [-0.18387192, -0.2109216]]
    np.testing.assert_allclose(y[0, :, :, 0], expected, atol=1e-8)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "padding", "dilation"), list(itertools.product([1, 2, 3], [0, 1, 2], [1, 2])))
def test_pytorch_agrees(random, stride, padding, dilation, groups):
    torch = pytest.importorskip("torch")
    options = {"strides": stride, "padding": padding, "kernel_dilation": dilation, "feature_group_count": groups}
    x, w, error, _ = problem(random, 3, options, dtype=np.float32)
    tx = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    tw = torch.tensor(w.transpose(3, 2, 0, 1), requires_grad=True)
    ty = torch.nn.functional.conv2d(tx, tw, stride=stride, padding=padding, dilation=dilation, groups=groups)
    ty.backward(torch.tensor(error.transpose(0, 3, 1, 2)))
    theirs = (
        ty.detach().numpy().transpose(0, 2, 3, 1),
        tx.grad.numpy().transpose(0, 2, 3, 1),
        tw.grad.numpy().transpose(2, 3, 1, 0),
    )
    assert_same(value_and_gradients(x, w, error, **options), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("preferred", [None, jnp.float32])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("method", ["lax", "im2col", "loops"])
def test_halves_sum_in_float32_and_cotangents_keep_their_dtype(random, method, dtype, preferred):
    x = jnp.full((1, 2, 2, 4096), 0.3, dtype)
    w = jnp.full((1, 1, 4096, 1), 1, dtype)
    y, back = jax.vjp(lambda x, w: ops.conv(x, w, method=method, preferred_element_type=preferred), x, w)
    assert y.dtype == (preferred or dtype)
    np.testing.assert_allclose(y.astype(np.float32), 4096 * float(x[0, 0, 0, 0]), rtol=float(jnp.finfo(dtype).eps))
    dx, dw = back(jnp.ones_like(y))
    assert dx.dtype == dw.dtype == dtype
    np.testing.assert_allclose(dx.astype(np.float32), 1)
    np.testing.assert_allclose(dw.astype(np.float32), 4 * float(x[0, 0, 0, 0]), rtol=float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize("method", ["lax", "im2col", "loops"])
@pytest.mark.parametrize("dtypes", [(jnp.float16, jnp.bfloat16), (jnp.bfloat16, jnp.float16)])
def test_two_kinds_of_halves_meet_in_float32(method, dtypes):
    """Neither holds the other: float16 has no 2**17, bfloat16 no 1 + 2**-9."""
    dtype, preferred = dtypes
    fine, large = 1 + 2**-9, 2**17
    of_kernel, of_error = (fine / 2**7, large) if dtype == jnp.float16 else (large, fine / 2**7)
    x, w = jnp.ones((1, 1, 1, 1), dtype), jnp.full((1, 1, 1, 1), of_kernel, dtype)
    y, back = jax.vjp(lambda x: ops.conv(x, w, method=method, preferred_element_type=preferred), x)
    (dx,) = back(jnp.full_like(y, of_error))
    assert y.dtype == preferred and dx.dtype == dtype
    np.testing.assert_array_equal(dx, jnp.asarray(2**10 * fine, dtype))


@pytest.mark.parametrize("method", ["lax", "im2col", "loops"])
@pytest.mark.parametrize("shape", [(0, 5, 5, 2), (2, 0, 5, 2), (0, 0, 0, 2)], ids=str)
def test_empty_inputs_have_empty_outputs_and_zero_gradients(method, shape):
    x, w = jnp.zeros(shape), jnp.ones((3, 3, 2, 4))
    y, back = jax.vjp(lambda x, w: ops.conv(x, w, padding="VALID", method=method), x, w)
    dx, dw = back(jnp.ones_like(y))
    assert y.size == 0 and dx.shape == shape
    np.testing.assert_array_equal(dw, 0)


@pytest.mark.parametrize(
    "dimension_numbers", [None, ("NCHW", "OIHW", "NCHW"), ("NHWC", "HWIO", "NHWC"), ("CWNH", "HIOW", "HNCW")]
)
@pytest.mark.parametrize(("feature_groups", "batch_groups"), [(1, 1), (2, 1), (1, 2)])
def test_conv_general_dilated_equals_lax(random, float64, dimension_numbers, feature_groups, batch_groups):
    lhs_spec, rhs_spec, _ = dimension_numbers or ("NCHW", "OIHW", "NCHW")
    sizes = {"N": 4, "C": 4, "H": 6, "W": 7}
    taps = {"O": 6, "I": 4 // feature_groups, "H": 2, "W": 3}
    x = random.normal(size=[sizes[letter] for letter in lhs_spec])
    w = random.normal(size=[taps[letter] for letter in rhs_spec])

    def run(function):
        def call(x, w):
            return function(
                x,
                w,
                (2, 1),
                [(1, 0), (-1, 2)],
                lhs_dilation=(1, 2),
                rhs_dilation=(2, 1),
                dimension_numbers=dimension_numbers,
                feature_group_count=feature_groups,
                batch_group_count=batch_groups,
            )

        y, back = jax.vjp(call, x, w)
        return y, *back(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    ours, laxs = jax.jit(lambda: [run(f) for f in (ops.conv_general_dilated, jax.lax.conv_general_dilated)])()
    assert_same(ours, laxs, atol=1e-12)


def test_conv_general_dilated_takes_names_of_paddings(random):
    x, w = random.normal(size=(1, 2, 6, 5)).astype(np.float32), random.normal(size=(3, 2, 3, 2)).astype(np.float32)
    for padding in ("SAME", "VALID", "SAME_LOWER"):
        ours = ops.conv_general_dilated(x, w, (2, 2), padding, rhs_dilation=(1, 2))
        np.testing.assert_allclose(
            ours, jax.lax.conv_general_dilated(x, w, (2, 2), padding, rhs_dilation=(1, 2)), rtol=1e-6
        )
    with pytest.raises(ValueError, match="`padding` must be integers where `lhs_dilation` is not 1; got 'SAME'"):
        ops.conv_general_dilated(x, w, (1, 1), "SAME", lhs_dilation=(2, 2))


@pytest.mark.parametrize(
    ("inputs", "kernel", "error", "message"),
    [
        (
            np.ones((1, 5, 5, 2), np.int32),
            np.ones((3, 3, 2, 1), np.int32),
            TypeError,
            "real floating; got int32 and int32",
        ),
        (np.ones((1, 5, 5, 2), np.complex64), np.ones((3, 3, 2, 1), np.complex64), TypeError, "got complex64"),
        (
            np.ones((1, 5, 5, 2), np.float32),
            np.ones((3, 3, 2, 1), np.float16),
            TypeError,
            "same dtype; got float32 and float16",
        ),
        (
            np.ones((5, 5), np.float32),
            np.ones((3, 3, 2, 1), np.float32),
            ValueError,
            r"1 to 3 spatial axes; got shape \(5, 5\)",
        ),
        (np.ones((1, 5, 5, 2), np.float32), np.ones((3, 3, 2), np.float32), ValueError, r"as many axes as `inputs`"),
        (np.ones((1, 5, 5, 2), np.float32), np.ones((3, 3, 3, 1), np.float32), ValueError, "2 inputs per group; got 3"),
        (
            np.ones((1, 2, 2, 2), np.float32),
            np.ones((3, 3, 2, 1), np.float32),
            ValueError,
            r"must fit .* got a window of \(3, 3\)",
        ),
    ],
)
def test_bad_arrays_get_one_sentence(inputs, kernel, error, message):
    with pytest.raises(error, match=message) as caught:
        ops.conv(inputs, kernel, padding="VALID")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strides": (0, 2)}, r"`strides` must be positive; got \(0, 2\)\."),
        ({"strides": (1, 2, 3)}, r"`strides` must have one entry per spatial axis, here 2; got \(1, 2, 3\)\."),
        ({"strides": 1.5}, r"`strides` must be an integer"),
        ({"padding": "SAMEE"}, r"`padding` must be one of SAME, VALID, LECTURE, or integers; got 'SAMEE'\."),
        ({"padding": ((1, 2, 3), (1, 1))}, r"`padding` must be a name"),
        ({"feature_group_count": 3}, r"`feature_group_count` must divide"),
        ({"feature_group_count": 0}, r"`feature_group_count` must be positive; got 0\."),
        ({"rule": "magic"}, r"`rule` must be one of 'hand', 'autodiff'; got 'magic'\."),
        ({"method": "fft"}, r"`method` must be one of .*; got 'fft'\."),
    ],
    ids=str,
)
def test_bad_options_get_one_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        ops.conv(np.ones((1, 5, 5, 2), np.float32), np.ones((3, 3, 2, 4), np.float32), **options)


def test_saved_inputs_are_kept_once(monkeypatch):
    """XLA on CPU would transpose them for the kernel gradient in the forward pass, and hold both until the backward."""

    def temporaries():
        def loss(kernels, x):
            for kernel in kernels:
                maps = ops.conv(x, kernel, method="jax")
                x = ops.batch_norm_relu(maps, jnp.ones(16), jnp.zeros(16), method="jax")[0]
            return jnp.sum(x**2)

        images = jax.ShapeDtypeStruct((8, 32, 32, 16), jnp.float32)
        kernels = [jax.ShapeDtypeStruct((3, 3, 16, 16), jnp.float32)] * 4
        compiled = jax.jit(lambda *args: jax.grad(loss)(*args)).lower(kernels, images).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    lean = temporaries()
    monkeypatch.setattr(arrays, "not_before", lambda array, event: array)
    assert lean < 0.7 * temporaries()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_waits_stays_as_it_is(random, dtype):
    array = jnp.asarray([[1, -0.0, jnp.nan], [jnp.inf, 2, 3]], dtype)
    for event in (1.0, jnp.nan, -jnp.inf):
        waited = jax.jit(arrays.not_before)(array, jnp.full((2, 2), event, dtype))
        assert waited.dtype == array.dtype
        np.testing.assert_array_equal(waited.astype(jnp.float32), array.astype(jnp.float32))


@pytest.mark.parametrize("sizes", [(7,), (5, 6)])
@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("padding", [(-1, 1), (-2, 1), (-1, 2), (4, 0)], ids=str)
def test_a_padding_that_crops_in_front_and_fills_behind(random, sizes, kernel, padding):
    """In float32 XLA on CPU reads beyond the inputs there; a gradient has such a padding where the value has (4, 0)."""
    options = {"padding": (*((0, 0),) * (len(sizes) - 1), padding)}
    x, w, error, plain = problem(random, kernel, options, sizes=sizes, channels=16, outputs=16)
    expected = oracles.conv(x, w, error, *plain)
    found = value_and_gradients(*(a.astype(np.float32) for a in (x, w, error)), method="lax", **options)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
