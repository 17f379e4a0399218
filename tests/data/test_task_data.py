"""The data sets of other tasks: faces, scenes of digits, rotated digits."""

import numpy as np
import pytest

from jaxcnn import data
from jaxcnn.data.scenes import make_scene


def test_faces_are_halves_in_splits_without_overlap():
    pytest.importorskip("skimage")
    splits = [data.load("faces", split) for split in data.splits("faces")]
    assert [len(part.labels) for part in splits] == [120, 40, 40]
    assert all(part.labels.mean() == 0.5 and part.task == "binary" for part in splits)
    everything = np.concatenate([part.images for part in splits])
    assert everything.shape == (200, 25, 25, 1) and everything.dtype == np.uint8
    from skimage.data import lfw_subset

    known = {np.rint(255 * picture).astype(np.uint8).tobytes() for picture in lfw_subset()[:100]}
    for part in splits:
        assert all(
            (image.tobytes() in known) == bool(label) for image, label in zip(part.images, part.labels, strict=True)
        )
    faces = [image.tobytes() for part in splits for image in part.images[part.labels == 1]]
    assert len(set(faces)) == len(known)


def test_a_scene_depends_on_its_number_and_seed_only():
    first, again, other, seeded = (
        make_scene("test", 3),
        make_scene("test", 3),
        make_scene("test", 4),
        make_scene("test", 3, seed=1),
    )
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.picture, other.picture) and not np.array_equal(first.picture, seeded.picture)


def test_what_a_scene_shows_is_in_its_mask_and_labels():
    for number in range(20):
        scene = make_scene("validation", number)
        assert scene.picture.shape == (48, 48, 1) and scene.picture.dtype == np.uint8
        shown = set(np.unique(scene.mask)) - {0}
        assert shown == {digit + 1 for digit in np.flatnonzero(scene.present)}
        assert 1 <= len(shown) <= 4
        ink, ground = scene.picture[..., 0][scene.mask > 0], scene.picture[..., 0][scene.mask == 0]
        assert ink.mean() > ground.mean() + 40


def test_scenes_are_labeled_with_the_digits_in_them():
    test = data.load("scenes", "test")
    assert test.labels.shape == (500, 10) and test.task == "multi_label"
    np.testing.assert_array_equal(test.labels[7], make_scene("test", 7).present)


def test_rotated_digits_turn_back_to_digits():
    from PIL import Image

    test, digits = data.load("rotated_digits", "test"), data.load("digits", "test")
    assert test.labels.shape == (len(test.images), 1) and test.classes == ("angle",) and test.task == "regression"
    assert np.abs(test.labels).max() <= 45 and test.labels.std() > 20
    for number in range(0, 80, 8):
        turned = Image.fromarray(test.images[number, ..., 0])
        back = np.asarray(turned.rotate(-float(test.labels[number, 0]), Image.Resampling.BICUBIC), float)
        away = np.asarray(turned.rotate(float(test.labels[number, 0]), Image.Resampling.BICUBIC), float)
        original = digits.images[number // 4, ..., 0].astype(float)
        if abs(test.labels[number, 0]) > 10:
            assert np.abs(back - original).mean() < np.abs(away - original).mean()


def test_examples_are_counted_by_class_or_label():
    digits, scenes, turned = (data.load(name, "test") for name in ("digits", "scenes", "rotated_digits"))
    assert digits.counts().sum() == 180
    np.testing.assert_array_equal(digits.members(7), np.flatnonzero(digits.labels == 7))
    np.testing.assert_array_equal(scenes.counts(), scenes.labels.sum(0))
    np.testing.assert_array_equal(scenes.members(3), np.flatnonzero(scenes.labels[:, 3]))
    for method in (turned.counts, lambda: turned.members(0)):
        with pytest.raises(ValueError, match="must have classes or labels; its targets are real numbers"):
            method()
