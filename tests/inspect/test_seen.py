"""What a network sees: neighbors, components, exciting images, mistakes and trust, by their definitions."""

import numpy as np
import pytest
from flax import nnx

from jaxcnn import inspect
from jaxcnn.inspect.stage_gradients import features_at, last_maps, stage_shapes
from jaxcnn.models.resnet import CifarResNet


def test_features_come_in_batches_that_cut_what_fills_them(random, small):
    model, pictures = small(), random.normal(size=(7, 8, 8, 1)).astype(np.float32)
    expected = model(pictures, capture=True)[1]["conv2"]
    np.testing.assert_allclose(features_at(model, pictures, ["conv2"], batch_size=3)["conv2"], expected, atol=1e-6)


def test_the_most_exciting_examples_and_what_the_unit_sees_of_them(random, small):
    model, pictures = small(), random.normal(size=(20, 10, 10, 1)).astype(np.float32)
    found = inspect.most_exciting(model, pictures, "conv1", 1, 4)
    both = inspect.most_exciting(model, pictures, "conv1", [0, 1], 4)
    assert len(both) == 2
    for one, several in zip(found, both[1], strict=True):
        np.testing.assert_array_equal(one, several)
    maps = np.asarray(model(pictures, capture=True)[1]["conv1"])[..., 1]
    np.testing.assert_array_equal(found.indices, np.argsort(-maps.max((1, 2)), kind="stable")[:4])
    for index, value, cell, box in zip(*found, strict=True):
        assert value == pytest.approx(maps[index].max()) == pytest.approx(maps[index][tuple(cell)])
        np.testing.assert_array_equal(box, [[c, c + 2] for c in cell], "a 3x3 window without padding")
        outside = np.zeros_like(pictures[index])
        (top, bottom), (left, right) = box
        outside[top : bottom + 1, left : right + 1] = pictures[index, top : bottom + 1, left : right + 1]
        assert np.asarray(model(outside[None], capture=True)[1]["conv1"])[0, *cell, 1] == pytest.approx(value)


def test_a_dead_unit_is_said_to_see_everything(small):
    found = inspect.most_exciting(small(), np.full((2, 8, 8, 1), -1e3, np.float32), "conv1", 0, 1)
    if found.values[0] == 0:
        np.testing.assert_array_equal(found.boxes, [[[0, 7], [0, 7]]])
    other = inspect.most_exciting(small(), np.full((2, 8, 8, 1), 1e3, np.float32), "conv1", 0, 1)
    assert min(found.values[0], other.values[0]) == 0, "the one or the other is dead"


def test_made_images_excite_more_than_any_example_within_their_bounds(random, small):
    model, pictures = small(), random.uniform(-1, 1, size=(64, 8, 8, 1)).astype(np.float32)
    made, values = inspect.maximize(model, [0, 3], (8, 8, 1), steps=40, bounds=(-1, 1))
    assert made.shape == (2, 8, 8, 1) and np.abs(made).max() <= 1
    np.testing.assert_allclose(values, np.asarray(model(made))[[0, 1], [0, 3]], atol=1e-6)
    assert (values > np.asarray(model(pictures))[:, [0, 3]].max(0)).all()
    again, _ = inspect.maximize(model, [0, 3], (8, 8, 1), steps=40, bounds=(-1, 1))
    np.testing.assert_array_equal(made, again)


@pytest.mark.parametrize("shape", [(), (1,), (8, 8, 1)])
def test_bounds_broadcast_against_the_image(shape, small):
    bounds = np.full(shape, -0.5, np.float32), np.full(shape, 0.25, np.float32)
    made, _ = inspect.maximize(small(), 2, (8, 8, 1), steps=3, bounds=bounds)
    expected, _ = inspect.maximize(small(), 2, (8, 8, 1), steps=3, bounds=(-0.5, 0.25))
    np.testing.assert_array_equal(made, expected, strict=True)
    assert made.min() >= -0.5 and made.max() <= 0.25


def test_a_map_counts_by_its_mean(small):
    model = small()
    made, values = inspect.maximize(model, 2, (8, 8, 1), at="conv1", steps=3)
    expected = np.asarray(model(made, capture=True)[1]["conv1"])[0, ..., 2].mean()
    assert values[0] == pytest.approx(expected, abs=1e-6)


def test_units_and_stages_that_are_not_there_are_refused(small):
    pictures = np.zeros((2, 8, 8, 1), np.float32)
    with pytest.raises(ValueError, match="`units` must be from 0 to 2; got 3"):
        inspect.most_exciting(small(), pictures, "conv1", 3, 1)
    with pytest.raises(ValueError, match="`units` must be from 0 to 4; got 5"):
        inspect.maximize(small(), [0, 5], (8, 8, 1))
    with pytest.raises(ValueError, match="`at` must be one of conv1, .*; got 'conv7'"):
        inspect.maximize(small(), 0, (8, 8, 1), at="conv7")
    with pytest.raises(ValueError, match="`count` must be from 1 to 2"):
        inspect.most_exciting(small(), pictures, "conv1", 0, 3)


def test_mistakes_come_with_the_most_confident_first():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
    np.testing.assert_array_equal(inspect.misclassified(probabilities, [1, 1, 0, 1]), [0, 2, 3])
    assert not len(inspect.misclassified(probabilities, [0, 1, 1, 0]))


def test_calibration_compares_confidence_and_accuracy_in_each_bin():
    """By hand: 0.55 wrong; 0.75 and 0.75 of which one is right; 1.0 right."""
    probabilities = np.array([[0.55, 0.45], [0.25, 0.75], [0.75, 0.25], [1.0, 0.0]])
    found = inspect.calibration(probabilities, [1, 1, 1, 0], bins=4)
    np.testing.assert_array_equal(found.counts, [0, 0, 3, 1])
    np.testing.assert_allclose(found.confidence, [np.nan, np.nan, 2.05 / 3, 1])
    np.testing.assert_allclose(found.accuracy, [np.nan, np.nan, 1 / 3, 1])
    assert found.error == pytest.approx(0.75 * (2.05 - 1) / 3)


def test_a_network_that_is_as_sure_as_right_has_no_error(random):
    shares = random.uniform(0.5, 1, 200_000)
    labels = (random.uniform(size=shares.size) > shares).astype(int)
    assert inspect.calibration(np.stack([shares, 1 - shares], 1), labels).error < 0.005
    for labels, bins, message in (([0], 10, "`labels` must be one for each of 2"), ([0, 1], 0, "`bins` must be")):
        with pytest.raises(ValueError, match=message):
            inspect.calibration(np.eye(2), labels, bins)


def test_the_last_maps_are_those_of_the_last_stage_not_of_the_last_name():
    model = nnx.eval_shape(lambda: CifarResNet(depth=62, widths=(2, 2, 2), rngs=nnx.Rngs(0)))
    assert last_maps(stage_shapes(model, np.zeros((1, 32, 32, 3), np.float32)), 4) == "conv4_10"
