"""A data set's labels, by the names of classes."""

from unicodedata import normalize

import numpy as np
import pytest

from jaxcnn.data import Dataset


def some(labels, classes) -> Dataset:
    return Dataset(np.zeros((len(labels), 2, 2, 1), np.uint8), np.array(labels), classes, "some", "test")


def test_labels_follow_the_names_of_their_classes():
    found = some([0, 1, 1, 0], ("red", "zblue")).for_classes(("blue", "red", "zblue"))
    assert found.labels.tolist() == [1, 2, 2, 1] and found.labels.dtype == np.int32
    assert found.classes == ("blue", "red", "zblue")
    turned = some([0, 1, 2], ("a", "b", "c")).for_classes(("b", "c", "a"))
    assert turned.labels.tolist() == [2, 0, 1] and turned.classes == ("b", "c", "a")
    same = some([0, 1], ("a", "b"))
    assert same.for_classes(["a", "b"]) is same


def test_accents_are_found_in_one_sign_and_in_two():
    one, two = (tuple(normalize(form, name) for name in ("café", "naïve")) for form in ("NFC", "NFD"))
    assert one != two
    found = some([0, 1], two).for_classes(one)
    assert found.labels.tolist() == [0, 1] and found.classes == one
    turned = some([0, 1, 1], two[::-1]).for_classes(one)
    assert turned.labels.tolist() == [1, 0, 0] and turned.classes == one
    with pytest.raises(ValueError, match="must have unique names; got 'café' twice."):
        some([0, 1], (one[0], two[0])).for_classes(("tea", *one))


@pytest.mark.parametrize(
    ("labels", "classes", "wanted", "sentence"),
    [
        ([0], ("green", "red"), ("blue", "red"), "the classes of some must be among blue, red; got green."),
        ([0], tuple("abcdef"), ("a", "b"), "the classes of some must be among a, b; got c, d, e, f."),
        ([0], ("z",), tuple("abcdef"), "the classes of some must be among a, b, c and 3 more; got z."),
        ([0], ("a", "a"), ("a", "b"), "`classes` must have unique names; got 'a' twice."),
        ([0, 2], ("b", "a"), ("a", "b"), "`labels` of the test split of some must .*; got 2, and 1 of 2"),
    ],
)
def test_names_that_are_not_there_are_refused(labels, classes, wanted, sentence):
    with pytest.raises(ValueError, match=sentence):
        some(labels, classes).for_classes(wanted)


def test_gray_is_that_of_pillow(random):
    from PIL import Image

    images = random.integers(0, 256, (300, 5, 4, 3)).astype(np.uint8)
    found = Dataset(images, np.arange(300) % 2, ("a", "b"), "some", "test").in_gray()
    expected = [np.asarray(Image.fromarray(image).convert("L")) for image in images]
    np.testing.assert_array_equal(found.images[..., 0], expected)
    assert found.images.shape == (300, 5, 4, 1) and found.features == 1 and found.classes == ("a", "b")


def test_only_color_becomes_gray():
    with pytest.raises(ValueError, match=r"must be color pictures in memory, \(N, H, W, 3\) uint8; got uint8 of shape"):
        some([0, 1], ("a", "b")).in_gray()
