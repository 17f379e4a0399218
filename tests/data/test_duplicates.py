"""Near duplicates: copies are found after what people do to pictures, and pictures that only resemble are not."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxcnn import data


def photographs(count, side=48, seed=0):
    """Smooth random pictures in color, none like another."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((side, side), 3)) for one in coarse])


def compressed(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "jpeg", quality=40)
    return np.asarray(Image.open(buffer))


CHANGES = {
    "none": lambda picture: picture,
    "compressed": compressed,
    "resized": lambda picture: np.asarray(Image.fromarray(picture).resize((30, 30)).resize((48, 48))),
    "less contrast": lambda picture: (0.6 * picture + 60).astype(np.uint8),
    "gray": lambda picture: np.repeat(picture.mean(-1, keepdims=True).astype(np.uint8), 3, -1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(change):
    first, second = photographs(200), photographs(60, seed=1)
    second[7] = CHANGES[change](first[150])
    assert data.near_duplicates(first, second).tolist() == [[150, 7]]


def test_pairs_within_one_set_come_once():
    pictures = photographs(50)
    pictures[40] = compressed(pictures[3])
    pictures[41] = pictures[3]
    assert data.near_duplicates(pictures).tolist() == [[3, 40], [3, 41], [40, 41]]


def test_flat_pictures_and_empty_sets_have_none():
    flat = np.full((9, 12, 12, 1), 200, np.uint8)
    assert data.near_duplicates(flat).shape == (0, 2)
    assert data.near_duplicates(flat[:0], flat).shape == (0, 2)
    assert data.near_duplicates(photographs(1), photographs(1)).tolist() == [[0, 0]]


def test_pictures_smaller_than_a_thumbnail_are_compared():
    pictures = np.random.default_rng(0).integers(0, 256, (40, 5, 3, 1)).astype(np.uint8)
    assert data.near_duplicates(pictures, pictures[11:13]).tolist() == [[11, 0], [12, 1]]


def test_handwritten_digits_have_hardly_any():
    """They resemble each other, 8x8 pixels of few writers, and are not the same."""
    train, test = (data.load("digits", split).images for split in ("train", "test"))
    assert len(data.near_duplicates(train, test)) < 20
    assert len(data.near_duplicates(test)) < 3


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (np.zeros((2, 4, 4, 1)), None, "must be pictures, .* got float64"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros((2, 4, 5, 1), np.uint8), r"of \(4, 4, 1\), as `first`"),
    ],
)
def test_other_arrays_are_refused(first, second, sentence):
    with pytest.raises(ValueError, match=sentence):
        data.near_duplicates(first, second)
