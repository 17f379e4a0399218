"""Numbers that nobody means: sizes of 0, strides beyond the input, amounts that no memory holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import geometry, ops


def value_and_gradients(function, *arrays):
    value, back = jax.vjp(function, *arrays)
    return value, back(jnp.ones_like(value))


@pytest.fixture
def little_memory():
    """What asks for much more than it needs fails here, instead of on a smaller machine."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (48 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("pool", [ops.max_pool, ops.avg_pool, ops.lp_pool, ops.relu_max_pool])
@pytest.mark.parametrize("strides", [10**6, (10**9, 3)])
def test_a_stride_beyond_the_input_takes_one_window(little_memory, random, pool, strides):
    x = jnp.asarray(random.normal(size=(2, 5, 4, 3)), jnp.float32)
    (value, (gradient,)) = value_and_gradients(lambda x: pool(x, 2, strides=strides), x)
    near = tuple(min(s, 5) for s in (strides if isinstance(strides, tuple) else (strides, strides)))
    expected, (expected_gradient,) = value_and_gradients(lambda x: pool(x, 2, strides=near), x)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(gradient, expected_gradient)


def test_unpooling_after_a_stride_beyond_the_input(little_memory, random):
    x = jnp.asarray(random.normal(size=(1, 5, 5, 2)), jnp.float32)
    pooled, switches = ops.max_pool_with_switches(x, 2, strides=10**6)
    back = ops.max_unpool(pooled, switches, 5, 2, strides=10**6)
    np.testing.assert_array_equal(np.sort(back[back != 0]), np.sort(pooled.ravel()))


@pytest.mark.parametrize("method", ["auto", "lax", "im2col", "loops"])
def test_a_convolution_of_a_stride_beyond_the_input(little_memory, random, method):
    x, w = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((1, 5, 5, 2), (3, 3, 2, 3)))
    value, gradients = value_and_gradients(lambda x, w: ops.conv(x, w, strides=10**6, method=method), x, w)
    assert value.shape == (1, 1, 1, 3)
    assert [g.shape for g in gradients] == [x.shape, w.shape]


PICTURE, KERNEL = np.ones((1, 2, 2, 2), np.float32), np.ones((1, 1, 2, 2), np.float32)
HUGE = [2**31, 2**40, 2**70]


@pytest.mark.parametrize("amount", HUGE)
@pytest.mark.parametrize("name", ["strides", "padding", "kernel_dilation", "input_dilation"])
def test_a_convolution_refuses_what_nothing_holds(amount, name):
    x, w = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 4))
    named = {"kernel_dilation": "window_dilation"}.get(name, name)
    with pytest.raises(ValueError, match=rf"^`{named}` must be below 2\*\*31; got {amount}\.$"):
        ops.conv(x, w, **{name: amount})


@pytest.mark.parametrize("amount", HUGE)
def test_pools_refuse_what_nothing_holds(amount):
    x = jnp.ones((1, 4, 4, 2))
    for pool in (ops.max_pool, ops.avg_pool, ops.lp_pool):
        for options in ({"strides": amount}, {"padding": amount}, {"window_dilation": amount}):
            with pytest.raises(ValueError, match=r"must be below 2\*\*31"):
                pool(x, 2, **options)
    with pytest.raises(ValueError, match=r"^`output_shape` must be below 2\*\*31"):
        ops.adaptive_avg_pool(x, amount)


def test_a_padded_input_beyond_any_memory_is_refused():
    x, w = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 4))
    sentence = r"^the padded input must have fewer than 2\*\*40 cells; got \(2000004, 2000004\)\.$"
    with pytest.raises(ValueError, match=sentence):
        ops.conv(x, w, padding=10**6)
    with pytest.raises(ValueError, match=sentence):
        ops.conv_general_dilated(x, w, (1, 1), ((10**6,) * 2,) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@pytest.mark.parametrize("method", ["auto", "lax", "im2col", "loops"])
@pytest.mark.parametrize(
    ("inputs", "kernel"),
    [
        ((0, 4, 4, 3), (3, 3, 3, 4)),
        ((1, 0, 4, 3), (3, 3, 3, 4)),
        ((1, 4, 4, 0), (3, 3, 0, 4)),
        ((1, 4, 4, 3), (3, 3, 3, 0)),
    ],
)
def test_a_convolution_of_nothing(inputs, kernel, method):
    x, w = jnp.ones(inputs), jnp.ones(kernel)
    value, gradients = value_and_gradients(lambda x, w: ops.conv(x, w, method=method), x, w)
    np.testing.assert_array_equal(value, np.zeros((*inputs[:-1], kernel[-1])))
    for gradient, array in zip(gradients, (x, w), strict=True):
        np.testing.assert_array_equal(gradient, np.zeros(array.shape))


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (1, 0, 4, 3), (1, 4, 4, 0)])
def test_subsampling_of_nothing(shape):
    value, (gradient,) = value_and_gradients(lambda x: ops.subsample(x, 2), jnp.ones(shape))
    assert value.shape == (shape[0], *(-(-n // 2) for n in shape[1:-1]), shape[-1])
    assert gradient.shape == shape


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (1, 4, 4, 0)])
def test_blurring_of_nothing(shape):
    value, (gradient,) = value_and_gradients(ops.blur_pool, jnp.ones(shape))
    assert value.shape == (shape[0], 2, 2, shape[-1])
    assert gradient.shape == shape


def test_a_window_that_does_not_fit_gives_what_lax_gives():
    x, w = jnp.ones((1, 2, 2, 3)), jnp.ones((3, 3, 3, 4))
    value, gradients = value_and_gradients(
        lambda x, w: ops.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")), x, w
    )
    assert value.shape == (1, 0, 0, 4)
    assert not any(np.any(gradient) for gradient in gradients)


@pytest.mark.parametrize("value", [2.5, "3", None])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda v: ops.local_response_norm(PICTURE, size=v), "size"),
        (lambda v: ops.filters.box(v), "size"),
        (lambda v: ops.filters.gabor_bank(size=v), "size"),
        (lambda v: ops.filters.gabor_bank(orientations=v), "orientations"),
        (
            lambda v: ops.conv(PICTURE, KERNEL, feature_group_count=v),
            "feature_group_count",
        ),
        (lambda v: geometry.integer(v, "count"), "count"),
    ],
)
def test_a_count_that_is_no_integer(call, name, value):
    with pytest.raises(ValueError, match=rf"^`{name}` must be an integer; got {value!r}\.$"):
        call(value)
