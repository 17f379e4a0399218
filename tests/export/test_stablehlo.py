"""StableHLO: the same answers in a process that imports JAX alone."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.export import deserialize

import jaxcnn
from jaxcnn import data, export, layers, models, training


def test_another_process_gives_the_same_classes(digits, pictures, elsewhere, tmp_path):
    for name, known in {"digits": digits, "pictures": pictures}.items():
        done = export.stablehlo(known.model, tmp_path / name, scaling=known.scaling, input_shape=known.images.shape[1:])
        assert done.size == done.path.stat().st_size and done.difference < 1e-5
    found = elsewhere(
        "stablehlo",
        (tmp_path / "digits", digits.images),
        (tmp_path / "digits", digits.images[:1]),
        (tmp_path / "pictures", pictures.images),
    )
    expected = digits.probabilities(), digits.probabilities()[:1], pictures.probabilities()
    for answers, own in zip(found, expected, strict=True):
        np.testing.assert_allclose(answers, own, atol=1e-5)
        np.testing.assert_array_equal(answers.argmax(-1), own.argmax(-1))
    assert len(np.unique(expected[2].argmax(-1))) > 1


def test_what_stands_beside_the_file(digits, tmp_path):
    classes = [f"digit {number}" for number in range(10)]
    done = export.stablehlo(digits.model, tmp_path / "net", scaling=digits.scaling, classes=classes)
    told = json.loads((tmp_path / "net.json").read_text())
    assert told == done.description
    assert told["classes"] == classes and told["network"] == "LeNet5"
    scaling = digits.scaling._asdict()
    scaling = {key: list(value) if isinstance(value, tuple) else value for key, value in scaling.items()}
    assert told["input"] == {"shape": ["batch", 28, 28, 1], "dtype": "uint8", "scaling": scaling}
    assert told["output"] == {"kind": "probabilities", "count": 10}
    assert told["versions"]["jaxcnn"] == jaxcnn.__version__
    exported = deserialize(bytearray(done.path.read_bytes()))
    assert set(exported.platforms) == set(told["platforms"]) == {"cpu", "cuda", "tpu"}
    assert exported.in_avals[0].dtype == np.uint8 and str(exported.in_avals[0].shape[0]) == "batch"


def call(done, images):
    return np.asarray(deserialize(bytearray(done.path.read_bytes())).call(images))


def test_classes_alone_folded_and_in_bytes(pictures, tmp_path):
    options = {"scaling": pictures.scaling, "input_shape": (16, 16, 3), "platforms": ["cpu"]}
    plain = export.stablehlo(pictures.model, tmp_path / "plain", **options)
    classes = export.stablehlo(pictures.model, tmp_path / "classes", classes_only=True, fold_batch_norm=True, **options)
    found = call(classes, pictures.images)
    assert found.dtype == np.int32 and found.shape == (200,) and classes.size < plain.size
    np.testing.assert_array_equal(found, pictures.probabilities().argmax(-1))
    assert classes.description["output"]["kind"] == "classes" and classes.description["batch_norm_folded"]


def test_bytes_make_the_file_small_and_are_the_rounded_network(digits, tmp_path):
    files = {
        weights: export.stablehlo(digits.model, tmp_path / weights, scaling=digits.scaling, weights=weights)
        for weights in ("float", "int8")
    }
    assert files["int8"].size < 0.35 * files["float"].size
    rounded = digits._replace(model=export.quantize(digits.model))
    np.testing.assert_allclose(call(files["int8"], digits.images[:50]), rounded.probabilities()[:50], atol=1e-5)


def test_the_logistic_function_becomes_the_unit_step_and_tanh_signum(tmp_path, random):
    model = models.create("mlp", num_classes=3, image_size=(4, 4), hidden=(5,), rngs=nnx.Rngs(0))
    images = jnp.asarray(random.normal(size=(20, 4, 4, 1)), jnp.float32)
    model.eval()
    logits = np.asarray(model(images))
    outputs = {}
    for classes_only in (False, True):
        done = export.stablehlo(model, tmp_path / "net", final="logistic", classes_only=classes_only)
        outputs[done.description["output"]["kind"]] = call(done, images)
    np.testing.assert_allclose(outputs["probabilities"], 1 / (1 + np.exp(-logits)), atol=1e-6)
    np.testing.assert_array_equal(outputs["bits"], logits >= 0)
    assert outputs["bits"].dtype == np.uint8 and 0 < outputs["bits"].mean() < 1
    for classes_only in (False, True):
        done = export.stablehlo(model, tmp_path / "net", final="tanh", classes_only=classes_only)
        outputs[done.description["output"]["kind"]] = call(done, images)
    np.testing.assert_allclose(outputs["scores"], np.tanh(logits), atol=1e-6)
    np.testing.assert_array_equal(outputs["signs"], np.sign(logits))
    assert outputs["signs"].dtype == np.int8
    done = export.stablehlo(model, tmp_path / "net", final="none")
    np.testing.assert_allclose(call(done, images), logits, atol=1e-6)


def test_crops_of_the_training_are_made_inside(tmp_path):
    model = models.create("mlp", in_features=3, num_classes=2, image_size=(4, 4), hidden=(5,), rngs=nnx.Rngs(0))
    crop = data.Augmentation(("crop=4",))
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3)).astype(np.uint8)
    scaling = data.Scaling((0.5,) * 3, (0.25,) * 3)
    done = export.stablehlo(model, tmp_path / "net", scaling=scaling, augmentation=crop, input_shape=(6, 6, 3))
    expected = jax.nn.softmax(model(jnp.asarray(scaling(images[:, 1:5, 1:5]))))
    np.testing.assert_allclose(call(done, images), expected, atol=1e-5)


class Wrong(nnx.Module):
    """Computes something else under JAX's rule than under ours."""

    def __init__(self, *, rngs):
        self.dense = nnx.Linear(4, 2, rngs=rngs)
        self.activation = layers.Activation("relu")

    def __call__(self, x):
        return self.dense(x) * (1.01 if self.activation.rule == "autodiff" else 1.0)


def test_refusals(tmp_path, pictures, digits):
    path = tmp_path / "net"
    refused = {
        "`input_shape` must be given for CifarResNet, which takes ('any', 'any', 3); got None.": (pictures.model, {}),
        "`classes` must name all 10 outputs; got 1 names.": (digits.model, {"classes": ["one"]}),
        "`final` must be one of 'softmax', 'logistic', 'tanh', 'none'; got 'relu'.": (digits.model, {"final": "relu"}),
        "`weights` must be one of 'float', 'int8'; got 'int4'.": (digits.model, {"weights": "int4"}),
        "`final` 'softmax' needs two outputs or more; got 1, use 'logistic'.": (
            models.create("mlp", num_classes=1, image_size=(4, 4), hidden=(), rngs=nnx.Rngs(0)),
            {},
        ),
    }
    for message, (model, options) in refused.items():
        with pytest.raises(ValueError) as caught:
            export.stablehlo(model, path, **options)
        assert str(caught.value) == message
    with pytest.raises(RuntimeError, match="must be within 1.0e-04 of its network; it differs by "):
        export.stablehlo(Wrong(rngs=nnx.Rngs(0)), path, input_shape=(4,), final="none")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_trained_network_in_another_process(elsewhere, tmp_path):
    train, test = data.load("digits", "train"), data.load("digits", "test")
    model, scaling = models.create("lenet5", rngs=nnx.Rngs(0)), data.measure_scaling(train)
    training.fit(model, train, config=training.TrainConfig(epochs=10, batch_size=64), observer=None)
    done = export.stablehlo(model, tmp_path / "net", scaling=scaling, classes_only=True)
    (found,) = elsewhere("stablehlo", (done.path, test.images))
    np.testing.assert_array_equal(found, training.predict(model, test.images, scaling).argmax(-1))
    assert (found == test.labels).mean() > 0.9
