"""Sliding networks: each value is the original's logit for its window, or the docstring's limits hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import layers, models

SMALL = {  # every kind of network that can slide, its options, and the size on which it was "trained"
    "mlp": ({"image_size": (9, 7), "hidden": (6, 5), "num_classes": 3}, None),
    "lenet5": ({"border": 0}, None),
    "lenet5_1998": ({}, None),
    "alexnet": ({"image_size": 64, "widths": (4, 8, 6, 6, 8), "hidden": (7, 5), "num_classes": 3}, None),
    "alexnet_torchvision": ({"hidden": (7, 5), "num_classes": 3}, (224, 224)),
    "vgg11": ({"image_size": 32, "widths": (2, 3, 4, 4, 4), "hidden": 6, "num_classes": 3}, None),
    "vgg11_bn": ({"image_size": (64, 32), "widths": (2, 3, 4, 4, 4), "hidden": 6, "num_classes": 3}, None),
    "googlenet": ({"num_classes": 3}, (64, 64)),
    "bn_inception": ({"num_classes": 3}, (64, 64)),
    "resnet18": ({"widths": (2, 3, 4, 4), "num_classes": 3}, (64, 96)),
    "resnet20": ({"widths": (2, 3, 4)}, 32),
    "allcnn": ({"widths": (3, 4), "num_classes": 3}, 32),
    "c3d": ({"clip_shape": (16, 32, 32), "widths": (2, 2, 3, 3, 4), "hidden": 6, "num_classes": 3}, None),
    "tdnn": ({}, 15),
    "tdnn_wide": ({"widths": (4, 4, 5), "num_classes": 3}, 20),
}
QUICK = ("mlp", "lenet5", "lenet5_1998", "alexnet", "vgg11", "resnet20", "allcnn", "c3d", "tdnn", "tdnn_wide")
EXACT = {"mlp", "lenet5", "tdnn"}


def built(name, **more):
    options, size = SMALL[name]
    model = models.create(name, rngs=nnx.Rngs(0), **options, **more)
    model.eval()
    return model, size


def windows_of(network, images, grid):
    """The pictures that the windows show, in the order of the map."""
    sliding = network.sliding
    for place in np.ndindex(*grid):
        starts = [p * s for p, s in zip(place, sliding.strides, strict=True)]
        yield images[:, *(slice(a, a + n) for a, n in zip(starts, sliding.window, strict=True))]


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in SMALL])
def test_a_picture_of_the_trained_size_gives_the_logits(name, random):
    """For every network: also for those with padding inside."""
    model, size = built(name)
    network = models.fully_convolutional(model, size)
    sliding = network.sliding
    images = jnp.asarray(random.standard_normal((2, *sliding.window, model.input_shape[-1])), jnp.float32)
    logits = network(images)
    expected = model(images)
    assert logits.shape == (2, *(1 for _ in sliding.window), expected.shape[-1])
    np.testing.assert_allclose(logits.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    assert sliding.exact == (name in EXACT)
    twice = jax.ShapeDtypeStruct((1, *(2 * n for n in sliding.window), images.shape[-1]), jnp.float32)
    cells = jax.eval_shape(network, twice).shape[1:-1]
    assert all(2 <= n <= k // s + 1 for n, k, s in zip(cells, sliding.window, sliding.strides, strict=True))


@pytest.mark.parametrize("name", sorted(EXACT))
def test_each_value_is_the_logit_of_its_window(name, random, float64):
    model, size = built(name, param_dtype=jnp.float64)
    network = models.fully_convolutional(model, size)
    more = [s + n % 3 for s, n in zip(network.sliding.strides, network.sliding.window, strict=True)]
    sizes = [n + 2 * m for n, m in zip(network.sliding.window, more, strict=True)]
    images = jnp.asarray(random.standard_normal((2, *sizes, model.input_shape[-1])))
    logits = network(images)
    assert logits.dtype == jnp.float64 and min(logits.shape[1:-1]) >= 3
    expected = [model(window) for window in windows_of(network, images, logits.shape[1:-1])]
    np.testing.assert_allclose(logits.reshape(2, len(expected), -1), jnp.stack(expected, 1), rtol=1e-11, atol=1e-12)


def test_values_of_a_padded_network_differ_from_those_of_windows(random):
    """The docstring's warning is true: this is why `exact` is told."""
    model, size = built("resnet20")
    network = models.fully_convolutional(model, size)
    images = jnp.asarray(random.standard_normal((1, 64, 64, 3)), jnp.float32)
    logits = network(images)
    found = logits.reshape(-1, logits.shape[-1])
    expected = jnp.concatenate([model(window) for window in windows_of(network, images, logits.shape[1:-1])])
    assert np.abs(found - expected).max() > 1e-3
    assert network.sliding.strides == (4, 4) and logits.shape[1:3] == (9, 9) and not network.sliding.exact


def test_the_map_moves_with_the_picture(random):
    network = models.fully_convolutional(built("lenet5")[0])
    picture = jnp.asarray(random.standard_normal((1, 64, 64, 1)), jnp.float32)
    moved = network(jnp.roll(picture, network.sliding.strides, (1, 2)))
    np.testing.assert_allclose(moved[:, 1:, 1:], network(picture)[:, :-1, :-1], rtol=1e-4, atol=1e-5)


def test_the_copy_has_its_own_parameters_and_shows_its_stages(random):
    model, _ = built("lenet5")
    network = models.fully_convolutional(model)
    images = jnp.asarray(random.standard_normal((1, 40, 36, 1)), jnp.float32)
    before = np.asarray(model(images[:, :32, :32]))
    network.conv1.kernel[...] = jnp.zeros_like(network.conv1.kernel[...])
    np.testing.assert_array_equal(model(images[:, :32, :32]), before)
    assert isinstance(model.dense1, layers.Linear) and isinstance(network.dense1, layers.Conv)
    assert network.dense1.kernel.shape == (5, 5, 16, 120) and network.head.kernel.shape == (1, 1, 84, 10)
    _, stages = network(images, capture=True)
    assert stages["dense2"].shape == (1, 3, 2, 84)
    network.replace_head(2, rngs=nnx.Rngs(1))
    assert network(images).shape == (1, 3, 2, 2)
    np.testing.assert_array_equal(
        network.sliding.boxes((3, 2))[2, 1], (4, 8, 36, 40), err_msg="x counts columns, y counts rows"
    )
    summary = models.summary(network, (1, 40, 36, 1))
    assert summary.rows[-1].receptive_field == (32, 32)


def test_it_trains_by_its_map(random):
    """Gradients flow through the map, as for segmentation."""
    model, _ = built("lenet5")
    network = models.fully_convolutional(model)
    images = jnp.asarray(random.standard_normal((1, 36, 36, 1)), jnp.float32)
    gradients = nnx.grad(lambda network: jnp.square(network(images)).mean())(network)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))


def test_a_network_of_ones_own_slides_too(random):
    class Own(models.Network):
        def __init__(self, rngs):
            super().__init__()
            self.conv = layers.Conv(1, 4, (3, 3), padding="VALID", rngs=rngs)
            self.first = nnx.Linear(4 * 4 * 4, 5, use_bias=False, rngs=rngs)
            self.head = nnx.Linear(5, 2, rngs=rngs)
            self.input_shape = (6, 6, 1)

        def stages(self, x):
            yield "head", self.head(jnp.tanh(self.first(self.flatten_maps(self.conv(x)))))

    model = Own(nnx.Rngs(0))
    network = models.fully_convolutional(model)
    images = jnp.asarray(random.standard_normal((1, 9, 8, 1)), jnp.float32)
    logits = network(images)
    expected = jnp.concatenate([model(window) for window in windows_of(network, images, (4, 3))])
    assert network.sliding.exact
    np.testing.assert_allclose(logits.reshape(-1, 2), expected, rtol=1e-4, atol=1e-5)


def refused(model, *arguments):
    with pytest.raises((ValueError, TypeError)) as told:
        models.fully_convolutional(model, *arguments)
    return str(told.value)


def test_what_cannot_slide_is_refused_in_one_sentence():
    class Bare(models.Network):
        def __init__(self):
            super().__init__()
            self.head = layers.Linear(4, 2, rngs=nnx.Rngs(0))
            self.input_shape = (2, 2, 1)

        def stages(self, x):
            yield "head", self.head(x.reshape(x.shape[0], -1))

    class Biased(models.MLP):
        def stages(self, x):
            return super().stages(x + jnp.ones((1, 9, 7, 1)))

    def create(name, **options):
        return models.create(name, rngs=nnx.Rngs(0), **options)

    assert refused(create("lecun1989")) == (
        "`model` must end in dense layers or in a mean over space; got LeCun1989, in which each unit has its own bias."
    )
    assert "a pyramid" in refused(create("prelu_net", widths=(2, 2, 2, 2), hidden=4))
    assert "the whole sentence" in refused(create("textcnn", in_features=9, embedding=4, features=2))
    assert "`flatten_maps` or `average_maps`; got Bare" in refused(Bare())
    assert "no other part of a fixed size; got Biased" in refused(Biased(**SMALL["mlp"][0], rngs=nnx.Rngs(0)))
    assert refused(nnx.Linear(2, 2, rngs=nnx.Rngs(0))) == "`model` must be a network of `jaxcnn.models`; got Linear."
    resnet = create("resnet20", widths=(2, 2, 2))
    assert refused(resnet) == "`image_size` must be given for a network that takes any size; got none for CifarResNet."
    assert refused(create("lenet5"), 32) == "`image_size` must be that of LeNet5, (28, 28); got (32, 32)."
    assert "network's grid, (6, 6); got (7, 7)" in refused(
        create("alexnet_torchvision", hidden=(3, 3), num_classes=2), 256
    )
    network = models.fully_convolutional(create("lenet5", border=0))
    assert "must not be fully convolutional already" in refused(network)
    with pytest.raises(ValueError, match=r"the windows of LeNet5, \(32, 32\), must fit into the images; got \(1, 31,"):
        network(jnp.ones((1, 31, 64, 1)))
    with pytest.raises(ValueError, match="must be rows and columns of a map of pictures"):
        models.fully_convolutional(create("tdnn"), 15).sliding.boxes((4,))
