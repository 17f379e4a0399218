"""Finding: the pyramid, the map of scores, and boxes where the objects are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import inspect, models
from jaxcnn.data import Scaling
from jaxcnn.inspect import plots

PLAIN = Scaling((0.0,), (1.0,))


def matching(side=8, classes=1):
    """A network whose logit is high where a window is a bright square on dark ground: a filter, without training."""
    model = models.create("mlp", num_classes=classes, image_size=(side, side), hidden=(), rngs=nnx.Rngs(0))
    template = np.full((side, side), -1.0, np.float32)
    template[2:-2, 2:-2] = 1.0
    kernel = np.zeros((side * side, classes), np.float32)
    kernel[:, -1] = template.ravel() * 2
    model.head.kernel[...] = jnp.asarray(kernel)
    model.head.bias[...] = jnp.asarray([0.0] * (classes - 1) + [-0.6 * 2 * (template > 0).sum()], jnp.float32)
    return models.fully_convolutional(model)


def squares(*places, shape=(40, 56)):
    """A dark picture with bright squares: row, column, side of each."""
    picture = np.zeros((*shape, 1), np.uint8)
    for row, column, side in places:
        picture[row : row + side, column : column + side] = 255
    return picture


def test_squares_are_found_where_they_are():
    """Of a square of 4 the window is 2 larger on each side; one of 8 is seen at half the size."""
    found = inspect.find(matching(), squares((6, 10, 4), (20, 32, 8)), PLAIN, step=2.0, threshold=0.9)
    boxes = {tuple(box) for box in found.boxes.tolist()}
    assert boxes == {(8.0, 4.0, 16.0, 12.0), (28.0, 16.0, 44.0, 32.0)}, "x counts columns"
    assert (found.scores > 0.9).all() and (np.diff(found.scores) <= 0).all() and found.classes.tolist() == [1, 1]
    assert found.boxes.dtype == found.scores.dtype == np.float32 and found.classes.dtype == np.int32
    assert len(inspect.find(matching(), squares((6, 10, 4)), PLAIN, step=2.0, threshold=0.9, most=1).boxes) == 1
    none = inspect.find(matching(), squares(), PLAIN)
    assert none.boxes.shape == (0, 4) and none.scores.shape == none.classes.shape == (0,)


def test_several_logits_need_targets():
    network, picture = matching(classes=3), squares((6, 10, 4))
    with pytest.raises(ValueError, match="`targets` must name the classes to find among 3; got none."):
        inspect.find(network, picture, PLAIN)
    found = inspect.find(network, picture, PLAIN, targets=[2], step=2.0, threshold=0.9)
    assert found.boxes.tolist() == [[8, 4, 16, 12]] and found.classes.tolist() == [2]
    both = inspect.find(network, picture, PLAIN, targets=[1, 2], step=2.0, threshold=0.4, overlap=0.0)
    assert set(both.classes.tolist()) == {1, 2}, "boxes of two classes may overlap"


def test_a_box_without_neighbors_has_too_few_votes():
    """Of the brighter square, windows beside it are above the threshold too."""
    picture = squares((6, 10, 4), (24, 30, 4))
    picture[24:28, 30:34] = 220
    options = {"threshold": 0.02, "overlap": 0.3, "step": 4.0}
    everyone = inspect.find(matching(), picture, PLAIN, **options)
    assert everyone.boxes.tolist() == [[8, 4, 16, 12], [28, 22, 36, 30]]
    few = inspect.find(matching(), picture, PLAIN, votes=5, **options)
    assert few.boxes.tolist() == [[8, 4, 16, 12]]
    assert not len(inspect.find(matching(), picture, PLAIN, votes=6, **options).boxes)


def test_maps_are_the_network_s_on_each_level(random):
    network, picture = matching(), random.integers(0, 256, (20, 30), dtype=np.uint8)
    maps = inspect.scan(network, picture, PLAIN, step=1.5)
    levels = inspect.pyramid(picture, 8, step=1.5)
    assert [each.shape for each in maps] == [level.pixels.shape[:2] for level in levels]
    for each, level in zip(maps, levels, strict=True):
        logits = network(PLAIN(level.pixels[None]))[0]
        np.testing.assert_allclose(each.scores[..., 1:], jax.nn.sigmoid(logits), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(each.scores.sum(-1), 1, rtol=1e-6)
        assert each.boxes[0, 0].tolist() == pytest.approx([0, 0, 8 * level.scale[0], 8 * level.scale[1]])
        assert each.boxes[..., 2].max() <= 30 + 1e-4 and each.boxes[..., 3].max() <= 20 + 1e-4


def test_tiles_give_the_map_of_the_whole_picture(random):
    """A picture of several tiles along each axis, whose last ones are not full."""
    network, picture = matching(), random.integers(0, 256, (75, 103, 1), dtype=np.uint8)
    (found,) = inspect.scan(network, picture, PLAIN, step=12.0)
    logits = network(PLAIN(picture[None]))[0]
    assert found.scores.shape == (68, 96, 2) and logits.shape == (68, 96, 1)
    np.testing.assert_allclose(found.scores[..., 1:], jax.nn.sigmoid(logits), rtol=1e-4, atol=1e-6)


def test_a_network_with_padding_sees_the_whole_level(random):
    model = models.create("resnet20", num_classes=2, widths=(2, 3, 4), rngs=nnx.Rngs(0))
    network = models.fully_convolutional(model, 32)
    picture, scaling = random.integers(0, 256, (40, 48, 3), dtype=np.uint8), Scaling((0.5,) * 3, (0.3,) * 3)
    (found,) = inspect.scan(network, picture, scaling, step=2.0)
    np.testing.assert_allclose(found.scores, jax.nn.softmax(network(scaling(picture[None])))[0], rtol=1e-4)


def test_a_pyramid_shrinks_to_its_smallest_size(random):
    picture = random.integers(0, 256, (50, 40, 3), dtype=np.uint8)
    levels = inspect.pyramid(picture, (10, 12), step=1.25, first=1.25)
    sizes = [level.pixels.shape for level in levels]
    assert sizes[0] == (62, 50, 3) and sizes[1] == (50, 40, 3)
    np.testing.assert_array_equal(levels[1].pixels, picture)
    assert all(rows >= 10 and columns >= 12 for rows, columns, _ in sizes) and sizes[-1][1] < 12 * 1.25
    for level in levels:
        assert level.scale == (40 / level.pixels.shape[1], 50 / level.pixels.shape[0])
        assert abs(float(level.pixels.mean()) - float(picture.mean())) < 3
    assert inspect.pyramid(picture, 51) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda n: inspect.find(n, squares() / 255, PLAIN),
            "`picture` must be bytes .uint8.; got float64",
        ),
        (lambda n: inspect.find(n, squares()[:5], PLAIN), r"the window, \(8, 8\), must fit into the picture"),
        (lambda n: inspect.find(n, np.zeros((20, 20, 3), np.uint8), PLAIN), "must have the 1 channels of the network"),
        (lambda n: inspect.find(n, np.zeros((1, 20, 20, 1), np.uint8), PLAIN), r"`picture` must be \(H, W\)"),
        (lambda n: inspect.find(n, squares(), PLAIN, targets=[2]), "`targets` must be classes from 0 to 1; got .2.."),
        (lambda n: inspect.find(n, squares(), PLAIN, threshold=-1), "`threshold` must be from 0 to 1; got -1."),
        (lambda n: inspect.find(n, squares(), PLAIN, votes=0), "`votes` must be positive; got 0."),
        (lambda n: inspect.find(n, squares(), PLAIN, step=1.0), "`step` must be above 1; got 1.0."),
        (lambda n: inspect.find(n, squares(), PLAIN, first=0), "`first` must be positive; got 0."),
        (
            lambda n: inspect.find(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), squares(), PLAIN),
            "must come from `models.fully",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(matching())


def test_boxes_and_maps_are_drawn():
    picture = squares((6, 10, 4), (20, 32, 8))
    found = inspect.find(matching(), picture, PLAIN, step=2.0, threshold=0.9)
    figure = plots.found_boxes(picture, found, np.array([[8, 4, 16, 12]]), classes=("dark", "square"), title="squares")
    (axes,) = figure.axes
    assert len(axes.patches) == 2 * (1 + len(found.boxes))
    assert sorted(text.get_text().split()[0] for text in axes.texts) == ["square", "square"]
    corners = {patch.get_xy() for patch in axes.patches}
    assert (7.5, 3.5) in corners  # the left edge of pixel 8 is at 7.5, since matplotlib has its center at 8
    maps = inspect.scan(matching(), picture, PLAIN, step=2.0)
    figure = plots.score_maps(maps, title="scores")
    assert len(figure.axes) == len(maps)
    assert figure.axes[0].get_title() == "40x56"
    with pytest.raises(ValueError, match="`target` must be from 0 to 1; got 2."):
        plots.score_maps(maps, 2)
