"""Of no images every explanation is empty, or refused in a sentence; so is a count that is no integer."""

import numpy as np
import pytest
from flax import nnx

from jaxcnn import inspect, models
from jaxcnn.data import Scaling


@pytest.fixture(scope="module")
def network():
    return models.create("lenet5", num_classes=3, in_features=1, rngs=nnx.Rngs(0))


NONE = np.zeros((0, 28, 28, 1), np.float32)
ONE = np.ones((1, 28, 28, 1), np.float32)


@pytest.mark.parametrize("name", ["gradient", "smooth_grad", "integrated_gradients", "guided_backprop", "deconvnet"])
def test_maps_of_no_images_are_empty(network, name):
    assert getattr(inspect, name)(network, NONE).shape == (0, 28, 28, 1)
    assert inspect.saliency(network, NONE).shape == (0, 28, 28)


def test_stages_of_no_images_are_empty(network):
    stages = inspect.activations(network, ONE)
    found = inspect.activations(network, NONE)
    assert {name: a.shape for name, a in found.items()} == {name: (0, *a.shape[1:]) for name, a in stages.items()}
    assert inspect.grad_cam(network, NONE, at="conv1").shape == (0, *stages["conv1"].shape[1:-1])
    assert inspect.features(network, NONE, "conv1", scaling=Scaling((), ())).shape == (0, stages["conv1"].shape[-1])


def test_windows_over_no_images(network):
    assert inspect.occlusion(network, NONE).shape == (0, *inspect.occlusion(network, ONE).shape[1:])
    curve = inspect.shift_curve(network, NONE, reach=2)
    assert curve.predictions.shape == (0, 5)


@pytest.mark.parametrize("check", [inspect.shift_consistency, inspect.randomization_check])
def test_there_is_no_mean_of_no_images(network, check):
    with pytest.raises(ValueError, match=r"^`images` must hold at least one image; got shape \(0, 28, 28, 1\)\.$"):
        check(network, NONE)


COUNTS = {
    "samples": inspect.smooth_grad,
    "steps": inspect.integrated_gradients,
    "pairs": inspect.shift_consistency,
    "reach": inspect.shift_curve,
    "batch_size": inspect.occlusion,
    "groups": inspect.randomization_check,
    "seed": inspect.smooth_grad,
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [2.5, "3"])
def test_a_count_that_is_no_integer(network, name, value):
    with pytest.raises(ValueError, match=rf"^`{name}` must be an integer; got {value!r}\.$"):
        COUNTS[name](network, ONE, **{name: value})
