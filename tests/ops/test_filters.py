"""The classic filters: what each answers to, and how they enter a convolution."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import ops
from jaxcnn.ops import filters


def answer(kernel, picture):
    """What a filter gives at every cell of a picture whose window fits."""
    kernel = filters.as_kernel(kernel)
    return np.asarray(ops.conv(jnp.asarray(picture, jnp.float32)[None, ..., None], kernel, padding="VALID")[0, ..., 0])


@pytest.fixture
def picture(random):
    return random.normal(size=(9, 11))


FLAT = np.full((7, 7), 3.0)
TO_THE_RIGHT = np.tile(np.arange(7.0), (7, 1))  # grows by 1 from column to column
STEP = np.where(np.arange(8) < 4, 0.0, 1.0) * np.ones((8, 1))  # a vertical edge between columns 3 and 4


@pytest.mark.parametrize("size", [1, 3, 5])
def test_identity_leaves_the_picture(picture, size):
    border = size // 2
    inner = picture[border : 9 - border, border : 11 - border]
    np.testing.assert_allclose(answer(filters.identity(size), picture), inner, rtol=1e-6)


@pytest.mark.parametrize("kind", ["horizontal", "vertical", "diagonal", "cross", "laplacian", "all"])
def test_edges_are_nothing_on_constant_fields(kind):
    np.testing.assert_allclose(answer(filters.edges(kind), FLAT), 0, atol=1e-5)


def test_edges_answer_to_their_direction():
    assert np.abs(answer(filters.edges("vertical"), STEP)).max() == 3
    assert np.abs(answer(filters.edges("horizontal"), STEP)).max() == 0
    assert np.abs(answer(filters.edges("horizontal"), STEP.T)).max() == 3
    assert np.abs(answer(filters.edges("vertical"), STEP.T)).max() == 0
    assert answer(filters.edges("cross"), STEP).max() == 1 and answer(filters.edges("all"), STEP).max() == 3


def test_sharpen_adds_the_edges(picture):
    expected = picture[1:-1, 1:-1] + answer(filters.edges("cross"), picture)
    np.testing.assert_allclose(answer(filters.sharpen(), picture), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_box_is_the_mean(picture, size):
    windows = np.lib.stride_tricks.sliding_window_view(picture, (size, size))
    np.testing.assert_allclose(answer(filters.box(size), picture), windows.mean((2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("size", "sigma"), [(1, None), (4, None), (5, 1.0), (21, 3.0)])
def test_gaussian_is_a_normal_density_that_sums_to_one(size, sigma):
    kernel = filters.gaussian(size, sigma)
    assert kernel.shape == (size, size)
    np.testing.assert_allclose(kernel.sum(), 1)
    np.testing.assert_allclose(kernel, kernel.T)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1])
    if size > 2:
        middle = size // 2
        expected = np.exp((middle - (size - 1) / 2) ** 2 / -(2 * (sigma or size / 6) ** 2)) / np.exp(
            ((size - 1) / 2) ** 2 / -(2 * (sigma or size / 6) ** 2)
        )
        np.testing.assert_allclose(kernel[middle, middle] / kernel[middle, 0], expected)


def test_gaussian_is_separable_and_wider_with_sigma():
    kernel = filters.gaussian(7, 1.5)
    row = kernel.sum(0)
    np.testing.assert_allclose(kernel, np.outer(row, row))
    assert filters.gaussian(21, 3.0).max() < filters.gaussian(21, 2.0).max()


def test_the_binomial_blur_approximates_a_gaussian():
    np.testing.assert_array_equal(16 * filters.binomial(3), [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    assert filters.binomial(1).tolist() == [[1.0]]
    np.testing.assert_allclose(filters.binomial(9), filters.gaussian(9, np.sqrt(8) / 2), atol=6e-3)
    offsets = np.arange(6) - 2.5
    row = filters.binomial(6).sum(0)
    np.testing.assert_allclose([row.sum(), row @ offsets**2], [1, 5 / 4])


def test_edges_have_the_numbers_of_lectures():
    assert filters.edges("diagonal").tolist() == [[1, 0, -1], [0, 0, 0], [-1, 0, 1]]
    assert filters.edges("laplacian").tolist() == [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    assert np.abs(answer(filters.edges("diagonal"), STEP)).max() == 0
    corner = STEP * STEP.T
    assert np.abs(answer(filters.edges("diagonal"), corner)).max() == 1
    bowl = TO_THE_RIGHT**2 + TO_THE_RIGHT.T**2
    np.testing.assert_allclose(answer(filters.edges("laplacian"), bowl), 4)


def test_sobel_measures_the_slope():
    np.testing.assert_allclose(answer(filters.sobel(1), TO_THE_RIGHT), 8)
    np.testing.assert_allclose(answer(filters.sobel(0), TO_THE_RIGHT), 0)
    np.testing.assert_allclose(answer(filters.sobel(0), TO_THE_RIGHT.T), 8)


def test_gabor_filters_answer_most_to_the_wave_of_their_direction():
    bank = filters.gabor_bank(21, 8, 6.0)
    assert bank.shape == (8, 21, 21)
    np.testing.assert_allclose(bank.mean((1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(np.square(bank).sum((1, 2)), 1)
    down, right = np.mgrid[:21, :21] - 10
    for number in range(8):
        angle = np.pi * number / 8
        wave = np.cos(2 * np.pi * (right * np.cos(angle) + down * np.sin(angle)) / 6.0)
        assert np.argmax((bank * wave).sum((1, 2))) == number


@pytest.mark.parametrize("channels", [1, 3])
def test_a_bank_as_kernel_filters_every_channel(random, channels):
    bank = filters.gabor_bank(3, 4, 4.0)
    pictures = random.normal(size=(2, 6, 7, channels)).astype(np.float32)
    kernel = filters.as_kernel(bank, channels)
    assert kernel.shape == (3, 3, 1, 4 * channels) and kernel.dtype == jnp.float32
    found = ops.conv(pictures, kernel, padding="VALID", feature_group_count=channels)
    for c in range(channels):
        for f in range(4):
            expected = [answer(bank[f], picture[..., c]) for picture in pictures]
            np.testing.assert_allclose(found[..., 4 * c + f], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: filters.identity(4), "`size` must be positive and odd; got 4."),
        (lambda: filters.edges("slanted"), "`kind` must be one of 'horizontal', .*; got 'slanted'."),
        (lambda: filters.box(0), "`size` must be positive; got 0."),
        (lambda: filters.gaussian(3, -1.0), "`sigma` must be positive; got -1.0."),
        (lambda: filters.binomial(0), "`size` must be positive; got 0."),
        (lambda: filters.sobel(2), "`axis` must be 0 or 1; got 2."),
        (lambda: filters.gabor_bank(11, 0), "`orientations` must be positive; got 0."),
        (lambda: filters.gabor_bank(11, 4, -2.0), "`wavelength` must be positive; got -2.0."),
        (lambda: filters.as_kernel(np.ones(3)), r"`filters` must be .* positive; got \(3,\) and 1."),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
