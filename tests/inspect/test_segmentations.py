"""The report of the classes of pixels, and pictures with their masks."""

import numpy as np
import pytest
from sklearn import metrics

from jaxcnn import inspect
from jaxcnn.inspect import plots


def test_the_report_agrees_with_scikit_learn(random):
    true, said = random.integers(0, 4, (2, 500))
    found = inspect.pixel_report(metrics.confusion_matrix(true, said), "abcd")
    for name, score in (
        ("iou", metrics.jaccard_score),
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
    ):
        np.testing.assert_allclose(getattr(found, name), score(true, said, average=None), err_msg=name)
    np.testing.assert_array_equal(found.pixels, np.bincount(true))
    a, b, count = found.confused(1)[0]
    assert count == max(((true == i) & (said == j)).sum() for i in range(4) for j in range(4) if i != j)
    assert a != b and found.confusion[a, b] == count


def test_a_class_that_is_nowhere_has_no_number():
    found = inspect.pixel_report([[4, 1, 0], [0, 3, 0], [0, 0, 0]], ["a", "b", "c"])
    assert np.isnan([found.iou[2], found.precision[2], found.recall[2]]).all() and found.iou[0] == 0.8
    with pytest.raises(ValueError, match=r"`confusion` must be 2 by 2, for the classes; got \(3, 3\)."):
        inspect.pixel_report(np.zeros((3, 3)), "ab")


def test_masks_are_drawn_below_their_pictures_with_a_legend(random):
    images, masks = random.integers(0, 256, (3, 6, 8, 3)).astype(np.uint8), random.integers(0, 3, (3, 6, 8))
    masks[0, 0] = 255
    figure = plots.segmentations(
        images, masks, np.zeros_like(masks), ("ground", "$cell", "wall", "sky"), ["x", "y", "z"]
    )
    assert len(figure.axes) == 9 and [axes.get_title() for axes in figure.axes[:3]] == ["x", "y", "z"]
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["ground", "$cell", "wall", "does not count"]
    figure.savefig("/dev/null", format="png")
    assert len(plots.segmentations(images, masks, None, "abc").axes) == 6
    with pytest.raises(ValueError, match="must be masks of one or more `images`"):
        plots.segmentations(images, masks[:, 1:], None, "abc")
