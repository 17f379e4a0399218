"""Max-pooling by lax's own arguments, in every layout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcnn import ops

CASES = {
    "NCHW": ((2, 3, 7, 8), (1, 1, 3, 2), (1, 1, 2, 2), "VALID", None, None),
    "NHWC, padded": ((2, 7, 8, 3), (1, 3, 3, 1), (1, 2, 1, 1), ((0, 0), (1, 2), (0, 1), (0, 0)), None, None),
    "CHW, as under vmap": ((3, 7, 8), (1, 2, 2), (1, 2, 2), "VALID", None, None),
    "NCH, dilated": ((2, 3, 17), (1, 1, 3), (1, 1, 2), "SAME", None, (1, 1, 2)),
    "NCDHW": ((2, 3, 5, 6, 4), (1, 1, 2, 2, 2), (1, 1, 2, 1, 2), "SAME", None, None),
    "between two others": ((5, 2, 6, 3), (2, 1, 3, 1), (1, 1, 2, 1), "VALID", None, None),
    "cropped": ((2, 3, 9), (1, 1, 2), (1, 1, 2), ((0, 0), (0, 0), (-1, -2)), None, None),
    "along all of four axes": ((4, 5, 4, 6), (2, 2, 2, 2), (1, 2, 1, 2), "VALID", None, None),
    "dilated operand": ((2, 4, 3), (1, 3, 1), (1, 1, 1), "VALID", (1, 2, 1), None),
    "strides alone": ((2, 3, 7), (1, 1, 1), (1, 1, 3), "VALID", None, None),
    "nothing to do": ((2, 3), (1, 1), None, "VALID", None, None),
    "no room": ((2, 3, 2), (1, 1, 4), (1, 1, 1), "VALID", None, None),
}


def stock(x, window, strides, padding, base, dilation):
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides or (1,) * x.ndim, padding, base, dilation)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("mapped", [False, True])
def test_equals_lax(float64, case, mapped):
    shape, *options = CASES[case]
    random = np.random.default_rng(0)
    x = jnp.asarray(random.permutation(2 * np.prod(shape)).reshape(2, *shape), jnp.float64)  # no ties
    error = random.normal(size=jax.eval_shape(lambda x: stock(x, *options), x[0]).shape)

    def both(pool):
        def function(x):
            outputs, back = jax.vjp(lambda x: pool(x, *options), x)
            return outputs, back(jnp.asarray(error))[0]

        return jax.jit(jax.vmap(function) if mapped else function)(x if mapped else x[0])

    if case not in ("NCH, dilated", "cropped"):
        expected = both(stock)
    else:  # of which JAX has no gradient
        expected = (jax.vmap(lambda x: stock(x, *options))(x) if mapped else stock(x[0], *options)), None
    for ours, theirs in zip(both(ops.reduce_window_max), expected, strict=True):
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12, strict=True)


def test_it_is_max_pool_in_another_layout():
    x = jnp.asarray(np.random.default_rng(0).integers(0, 3, (2, 6, 7, 3)), jnp.float32)  # many ties
    first = jnp.moveaxis(x, -1, 1)

    def channels_first(x):
        return ops.reduce_window_max(x, (1, 1, 3, 3), (1, 1, 2, 2), ((0, 0), (0, 0), (1, 1), (1, 0)))

    ours = jax.value_and_grad(lambda x: jnp.sum(jnp.sin(channels_first(x))))(first)
    theirs = jax.value_and_grad(lambda x: jnp.sum(jnp.sin(ops.max_pool(x, 3, strides=2, padding=((1, 1), (1, 0))))))(x)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)
    np.testing.assert_allclose(jnp.moveaxis(ours[1], 1, -1), theirs[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((1, 2),), r"`window_dimensions` must have one entry per axis, here 3; got \(1, 2\)"),
        (((1, 2, 0),), r"`window_dimensions` must be positive"),
        (((1, 2, 2), (1, 1, 0)), "`window_strides` must be positive"),
        (((1, 2, 2), None, ((0, 0),)), "`padding` must be"),
    ],
)
def test_what_it_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        ops.reduce_window_max(jnp.ones((2, 3, 4)), *arguments)
    with pytest.raises(TypeError, match="`operand` must be real floating; got int32"):
        ops.reduce_window_max(jnp.ones((2, 3, 4), jnp.int32), (1, 2, 2))
