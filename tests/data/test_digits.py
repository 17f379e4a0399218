"""The embedded digits: sizes, content and order of the splits never change."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxcnn import data

LABELS_SHA256 = {
    "train": "e9881c871c16d83db12848bbb08ae218c487975ec7d9ea8def331bbba36f9d88",
    "validation": "18abbe89f90213d0a143c36c0f74f9faa320ff0bd8dfc9e72635114e54c0c5bf",
    "test": "7cc4c34f7af6b28882c5e19f120cf34ea99584c7fd523be42bac2e6558497974",
}
SPLITS = {"train": 1438, "validation": 179, "test": 180}


@pytest.fixture(scope="module")
def digits() -> dict[str, data.Dataset]:
    return {split: data.load("digits", split) for split in SPLITS}


def bicubic(size: int, larger: int) -> np.ndarray:
    """Resamples `size` cells to `larger`: Keys's cubic with a = -1/2, cut and renormalized at borders."""
    centers = (np.arange(larger)[:, None] + 0.5) * size / larger
    x = np.abs(np.arange(size) + 0.5 - centers)
    weights = np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * (x**3 - 5 * x**2 + 8 * x - 4), 0))
    return weights / weights.sum(1, keepdims=True)


def upscaled() -> tuple[np.ndarray, np.ndarray]:
    """The digits in MNIST's form, by matrix products alone: `(1797, 28, 28)` unrounded, and their labels."""
    raw, labels = load_digits(return_X_y=True)
    matrix = bicubic(8, 20)
    larger = np.einsum("ai,nij,bj->nab", matrix, raw.reshape(-1, 8, 8) * 255 / 16, matrix)
    return np.pad(np.clip(larger, 0, 255), [(0, 0), (4, 4), (4, 4)]), labels


@pytest.mark.parametrize("split", SPLITS)
def test_shape_type_and_names(digits, split):
    found = digits[split]
    assert found.images.shape == (SPLITS[split], 28, 28, 1) and found.images.dtype == np.uint8
    assert found.labels.shape == (SPLITS[split],) and found.labels.dtype == np.int32
    assert (found.name, found.split, found.classes) == ("digits", split, tuple("0123456789"))


@pytest.mark.parametrize("split", SPLITS)
def test_the_order_of_labels_is_frozen(digits, split):
    assert hashlib.sha256(digits[split].labels.astype(np.uint8).tobytes()).hexdigest() == LABELS_SHA256[split]


def test_the_splits_are_disjoint_and_hold_every_digit_upscaled(digits):
    expected, labels = upscaled()
    found = np.concatenate([part.images[..., 0] for part in digits.values()]).astype(np.float64)
    answers = np.concatenate([part.labels for part in digits.values()])
    a, b = found.reshape(len(found), -1), expected.reshape(len(expected), -1)
    distance = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    origin = distance.argmin(1)
    assert sorted(origin) == list(range(1797))
    np.testing.assert_array_equal(answers, labels[origin])
    # half a level of rounding, and the float32 of the resampling
    assert np.abs(found - expected[origin]).max() < 0.501


def test_the_digit_lies_in_the_middle_20_of_28(digits):
    images = digits["train"].images
    assert not images[:, :4].any() and not images[:, -4:].any()
    assert not images[:, :, :4].any() and not images[:, :, -4:].any()
    assert images[:, 4:-4, 4:-4].any((1, 2, 3)).all()


def test_each_split_has_every_class(digits):
    for part in digits.values():
        assert np.bincount(part.labels, minlength=10).min() >= 10


def test_loading_twice_gives_the_same_and_shares_no_memory(digits):
    again = data.load("digits", "test")
    np.testing.assert_array_equal(again.images, digits["test"].images)
    assert not np.shares_memory(again.images, digits["test"].images)


def test_take_gives_the_first_examples(digits):
    few = digits["train"].take(5)
    np.testing.assert_array_equal(few.images, digits["train"].images[:5])
    np.testing.assert_array_equal(few.labels, digits["train"].labels[:5])
    assert few.split == "train"
