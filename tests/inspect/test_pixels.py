"""A picture as its numbers: each in its cell, as it is."""

import numpy as np
import pytest

from jaxcnn.inspect import plots


def told(axes):
    return [text.get_text() for text in axes.texts]


def test_every_number_of_a_gray_picture_stands_in_its_cell():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    (axes,) = plots.pixels(image).axes
    assert told(axes) == [str(value) for value in image.ravel()]
    assert [text.get_position() for text in axes.texts][:5] == [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1)]
    np.testing.assert_array_equal(axes.images[0].get_array(), image)
    assert axes.images[0].get_clim() == (0, 255)


def test_a_color_picture_is_three_matrices():
    image = np.random.default_rng(0).uniform(size=(4, 5, 3))
    figure = plots.pixels(image, title="a picture")
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == ["red", "green", "blue"]
    assert [len(told(axes)) for axes in figure.axes] == [20, 20, 20]
    assert abs(float(told(figure.axes[1])[0]) - image[0, 0, 1]) < 0.01
    assert len(plots.pixels(image[..., :2]).axes) == 2


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3,), r"`image` must be \(H, W\) or \(H, W, C\); got shape \(3,\)."),
        ((0, 4), r"`image` must be \(H, W\) or \(H, W, C\); got shape \(0, 4\)."),
        ((4, 41), "`image` must have at most 40 cells along a side; got 4x41."),
    ],
)
def test_what_cannot_be_read_is_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        plots.pixels(np.zeros(shape))
