"""The figures show the numbers that they are given."""

import numpy as np
import pytest
from drawings import whole

from jaxcnn.inspect import plots
from jaxcnn.training import RateRange


def test_the_confusion_matrix_counts_true_by_predicted():
    labels, predictions = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 0, 1, 1, 0, 0])
    (axes,) = whole(plots.confusion_matrix(labels, predictions, ("a", "b", "c"))).axes
    shown = {tuple(map(int, text.get_position()[::-1])): text.get_text() for text in axes.texts}
    assert shown == {(0, 0): "2\n66.7 %", (0, 1): "1\n33.3 %", (1, 1): "1\n100.0 %", (2, 0): "2\n100.0 %"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    shares = np.array([[2, 1, 0], [0, 3, 0], [3, 0, 0]]) / 3
    np.testing.assert_allclose(axes.images[0].get_array(), np.sqrt(shares))


def test_a_class_without_examples_leaves_its_row_empty():
    (axes,) = whole(plots.confusion_matrix(np.array([0]), np.array([1]), ("a", "b", "c"))).axes
    assert [text.get_text() for text in axes.texts] == ["1\n100.0 %"]


def test_more_classes_are_drawn_with_numbers_alone():
    labels = np.arange(15)
    (axes,) = whole(plots.confusion_matrix(labels, labels, [str(i) for i in labels])).axes
    assert {text.get_text() for text in axes.texts} == {"1"}


def test_many_classes_are_drawn_without_numbers():
    labels = np.arange(30)
    (axes,) = whole(plots.confusion_matrix(labels, labels, [str(i) for i in labels])).axes
    assert not axes.texts


def row(epoch, **changes):
    return {"epoch": epoch, "loss": 2.0 / epoch, "accuracy": 0.5 + 0.1 * epoch} | changes


def lines(axes):
    return {line.get_label(): np.array(line.get_ydata()) for line in axes.get_lines()}


def test_the_curves_are_loss_and_error_of_both_splits():
    rows = [row(e, eval_split="validation", eval_loss=3.0 / e, eval_accuracy=0.3 * e) for e in (1, 2, 3)]
    losses, errors = whole(plots.learning_curves(rows)).axes
    for axes, name, expected in (
        (losses, "training", [2, 1, 2 / 3]),
        (losses, "validation", [3, 1.5, 1]),
        (errors, "training", [40, 30, 20]),
        (errors, "validation", [70, 40, 10]),
    ):
        np.testing.assert_allclose(lines(axes)[name], expected, err_msg=name)


def test_the_curves_of_training_alone():
    for axes in whole(plots.learning_curves([row(1), row(2)])).axes:
        assert list(lines(axes)) == ["training"]


def test_one_epoch_is_a_point():
    assert all(line.get_marker() == "." for axes in whole(plots.learning_curves([row(1)])).axes for line in axes.lines)


def test_runs_are_compared_by_what_was_held_out():
    held_out = {"eval_loss": 0.5, "eval_accuracy": 0.9}
    runs = {"one": [row(1, **held_out), row(2, **held_out)], "alone": [row(1)], **{str(i): [row(1)] for i in range(8)}}
    losses, accuracies = whole(figure := plots.compared_curves(runs)).axes
    assert list(lines(losses)["one"]) == [0.5, 0.5] and list(lines(accuracies)["one"]) == [90, 90]
    assert list(lines(losses)["alone (training)"]) == [2]
    looks = {(line.get_color(), str(line._dash_pattern)) for line in losses.lines}
    assert len(looks) == len(runs), "told apart where the colors begin again"
    assert [text.get_text() for text in figure.legends[0].texts][:2] == ["one", "alone (training)"]


def images(figure):
    return [image for axes in figure.axes for image in axes.images]


@pytest.mark.parametrize(("shape", "tiles"), [((5, 5, 1, 6), 6), ((3, 3, 2, 5), 10), ((3, 3, 3, 9), 9)], ids=str)
def test_filters_have_a_tile_each(random, shape, tiles):
    shown = images(whole(plots.filters(random.normal(size=shape))))
    assert len(shown) == tiles
    if shape[2] == 3:
        assert all(np.min(tile.get_array()) >= 0 and np.max(tile.get_array()) <= 1 for tile in shown)
    else:
        lows, highs = zip(*(tile.get_clim() for tile in shown), strict=True)
        assert set(lows) == {-highs[0]} and set(highs) == {highs[0]}, "zero in the middle, one scale for all"


def test_filters_show_the_weights_themselves(random):
    kernel = random.normal(size=(3, 2, 1, 4))
    for o, tile in enumerate(images(plots.filters(kernel))):
        np.testing.assert_array_equal(tile.get_array(), kernel[:, :, 0, o])


@pytest.mark.parametrize("channels", [1, 3])
def test_filters_of_zeros_are_whole(channels):
    assert len(images(whole(plots.filters(np.zeros((3, 3, channels, 2)))))) == 2


def test_maps_beyond_32_are_left_out_and_told(random):
    figure = whole(plots.feature_maps("conv1", random.normal(size=(4, 5, 40))))
    assert len(images(figure)) == 32
    assert figure.get_suptitle() == "conv1: 4x5x40, the first 32 of 40"


def test_dead_maps_are_whole():
    figure = whole(plots.feature_maps("conv1", np.zeros((4, 5, 3))))
    assert figure.get_suptitle() == "conv1: 4x5x3" and len(images(figure)) == 3


@pytest.mark.parametrize("channels", [1, 3])
def test_images_have_their_captions(random, channels):
    pictures = random.integers(0, 256, (3, 6, 5, channels)).astype(np.uint8)
    figure = whole(plots.labeled_images(pictures, ["a", "b", "c"]))
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c"]
    for tile, picture in zip(images(figure), pictures, strict=True):
        np.testing.assert_array_equal(tile.get_array(), picture[..., 0] if channels == 1 else picture)
        assert tile.get_clim() == (0, 255)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_before_and_after_stand_in_two_rows(random, channels):
    before = random.integers(0, 256, (20, 6, 5, channels)).astype(np.uint8)
    after = random.uniform(-1, 256, (20, 4, 4, channels)).astype(np.float32)
    figure = whole(plots.augmented(before, after, [str(i) for i in range(20)]))
    shown = images(figure)
    assert len(shown) == 32, "sixteen of each"
    assert [axes.get_title() for axes in figure.axes[:16]] == [str(i) for i in range(16)]
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["before", "after"]
    for tile, picture in zip(shown, [*before[:16], *np.rint(after[:16].clip(0, 255))], strict=True):
        np.testing.assert_array_equal(tile.get_array(), picture[..., 0] if channels == 1 else picture)


def test_a_range_test_shows_losses_and_the_rate_to_take():
    rates = np.geomspace(1e-4, 1, 50)
    losses = np.linspace(2, 1, 50)
    found = RateRange(rates, losses, losses, 0.01, 1.0, False)
    (axes,) = whole(plots.rate_range(found)).axes
    raw, mean, line = axes.lines
    np.testing.assert_allclose(raw.get_xdata(), rates)
    np.testing.assert_allclose(mean.get_ydata(), losses)
    assert list(line.get_xdata()) == [0.01, 0.01] and axes.get_xscale() == "log"
    assert "steepest fall, 0.01" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_settings_are_lines_over_parallel_axes():
    rates, optimizers = [1e-4, 1e-2, 1e-3], ["sgd", "adamw", "sgd"]
    settings = [list(pair) for pair in zip(rates, optimizers, strict=True)]
    results = [0.9, 0.5, None]
    names = ["learning-rate", "optimizer"]
    figure = whole(plots.parallel_settings(names, settings, results, logarithmic=names[:1]))
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    found = {tuple(np.round(line.get_ydata(), 6)): line for line in lines}
    best, worst = found[0.0, 1.0, 1.0], found[1.0, 0.0, 0.0]
    assert best.get_linewidth() > worst.get_linewidth()
    left = next(line for heights, line in found.items() if np.isnan(heights[2]))
    assert left.get_ydata()[0] == pytest.approx(0.5) and left.get_linestyle() == ":"
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"learning-rate", "optimizer", "accuracy", "sgd", "adamw", "90.00%", "50.00%", "0.001"} <= set(texts)
    falls = plots.parallel_settings(["x"], [[1], [2]], [0.1, 0.3], metric="loss").axes[0].lines
    thick = max(falls, key=lambda line: line.get_linewidth())
    assert thick.get_ydata()[1] == 0.0, "a small loss is good"
    with pytest.raises(ValueError, match="`results` must have one for each of the settings; got 1 for 2."):
        plots.parallel_settings(["x"], [[1], [2]], [0.1])
