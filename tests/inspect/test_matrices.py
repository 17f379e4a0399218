"""The matrices that are drawn are the layers: W x is `conv`, its transpose is the rule; G likewise for the pools."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import inspect, ops

CONVOLUTIONS = {
    "plain": ((5, 6, 2), (3, 3, 2, 4), {}),
    "valid": ((5, 6, 1), (3, 2, 1, 1), {"padding": "VALID"}),
    "lecture": ((5, 4, 1), (2, 4, 1, 2), {"padding": "LECTURE"}),
    "stride with remainder": ((7, 8, 2), (3, 3, 2, 2), {"strides": (2, 3), "padding": 1}),
    "dilated kernel": ((7, 7, 1), (3, 2, 1, 2), {"kernel_dilation": (2, 3), "padding": ((2, 1), (0, 3))}),
    "dilated input": ((3, 4, 2), (3, 3, 2, 1), {"input_dilation": (2, 3), "padding": 2}),
    "everything": (
        (5, 6, 2),
        (2, 3, 2, 3),
        {"strides": 2, "input_dilation": 2, "kernel_dilation": (3, 2), "padding": ((3, 2), (1, 4))},
    ),
    "cropped": ((7, 7, 1), (3, 3, 1, 2), {"padding": ((-1, 1), (-2, -1)), "input_dilation": (1, 2)}),
    "groups": ((4, 5, 6), (3, 3, 2, 9), {"feature_group_count": 3}),
    "depthwise": ((4, 4, 3), (2, 2, 1, 6), {"feature_group_count": 3, "strides": 2}),
    "flipped": ((5, 5, 2), (3, 3, 2, 2), {"flip_kernel": True, "strides": 2}),
    "one axis": ((9, 2), (4, 2, 3), {"strides": 2, "padding": ((1, 2),), "kernel_dilation": 2}),
    "three axes": ((3, 4, 3, 2), (2, 3, 2, 2, 2), {"strides": (1, 2, 1)}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_matrix_is_the_convolution_and_its_transpose_the_rule(random, float64, name):
    shape, window, options = CONVOLUTIONS[name]
    x, kernel = jnp.asarray(random.normal(size=shape)), jnp.asarray(random.normal(size=window))
    matrix = inspect.convolution_matrix(kernel, shape, **options)
    y, pull = jax.vjp(lambda x: ops.conv(x[None], kernel, **options)[0], x)
    g = random.normal(size=y.shape)
    np.testing.assert_allclose(matrix @ np.ravel(x), np.ravel(y), atol=1e-12)
    np.testing.assert_allclose(matrix.T @ g.ravel(), np.ravel(pull(jnp.asarray(g))[0]), atol=1e-12)


@pytest.mark.parametrize("name", ["plain", "everything", "cropped", "one axis"])
def test_im2col_times_the_kernel_is_the_matrix_times_the_input(random, float64, name):
    shape, window, options = CONVOLUTIONS[name]
    x, kernel = random.normal(size=shape), random.normal(size=window)
    product = inspect.im2col(x, window[:-2], **options) @ kernel.reshape(-1, window[-1])
    matrix = inspect.convolution_matrix(kernel, shape, **options)
    np.testing.assert_allclose(product.ravel(), matrix @ x.ravel(), atol=1e-12)


def test_weights_are_shared_along_the_diagonals():
    matrix = inspect.convolution_matrix(np.array([1.0, 2, 3]).reshape(3, 1, 1), (4, 1)).toarray()
    np.testing.assert_array_equal(matrix, [[2, 3, 0, 0], [1, 2, 3, 0], [0, 1, 2, 3], [0, 0, 1, 2]])


def test_taps_of_zero_are_entries_and_padding_is_none():
    assert inspect.convolution_matrix(np.zeros((3, 1, 1)), (4, 1)).nnz == 10


POOLS = {
    "plain": ((4, 6, 2), 2, {}),
    "overlapping": ((7, 7, 3), 3, {"strides": 2}),
    "padded": ((5, 5, 1), (2, 3), {"strides": (1, 2), "padding": "SAME"}),
    "dilated": ((6, 7, 2), 2, {"strides": 1, "window_dilation": (2, 3)}),
    "far padding": ((3, 3, 1), 2, {"strides": 2, "padding": 2}),
    "one axis": ((9, 2), 3, {"strides": 2}),
    "three axes": ((4, 4, 2, 2), 2, {}),
}


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("name", POOLS)
def test_the_pool_s_matrix_is_the_pool_and_its_transpose_the_rule(random, float64, name, kind):
    shape, window, options = POOLS[name]
    x = jnp.asarray(random.normal(size=shape))
    matrix = inspect.pool_matrix(x, window, kind=kind, **options)
    pool = {"max": ops.max_pool, "average": ops.avg_pool}[kind]
    y, pull = jax.vjp(lambda x: pool(x[None], window, **options)[0], x)
    g = random.normal(size=y.shape)
    np.testing.assert_allclose(matrix @ np.ravel(x), np.where(np.isfinite(y), y, 0).ravel(), atol=1e-12)
    np.testing.assert_allclose(matrix.T @ g.ravel(), np.ravel(pull(jnp.asarray(g))[0]), atol=1e-12)


def test_ties_go_to_the_first_and_each_window_has_one_winner():
    matrix = inspect.pool_matrix(np.ones((4, 4, 1), np.float32), 2).toarray()
    assert [int(row.argmax()) for row in matrix] == [0, 2, 8, 10]
    np.testing.assert_array_equal(matrix.sum(1), 1)


def test_an_unknown_pool_is_refused():
    with pytest.raises(ValueError, match="`kind` must be 'max' or 'average'; got 'sum'"):
        inspect.pool_matrix(np.ones((4, 4, 1)), 2, kind="sum")
