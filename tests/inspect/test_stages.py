"""Features: a stage's activations of every image, whatever the batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import inspect, models
from jaxcnn.data import Augmentation, Scaling, Stream

SCALING = Scaling((0.4,), (0.3,))


@pytest.fixture(scope="module")
def model():
    return models.create("lenet5", rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (11, 28, 28, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def captured(model, images):
    stages = jax.jit(lambda inputs: model(inputs, capture=True)[1])(jnp.asarray(SCALING(images)))
    return {name: np.asarray(maps) for name, maps in stages.items()}


@pytest.mark.parametrize("batch_size", [1, 4, 11, 256])
def test_every_image_has_its_row_whatever_the_batches(model, images, captured, batch_size):
    found = inspect.features(model, images, "dense2", scaling=SCALING, batch_size=batch_size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, captured["dense2"], atol=1e-5)


@pytest.mark.parametrize(
    ("pool", "of"),
    [
        ("mean", lambda maps: maps.mean((1, 2))),
        ("max", lambda maps: maps.max((1, 2))),
        ("flatten", lambda maps: maps.reshape(len(maps), -1)),
    ],
)
def test_maps_become_rows_as_asked(model, images, captured, pool, of):
    found = inspect.features(model, images, "conv2", scaling=SCALING, pool=pool)
    np.testing.assert_allclose(found, of(captured["conv2"]), atol=1e-5)


def test_a_network_in_training_computes_as_in_evaluation_and_is_left_as_it_was(random):
    net = models.create("textcnn", in_features=9, num_classes=2, embedding=4, features=3, rngs=nnx.Rngs(0))
    words = random.integers(0, 9, (3, 7)).astype(np.int32)
    net.train()
    found = [inspect.features(net, words, "head", scaling=Scaling((), ())) for _ in range(2)]
    np.testing.assert_array_equal(*found)
    assert not net.dropout.deterministic


def test_pictures_come_in_the_size_of_the_training(model, images):
    larger = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)])
    found = inspect.features(model, larger, "dense1", scaling=SCALING, augmentation=Augmentation(("crop=28",)))
    np.testing.assert_allclose(found, inspect.features(model, images, "dense1", scaling=SCALING), atol=1e-5)


def test_no_images_have_no_rows_but_columns(model, images):
    assert inspect.features(model, images[:0], "conv2", scaling=SCALING).shape == (0, 16)


class Pictures(Stream):
    """An array that is decoded a picture at a time."""

    def __init__(self, images):
        super().__init__(images.shape[1:])
        self._images = images

    def __len__(self):
        return len(self._images)

    def decode(self, place):
        return self._images[place]

    def pick(self, index):
        return Pictures(self._images[index])


def test_a_stream_has_the_same_features(model, images):
    found = inspect.features(model, Pictures(images), "pool2", scaling=SCALING, batch_size=4)
    np.testing.assert_array_equal(found, inspect.features(model, images, "pool2", scaling=SCALING, batch_size=4))


def test_another_stage_is_answered_with_those_there_are(model, images):
    with pytest.raises(ValueError) as caught:
        inspect.features(model, images, "conv9", scaling=SCALING)
    stages = "conv1, pool1, conv2, pool2, dense1, dense2, head"
    assert str(caught.value) == f"`at` must be a stage of LeNet5: {stages}; got 'conv9'."


def test_what_makes_no_sense_is_refused(model, images):
    with pytest.raises(ValueError, match="`pool` must be one of mean, max, flatten; got 'sum'."):
        inspect.features(model, images, "conv1", scaling=SCALING, pool="sum")
    with pytest.raises(ValueError, match="LeNet5 expects"):
        inspect.features(model, images[:, :20], "conv1", scaling=SCALING)


def test_a_network_without_stages_is_refused(images):
    class Plain(nnx.Module):
        def __call__(self, images):
            return images

    with pytest.raises(ValueError) as caught:
        inspect.features(Plain(), images, "conv1", scaling=SCALING)
    assert str(caught.value) == "`model` must name its stages, as those of `jaxcnn.models` do; Plain does not."
