"""The maps of any function of images: those of our network with the same weights, whoever wrote the function."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from jaxcnn import by_hand, inspect
from jaxcnn.inspect.scores import logits_of, score_gradient

CLASSES = [1, 3, 0]
LAYOUT = ("NHWC", "HWIO", "NHWC")


@pytest.fixture
def pictures(random):
    return random.normal(size=(3, 8, 8, 1)).astype(np.float32)


@pytest.fixture
def model(small):
    return small()


def in_lax(model):
    """Stages by a scope, by `checkpoint_name`, and by position."""
    k1, b1, k2, b2, w, b = weights(model)

    def network(images):
        with jax.named_scope("first"):
            x = lax.conv_general_dilated(images, k1, (1, 1), "VALID", dimension_numbers=LAYOUT)
            x = jnp.maximum(x + b1.reshape(1, 1, 1, -1), 0)
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x = checkpoint_name(x, "pooled")
        x = jax.jit(lax.conv_general_dilated, static_argnums=(2, 3, 6))(x, k2, (1, 1), "VALID", None, None, LAYOUT)
        x = x + b2.reshape(1, 1, 1, -1)
        return jnp.where(x > 0, x, 0).mean((1, 2)) @ w + b.reshape(1, -1)

    return network, {"conv1": "first", "pool1": "pooled", "conv2": "relu_1"}, -1


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Conv(3, (3, 3), padding="VALID", name="conv1")(x))
        x = linen.max_pool(x, (2, 2), (2, 2))
        x = linen.relu(linen.Conv(4, (2, 2), padding="VALID", name="conv2")(x))
        return linen.Dense(5, name="head")(x.mean((1, 2)))


def in_linen(model):
    k1, b1, k2, b2, w, b = weights(model)
    params = {name: {"kernel": k, "bias": v} for name, k, v in (("conv1", k1, b1), ("conv2", k2, b2), ("head", w, b))}
    return (lambda x: Linen().apply({"params": params}, x)), {"conv1": "relu_0", "pool1": "max_pool_0"}, -1


def in_equinox(model):
    eqx = pytest.importorskip("equinox")

    class Network(eqx.Module):
        conv1: eqx.nn.Conv2d
        pool: eqx.nn.MaxPool2d
        conv2: eqx.nn.Conv2d
        head: eqx.nn.Linear

        def __call__(self, x):
            with jax.named_scope("first"):
                x = jax.nn.relu(self.conv1(x))
            x = jax.nn.relu(self.conv2(self.pool(x)))
            return self.head(x.mean((1, 2)))

    k1, b1, k2, b2, w, b = weights(model)
    key = jax.random.key(0)
    conv1, conv2 = eqx.nn.Conv2d(1, 3, 3, key=key), eqx.nn.Conv2d(3, 4, 2, key=key)
    network = Network(conv1, eqx.nn.MaxPool2d(2, 2), conv2, eqx.nn.Linear(4, 5, key=key))
    network = eqx.tree_at(
        lambda n: [n.conv1.weight, n.conv1.bias, n.conv2.weight, n.conv2.bias, n.head.weight, n.head.bias],
        network,
        [k1.transpose(3, 2, 0, 1), b1[:, None, None], k2.transpose(3, 2, 0, 1), b2[:, None, None], w.T, b],
    )
    return jax.vmap(network), {"conv1": "first", "conv2": "relu_1"}, 1


def in_filtered_equinox(model):
    eqx = pytest.importorskip("equinox")
    mapped, names, axis = in_equinox(model)
    return eqx.filter_vmap(mapped.__wrapped__), names, axis


def in_haiku(model):
    hk = pytest.importorskip("haiku")

    def network(x):
        x = jax.nn.relu(hk.Conv2D(3, 3, padding="VALID", name="conv1")(x))
        x = hk.MaxPool((1, 2, 2, 1), (1, 2, 2, 1), "VALID")(x)
        x = jax.nn.relu(hk.Conv2D(4, 2, padding="VALID", name="conv2")(x))
        return hk.Linear(5, name="head")(x.mean((1, 2)))

    k1, b1, k2, b2, w, b = weights(model)
    params = {name: {"w": k, "b": v} for name, k, v in (("conv1", k1, b1), ("conv2", k2, b2), ("head", w, b))}
    applied = hk.without_apply_rng(hk.transform(network)).apply
    return (lambda x: applied(params, x)), {"conv1": "relu_0", "pool1": "max_pool"}, -1


def in_keras(model):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    if keras.config.backend() != "jax":
        pytest.skip("Keras runs on another backend")
    parts = keras.layers
    network = keras.Sequential(
        [
            parts.Input((8, 8, 1)),
            parts.Conv2D(3, 3, activation="relu", name="conv1"),
            parts.MaxPooling2D(2, name="pool1"),
            parts.Conv2D(4, 2, activation="relu", name="conv2"),
            parts.GlobalAveragePooling2D(),
            parts.Dense(5, name="head"),
        ]
    )
    network.set_weights([np.asarray(each) for each in weights(model)])
    return network, {"conv1": "conv1", "pool1": "pool1", "conv2": "conv2"}, -1


def weights(model):
    layers = model.conv1, model.conv2, model.head
    return [each[...] for layer in layers for each in (layer.kernel, layer.bias)]


METHODS = {
    "saliency": lambda f, x, axis: inspect.saliency(f, x, CLASSES, channel_axis=axis),
    "guided": lambda f, x, axis: inspect.guided_backprop(f, x, CLASSES),
    "deconvnet": lambda f, x, axis: inspect.deconvnet(f, x, CLASSES),
    "SmoothGrad": lambda f, x, axis: inspect.smooth_grad(f, x, CLASSES, samples=2),
    "integrated": lambda f, x, axis: inspect.integrated_gradients(f, x, CLASSES, steps=3),
    "occlusion": lambda f, x, axis: inspect.occlusion(f, x, CLASSES, window=3, batch_size=4, channel_axis=axis),
    "Grad-CAM": lambda f, x, axis: inspect.grad_cam(f, x, CLASSES, channel_axis=axis),
}


def check(model, pictures, network, names, axis):
    """Each map is that of our network with the same weights."""
    images = np.moveaxis(pictures, -1, axis)
    for name, method in METHODS.items():
        expected, found = method(model, pictures, -1), method(network, images, axis)
        if found.ndim == 4:
            found = np.moveaxis(found, axis, -1)
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)
    stages = inspect.activations(model, pictures)
    for ours, theirs in names.items():
        expected = inspect.grad_cam(model, pictures, CLASSES, at=ours)
        found = inspect.grad_cam(network, images, CLASSES, at=theirs, channel_axis=axis)
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=theirs)
        seen = inspect.activations(network, images)
        value = next(value for name, value in seen.items() if name == theirs or name.endswith(f"/{theirs}"))
        np.testing.assert_allclose(np.moveaxis(value, axis, -1), stages[ours], atol=1e-5)
        assert {name: value.shape for name, value in seen.items()} == {
            name: kind.shape for name, kind in inspect.stages_of(network, images).items()
        }


@pytest.mark.parametrize("written", [in_lax, in_linen], ids=["lax", "linen"])
def test_maps_of_a_function_are_those_of_our_network(model, pictures, written):
    check(model, pictures, *written(model))


@pytest.mark.parametrize("written", [in_equinox, in_filtered_equinox, in_haiku, in_keras])
def test_maps_of_peers_are_those_of_our_network(model, pictures, written):
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # which they make use of
        check(model, pictures, *written(model))


def test_modules_with_functions_of_their_own_are_functions(random, pictures):
    model = nnx.Sequential(
        nnx.Conv(1, 3, (3, 3), rngs=nnx.Rngs(0)), nnx.relu, lambda x: x.mean((1, 2)), nnx.Linear(3, 5, rngs=nnx.Rngs(0))
    )
    for method in (inspect.guided_backprop, inspect.deconvnet, inspect.grad_cam, inspect.gradient):
        np.testing.assert_allclose(method(model, pictures), method(lambda x: model(x), pictures), atol=1e-6)
    assert list(inspect.activations(model, pictures)) == ["conv_0", "relu_0"]


WEIGHTS = np.array([[5, 6, -7, 8], [0, 0, 0, 1]], np.float32).T
PICTURE = np.array([1, -2, 3, 4], np.float32).reshape(1, 2, 2, 1)


def test_rules_are_their_definitions():
    """Weights 5, 6, -7, 8 come back to cells 1, -2, 3, 4."""

    def score(images):
        return jax.nn.relu(images).reshape(len(images), -1) @ WEIGHTS

    assert inspect.gradient(score, PICTURE, 0).ravel().tolist() == [5, 0, -7, 8]
    assert inspect.guided_backprop(score, PICTURE, 0).ravel().tolist() == [5, 0, 0, 8]
    assert inspect.deconvnet(score, PICTURE, 0).ravel().tolist() == [5, 6, 0, 8]
    twin = inspect.with_rules(score, relu="guided")
    assert inspect.gradient(twin, PICTURE, 0).ravel().tolist() == [5, 0, 0, 8]
    assert jax.grad(lambda x: twin(x)[0, 0])(jnp.asarray(PICTURE)).ravel().tolist() == [5, 0, 0, 8]
    again = inspect.with_rules(twin, relu="standard")
    assert inspect.gradient(again, PICTURE, 0).ravel().tolist() == [5, 0, -7, 8]
    other = inspect.with_rules(by_hand(score, rules={"conv": "hand"}), relu="deconvnet")
    assert other.__by_hand__.rules == {
        **dict.fromkeys(("conv", "max_pool"), "hand"),
        **{"sum_pool": "auto", "relu": "deconvnet"},
    }


def test_grad_cam_is_its_definition():
    """A map that is the image, weighed by the mean of what the score owes to it; below zero it is cut."""

    def score(images):
        maps = checkpoint_name(images, "maps")
        return maps.reshape(len(images), -1) @ WEIGHTS

    assert inspect.grad_cam(score, PICTURE, 0, at="maps").ravel().tolist() == [3, 0, 9, 12]


def test_what_a_function_closes_over_is_read_every_time(pictures):
    kernel = {}

    def score(images):
        return jax.nn.relu(images).reshape(len(images), -1) @ kernel["now"]

    for factor in (1, 3):
        kernel["now"] = factor * jnp.ones((64, 2))
        for rule, method in (("standard", inspect.gradient), ("guided", inspect.guided_backprop)):
            np.testing.assert_array_equal(method(score, pictures, 1), factor * (pictures > 0), err_msg=rule)


def test_a_function_compiles_once(model, pictures):
    network, _, _ = in_lax(model)

    def sizes():
        return logits_of._cache_size(), score_gradient._cache_size()

    def all_of_it():
        return [inspect.saliency(network, pictures), inspect.guided_backprop(network, pictures)]

    all_of_it()
    before = sizes()
    all_of_it()
    assert sizes() == before


def test_bare_names_find_the_only_stage_that_ends_so(pictures):
    def network(images):
        for block in ("a", "b"):
            with jax.named_scope(block):
                with jax.named_scope(f"only_{block}"):
                    images = jax.nn.relu(images)
                with jax.named_scope("both"):
                    images = images + 1
        return images.mean((1, 2))

    for at in ("only_b", "b/only_b"):
        assert inspect.grad_cam(network, pictures, 0, at=at).shape == (3, 8, 8)
    with pytest.raises(ValueError, match="`at` must be one of relu_0, a/only_a, a/both, .*; got 'both'"):
        inspect.grad_cam(network, pictures, 0, at="both")


def test_shifts_take_any_function(model, pictures):
    network, _, _ = in_lax(model)
    options = {"reach": 2, "batch_size": 4}
    found = inspect.shift_curve(network, pictures, CLASSES, **options)
    expected = inspect.shift_curve(model, pictures, CLASSES, **options)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
    assert inspect.shift_consistency(network, pictures, **options) == inspect.shift_consistency(
        model, pictures, **options
    )


def flat(images):
    return images.reshape(len(images), -1)


REFUSED = {
    "no network": (lambda x: inspect.gradient(3, x), TypeError, "a network, or a function of images; got 3"),
    "no rule": (lambda x: inspect.with_rules(3, relu="guided"), TypeError, "a function of images; got 3"),
    "no logits": (
        lambda x: inspect.saliency(lambda x: x, x),
        ValueError,
        r"must return logits, \(3, classes\) for 3 images; got \(3, 8, 8, 1\)",
    ),
    "two results": (lambda x: inspect.saliency(lambda x: (x, x), x), ValueError, "must return logits, .*; got tuple"),
    "no class": (lambda x: inspect.gradient(flat, x, 64), ValueError, "`targets` must be from 0 to 63; got 64 to 64"),
    "no stage": (
        lambda x: inspect.grad_cam(flat, x),
        ValueError,
        "must have a stage with maps .*; it has none",
    ),
    "no ReLU": (lambda x: inspect.guided_backprop(flat, x), ValueError, "must have a ReLU, .*; got flat without one"),
    "no axis": (lambda x: inspect.by_cell(x, 0), ValueError, "`channel_axis` must be from 1 to 3, .*; got 0"),
    "no axis of a stage": (
        lambda x: inspect.grad_cam(lambda x: flat(jax.nn.relu(x)), x, channel_axis=4),
        ValueError,
        "`channel_axis` must be from 1 to 3, or from -3 to -1; got 4",
    ),
    "no head": (lambda x: inspect.class_activation_map(flat, x), TypeError, "a Flax NNX module, .*; got flat"),
    "no layers": (lambda x: inspect.randomization_check(flat, x), TypeError, "a Flax NNX module, .*; got flat"),
    "no module": (
        lambda x: inspect.maximize(lambda x: flat(jax.nn.relu(x)), 0, (8, 8, 1), at="relu_0"),
        TypeError,
        "a Flax NNX module; got <lambda>",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_state_the_rule(pictures, name):
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call(pictures)
