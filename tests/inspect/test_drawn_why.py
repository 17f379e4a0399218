"""The figures of why and what can be read, and show the numbers that they are given."""

import numpy as np
import pytest
from drawings import whole

from jaxcnn import inspect
from jaxcnn.inspect import plots
from jaxcnn.inspect.plots.attribution.attributions import tinted


@pytest.fixture
def pictures(random):
    return random.integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)


def test_attributions_stand_beside_their_pictures(random, pictures):
    maps = {"integrated gradients": random.normal(size=(2, 8, 8, 3)), "Grad-CAM": random.uniform(size=(2, 4, 4))}
    figure = whole(plots.attributions(pictures[:2], maps, ["a dog", "a cat"], title="why"))
    assert [axes.get_title() for axes in figure.axes[:3]] == ["picture", "integrated\ngradients", "Grad-CAM"]
    np.testing.assert_allclose(figure.axes[3].images[0].get_array(), pictures[1] / 255)
    np.testing.assert_array_equal(figure.axes[5].images[0].get_array(), tinted(maps["Grad-CAM"][1]))


def test_zero_is_the_middle_of_a_map_with_a_sign_and_the_start_of_one_without():
    signed, unsigned = tinted(np.array([[-1.0, 0, 1]])), tinted(np.array([[0, 0.5, 1.0]]))
    lightness = signed.mean(-1)[0]
    assert lightness[0] < lightness[1] < lightness[2]
    np.testing.assert_allclose(unsigned[0, :, 0], [0, 0.5, 1], atol=0.01)
    np.testing.assert_allclose(tinted(np.zeros((2, 2))), 0)


@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_randomization_has_a_line_and_a_row_for_each_method(random, order):
    names = ("none", "head", "blocks/2/1/units/0/conv", "conv1")
    rows = {f"method {i}": np.linspace(1, i / 7, 4) for i in range(7)}
    maps = {name: random.uniform(size=(4, 8, 8)) for name in rows}
    found = inspect.Randomization(names, order, rows, rows, maps)
    for axes in whole(plots.randomization_curves(found)).axes:
        shown = {line.get_label(): line.get_ydata() for line in axes.lines if line.get_label() in rows}
        assert shown.keys() == rows.keys()
        np.testing.assert_array_equal(shown["method 3"], rows["method 3"])
    figure = whole(plots.randomization_maps(found))
    assert len(figure.axes) == 28
    np.testing.assert_array_equal(figure.axes[5].images[0].get_array(), maps["method 1"][1])


def test_neighbors_of_another_class_are_framed(pictures):
    figure = whole(plots.neighbors(pictures[:1], pictures[None, 1:4], ["dog"], [["dog", "cat", "dog"]]))
    assert [axes.get_title() for axes in figure.axes] == ["dog", "dog", "cat", "dog"]
    widths = [axes.spines["left"].get_linewidth() for axes in figure.axes]
    assert widths[2] > widths[0] > widths[1] == widths[3]


def test_components_are_points_by_class(random):
    features = random.normal(size=(30, 4))
    found, points = inspect.pca(features), inspect.pca(features)(features)
    labels = np.arange(30) % 3
    (axes,) = whole(plots.components(found, features, labels, ("a", "$b", "c"), marked=features[3:4])).axes
    for label, drawn in enumerate(axes.collections):
        np.testing.assert_allclose(drawn.get_offsets(), points[labels == label])
    assert f"{100 * found.explained[0]:.0f} %" in axes.get_xlabel()
    whole(plots.components(found, features, np.arange(30), [f"class {i}" for i in range(30)]))


def test_exciting_examples_have_the_box_that_the_unit_sees(pictures):
    boxes = np.array([[[1, 3], [0, 4]], [[0, 7], [0, 7]]])
    found = inspect.Exciting(np.array([4, 2]), np.array([3.0, 2.5]), np.zeros((2, 2), int), boxes)
    figure = whole(plots.most_exciting(pictures, [found, found], ["unit 1", "unit 2"]))
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), pictures[2] / 255)
    box = figure.axes[0].patches[-1]
    assert (*box.get_xy(), box.get_width(), box.get_height()) == (-0.5, 0.5, 5, 3)
    whole(plots.maximized(pictures, [f"class {i}\n{i:.1f}" for i in range(6)], title="made"))


def test_the_reliability_diagram_shows_accuracy_and_counts(random):
    shares = random.dirichlet(np.ones(3), 200)
    found = inspect.calibration(shares, random.integers(0, 3, 200))
    upper, lower = whole(plots.calibration(found)).axes
    heights = np.array([bar.get_height() for bar in upper.patches])
    np.testing.assert_array_equal(heights, found.accuracy)
    assert [bar.get_height() for bar in lower.patches] == found.counts.tolist()


def test_shifts_are_curves_bars_and_pictures(random, pictures):
    curve = inspect.ShiftCurve(np.arange(-2, 3), random.uniform(size=(4, 5)), np.zeros((4, 5), int))
    (axes,) = whole(plots.shift_curves({"right": curve, "down": curve})).axes
    line = next(line for line in axes.lines if line.get_label() == "down")
    np.testing.assert_allclose(line.get_ydata(), curve.probabilities.mean(0))
    (axes,) = whole(plots.shift_consistencies({"max": 0.877, "none": 1.0})).axes
    assert [text.get_text() for text in axes.texts] == ["87.7", "100"]
    whole(plots.shifted_pictures(pictures, ["a dog, 100 %"] * 6))
