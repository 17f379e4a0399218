"""Pictures of floats from 0 to 1 are drawn as those of bytes, and not black."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from jaxcnn import data, training
from jaxcnn.inspect import plots
from jaxcnn.inspect.arithmetic import classic_filters
from jaxcnn.inspect.pages import frame
from jaxcnn.inspect.pages.report import _augmented, _pictures
from jaxcnn.inspect.representations import maximization

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3)).astype(np.uint8)
GRAYS = PICTURES[..., :1]


def drawn(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def found(index: int) -> maximization.Exciting:
    return maximization.Exciting(np.array([index]), np.ones(1), np.zeros((1, 2)), np.array([[[0, 2], [0, 2]]]))


FIGURES = {
    "labeled_images": lambda p: plots.labeled_images(p, ["a", "b"]),
    "augmented": lambda p: plots.augmented(p, p, ["a", "b"]),
    "prediction": lambda p: plots.prediction(p[0], np.array([0.3, 0.7]), ["a", "b"]),
    "attributions": lambda p: plots.attributions(p, {"gradient": np.ones((2, 6, 6))}),
    "neighbors": lambda p: plots.neighbors(p, np.stack([p, p]), ["a", "b"], [["a", "b"]] * 2),
    "maximized": lambda p: plots.maximized(p, ["a", "b"]),
    "most_exciting": lambda p: plots.most_exciting(p, [found(0), found(1)], ["u", "v"]),
    "shifted_pictures": lambda p: plots.shifted_pictures(p, ["a", "b"]),
}


@pytest.mark.parametrize("pictures", [PICTURES, GRAYS], ids=["color", "gray"])
@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_every_figure_shows_floats_as_bytes(figure, pictures):
    np.testing.assert_array_equal(drawn(figure((pictures / 255).astype(np.float32))), drawn(figure(pictures)))


def test_filters_take_floats_as_bytes():
    np.testing.assert_allclose(classic_filters.gray(PICTURES[0] / 255), classic_filters.gray(PICTURES[0]), atol=1e-6)


def test_a_report_shows_floats_on_one_scale(monkeypatch):
    floats = (PICTURES / 255).astype(np.float32)
    test = data.Dataset(floats, np.array([0, 1]), ("a", "b"), "some", "test")
    shown = _pictures(test, slice(None))
    assert shown.dtype == np.uint8 and (shown.min(), shown.max()) == (0, 255)
    scaling = data.measure_scaling(test)
    augmentation = training.make_augmentation(training.TrainConfig(augment=("cutout=2",)), test, scaling)
    before, after = [], []
    monkeypatch.setattr(plots, "augmented", lambda *shown: (before.append(shown[0]), after.append(shown[1])))
    monkeypatch.setattr(frame, "section", lambda *_: [])
    _augmented(test, augmentation, training.TASKS["classification"]())
    for images in (*before, *after):
        assert images.dtype == np.uint8 and images.max() > 200
    assert (before[0] != after[0]).any()
