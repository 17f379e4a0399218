"""ONNX: the same answers in a process that has neither JAX nor jaxcnn."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import export, inspect, models

_THIN = (4, 8, 8, 8)
NETWORKS = {
    "alexnet": ((67, 67, 3), {"image_size": (67, 67), "widths": (8, 16, 16, 16, 16), "hidden": (16, 16)}),
    "allcnn": ((12, 12, 3), {"widths": (8, 16)}),
    "bn_inception": ((32, 32, 3), {}),
    "c3d": ((4, 16, 16, 3), {"clip_shape": (4, 16, 16), "widths": (4, 4, 8, 8, 8), "hidden": 16}),
    "googlenet": ((32, 32, 3), {}),
    "lecun1989": ((16, 16, 1), {}),
    "lenet5_1998": ((28, 28, 1), {}),
    "mlp": ((6, 5, 1), {"image_size": (6, 5), "hidden": (8,)}),
    "prelu_net": ((32, 32, 3), {"widths": _THIN, "hidden": 16}),
    "resnet18": ((32, 32, 3), {"widths": _THIN, "version": 2}),
    "resnet50": ((32, 32, 3), {"widths": _THIN}),
    "tdnn": ((15, 16), {}),
    "tdnn_wide": ((20, 12), {"widths": (8, 8), "dilations": (1, 2)}),
    "textcnn": ((9,), {"embedding": 8, "features": 4, "in_features": 11}),
    "vgg11_bn": ((32, 32, 3), {"image_size": (32, 32), "widths": (*_THIN, 8), "hidden": 16}),
}
_QUICK = {"lecun1989", "mlp", "tdnn_wide", "textcnn"}


@pytest.fixture(scope="module", autouse=True)
def converter():
    """jax2onnx and onnxruntime, or no tests."""
    pytest.importorskip("jax2onnx")
    return pytest.importorskip("onnxruntime")


def test_another_process_gives_the_same_classes_in_onnx(digits, pictures, elsewhere, tmp_path):
    classes = [str(number) for number in range(10)]
    done = export.onnx(digits.model, tmp_path / "digits", scaling=digits.scaling, classes=classes)
    assert done.size == done.path.stat().st_size and done.difference < 1e-5
    options = {"scaling": pictures.scaling, "input_shape": (16, 16, 3), "classes_only": True, "fold_batch_norm": True}
    export.onnx(pictures.model, tmp_path / "pictures", **options)
    rounded = export.onnx(digits.model, tmp_path / "rounded", scaling=digits.scaling, weights="int8")
    assert rounded.size < 0.35 * done.size
    found = elsewhere(
        "onnx",
        (tmp_path / "digits", digits.images),
        (tmp_path / "digits", digits.images[:1]),
        (tmp_path / "rounded", digits.images),
        (tmp_path / "pictures", pictures.images),
    )
    own = digits.probabilities()
    in_bytes = digits._replace(model=export.quantize(digits.model)).probabilities()
    for answers, expected in zip(found, (own, own[:1], in_bytes), strict=False):
        np.testing.assert_allclose(answers, expected, atol=1e-5)
        np.testing.assert_array_equal(answers.argmax(-1), expected.argmax(-1))
    assert found[3].dtype == np.int32
    np.testing.assert_array_equal(found[3], pictures.probabilities().argmax(-1))

    import onnx

    graph = onnx.load(done.path)
    told = {entry.key: json.loads(entry.value) for entry in graph.metadata_props}
    assert {key: told[key] for key in done.description} == done.description
    assert told["classes"] == classes and told["input"]["dtype"] == "uint8"
    used = [node.op_type for node in onnx.load(tmp_path / "pictures").graph.node]
    assert used.count("Conv") == 19 and not {"Sqrt", "Softmax", "Exp"} & set(used)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in _QUICK else [pytest.mark.slow]) for name in NETWORKS]
)
def test_every_family_of_networks_goes_to_onnx(name, settled, tmp_path):
    shape, options = NETWORKS[name]
    options = {"in_features": shape[-1], **options}
    model = settled(models.create(name, num_classes=5, rngs=nnx.Rngs(params=0, dropout=1), **options))
    done = export.onnx(model, tmp_path / "net", input_shape=shape, final="none")  # which runs it
    assert done.difference < 1e-3


def test_bits_in_onnx(tmp_path, random, converter):
    model = models.create("mlp", num_classes=3, image_size=(4, 4), hidden=(5,), rngs=nnx.Rngs(0))
    model.eval()
    done = export.onnx(model, tmp_path / "net", final="logistic", classes_only=True)
    images = random.normal(size=(20, 4, 4, 1)).astype(np.float32)
    session = converter.InferenceSession(done.path)
    (found,) = session.run(None, {"images": images})
    np.testing.assert_array_equal(found, np.asarray(model(jnp.asarray(images))) >= 0)
    assert session.get_outputs()[0].name == "answers"
    done = export.onnx(model, tmp_path / "net", final="tanh", classes_only=True)
    (signs,) = converter.InferenceSession(done.path).run(None, {"images": images})
    np.testing.assert_array_equal(signs, np.sign(np.asarray(model(jnp.asarray(images)))))


def test_a_graph_also_gives_maps_of_stages(digits, converter, tmp_path):
    stages = {"pixels": 1, "pool1": 2, "conv2": 99, "dense2": 5}
    options = {"scaling": digits.scaling, "with_preprocessing": True}
    done = export.onnx(digits.model, tmp_path / "net.onnx", stages=stages, **options)
    assert done.description["stages"] == stages
    session = converter.InferenceSession(done.path)
    answers, *maps = session.run(["answers", *stages], {"images": digits.images[:9]})
    np.testing.assert_allclose(answers, digits.probabilities()[:9], atol=1e-5)
    seen = inspect.activations(digits.model, digits.scaling(digits.images[:9]))
    for (name, count), found in zip(stages.items(), maps, strict=True):
        wanted = digits.images[:9] if name == "pixels" else seen[name][..., :count]
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    with pytest.raises(ValueError, match=r"`stages` must name stages of the network, pixels, conv1, .*; got 'conv9'"):
        export.onnx(digits.model, tmp_path / "net.onnx", stages={"conv9": 1}, **options)
