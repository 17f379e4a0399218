"""Exported files that take pictures of any size: the pixels are Pillow's, and the classes those of `jaxcnn predict`."""

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from jaxcnn import data, export, models, training
from jaxcnn.export.preprocessing import fit_pictures

SIZES = [(24, 24), (40, 40), (41, 30), (90, 61), (23, 57), (7, 9), (64, 100), (33, 32)]  # width, height


def scene(seed: int, size: tuple[int, int]) -> Image.Image:
    """A picture in color with edges and plain parts, as photographs have."""
    draw = np.random.default_rng(seed)
    blocks = draw.integers(0, 256, (5, 5, 3)).astype(np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC if seed % 2 else Image.Resampling.NEAREST)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("wanted", [(16, 16), (28, 20), (48, 48)], ids=str)
def test_pixels_are_those_of_the_reader_of_pictures(tmp_path, size, wanted):
    height, width = wanted
    for mode, cut in (("RGB", True), ("L", False)):
        channels = len(mode)
        picture = scene(3, size).convert(mode)
        picture.save(tmp_path / "one.png")
        read = data.read_picture(tmp_path / "one.png", (height, width, channels), cut=cut).pixels
        pixels = np.asarray(picture).reshape(1, size[1], size[0], channels)
        found = np.asarray(fit_pictures(pixels, height, width, cut=cut))[0]
        assert found.shape == read.shape and found.dtype == np.uint8
        far = np.abs(found.astype(int) - read)
        assert far.max() <= 2 and far.mean() < 0.2, "Pillow rounds its weights, of each of two passes"


@pytest.mark.parametrize("kind", ["stablehlo", "onnx"])
@pytest.mark.parametrize("name", ["pictures", "digits"])
def test_a_file_gives_the_classes_of_predict_for_pictures_of_any_size(tmp_path, request, elsewhere, kind, name):
    if kind == "onnx":
        pytest.importorskip("jax2onnx")
    known = request.getfixturevalue(name)
    shape, channels = known.images.shape[1:], known.images.shape[-1]
    file = tmp_path / f"network.{kind}"
    write = getattr(export, kind)
    write(known.model, file, scaling=known.scaling, input_shape=shape, with_preprocessing=True)
    wanted, questions = [], []
    for seed, size in enumerate(SIZES):
        if channels == 3:
            picture = scene(seed, size)
        else:
            picture = Image.fromarray(known.images[seed, ..., 0]).resize(size, Image.Resampling.BICUBIC)
        picture.save(tmp_path / f"{seed}.png")
        read = data.read_picture(tmp_path / f"{seed}.png", shape, cut=channels == 3).pixels
        wanted.append(training.predict(known.model, read[None], known.scaling)[0])
        questions.append((file, np.asarray(picture).reshape(1, size[1], size[0], channels)))
    found = np.concatenate(elsewhere(kind, *questions))
    np.testing.assert_array_equal(found.argmax(-1), np.argmax(wanted, -1))
    np.testing.assert_allclose(found, wanted, atol=0.03)
    assert len(set(found.argmax(-1))) > 2


def test_several_pictures_of_one_size_are_taken_together(tmp_path, digits):
    file = tmp_path / "network.stablehlo"
    done = export.stablehlo(digits.model, file, scaling=digits.scaling, with_preprocessing=True)
    assert done.description["input"]["shape"] == ["batch", "height", "width", 1]
    assert done.description["input"]["resized_to"] == [28, 28]
    import jax

    network = jax.export.deserialize(bytearray(file.read_bytes()))
    own = network.call(digits.images[:5])
    np.testing.assert_allclose(own, digits.probabilities()[:5], atol=1e-4)
    twice = digits.images[:5].repeat(2, 1).repeat(2, 2)
    assert network.call(twice).shape == (5, 10)


def test_other_inputs_than_pictures_in_bytes_are_refused(tmp_path, digits):
    sentence = "`with_preprocessing` needs a network that takes gray or color pictures in bytes; this network takes"
    with pytest.raises(ValueError, match=sentence + " float32"):
        export.stablehlo(digits.model, tmp_path / "a.stablehlo", with_preprocessing=True)
    sounds = models.create("tdnn", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=sentence):
        export.stablehlo(sounds, tmp_path / "a.stablehlo", input_shape=(15, 16), with_preprocessing=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", SIZES[2:5], ids=str)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_pixels_of_published_weights_are_those_of_the_reader_of_pictures(tmp_path, size, interpolation):
    scene(3, size).save(tmp_path / "one.png")
    for fed in (data.Preprocessing((24, 20), 27, interpolation), data.Preprocessing((31, 16), 31, interpolation)):
        read = data.read_picture(tmp_path / "one.png", (*fed.size, 3), preprocessing=fed).pixels
        pixels = np.asarray(scene(3, size))[None]
        found = np.asarray(fit_pictures(pixels, *fed.size, cut=True, preprocessing=fed))[0]
        assert found.shape == read.shape and found.dtype == np.uint8
        far = np.abs(found.astype(int) - read)
        if interpolation == "nearest":  # a cell on the edge of two pixels may be either
            assert (far > 0).mean() < 0.1
        else:
            assert far.max() <= 2 and far.mean() < 0.2


@pytest.mark.parametrize("kind", ["stablehlo", "onnx"])
def test_a_file_resizes_as_published_weights_want_it(tmp_path, elsewhere, kind):
    if kind == "onnx":
        pytest.importorskip("jax2onnx")
    fed = data.Preprocessing((24, 20), 27, "bicubic", (0.5,) * 3, (0.5,) * 3)
    model = models.create("mlp", num_classes=10, in_features=3, rngs=nnx.Rngs(0), hidden=(8,), image_size=(24, 20))
    scaling = data.Scaling(fed.mean, fed.std)
    options = {"scaling": scaling, "preprocessing": fed, "with_preprocessing": True}
    done = getattr(export, kind)(model, tmp_path / f"network.{kind}", **options)
    assert done.description["input"]["resized_to"] == [24, 20]
    wanted, questions = [], []
    for seed, size in enumerate(SIZES):
        picture = scene(seed, size)
        picture.save(tmp_path / f"{seed}.png")
        read = data.read_picture(tmp_path / f"{seed}.png", (24, 20, 3), preprocessing=fed).pixels
        wanted.append(training.predict(model, read[None], scaling)[0])
        questions.append((done.path, np.asarray(picture)[None]))
    np.testing.assert_allclose(np.concatenate(elsewhere(kind, *questions)), wanted, atol=0.01)
    assert "READING = {}" in export.recipe(done).read_text()
