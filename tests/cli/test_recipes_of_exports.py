"""`export` leaves a recipe that gives the classes of `predict` for every kind of picture, without jaxcnn."""

import dataclasses
import json
import os
import re
import runpy
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from jaxcnn import data, export, models, weights
from jaxcnn.weights.runs import empty

FED = {  # networks of files: how they want their pictures
    "color": {"image_shape": [24, 20, 3]},
    "color, fed": {"preprocessing": dataclasses.asdict(data.Preprocessing((24, 20), 27, "bicubic"))},
    "gray, fed": {"preprocessing": dataclasses.asdict(data.Preprocessing((28, 28), 32, "bilinear", (0.5,), (0.5,)))},
}
ALONE = """
import runpy, sys
import numpy
sys.modules |= dict.fromkeys(("jaxcnn", "flax", *{without!r}))  # to import these fails
recipe, inputs, *pictures = sys.argv[1:]
space = runpy.run_path(recipe)
numpy.savez(inputs, *[space["read"](picture) for picture in pictures])
sys.argv[1:] = ["--top", "2", *pictures]
runpy.run_path(recipe, run_name="__main__")
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Pictures of every kind, of blocks that tell where is up."""
    folder, draw = tmp_path_factory.mktemp("odd"), np.random.default_rng(0)

    def blocks(width, height, mode="RGB"):
        pixels = draw.integers(0, 256, (5, 4, 3)).astype(np.uint8)
        return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).convert(mode)

    def save(image, name, **options):
        image.save(folder / name, **options)

    turned = Image.Exif()
    turned[0x0112] = 6
    save(blocks(60, 40), "turned.jpg", exif=turned)
    turned[0x0112] = 5
    save(blocks(900, 500), "large and mirrored.jpg", exif=turned, quality=70)
    save(blocks(300, 23), "wide.png")
    save(blocks(17, 210), "tall.png")
    save(blocks(2, 3), "tiny.png")
    save(blocks(64, 48, "L"), "gray photograph.jpg")
    save(blocks(64, 48, "CMYK"), "for print.jpg")
    save(blocks(30, 30).quantize(7), "palette.gif")
    save(blocks(30, 30).quantize(7), "palette with a hole.png", transparency=2)
    save(blocks(31, 30, "1"), "bits.png")
    alpha = Image.fromarray(np.linspace(0, 255, 40 * 50).reshape(50, 40).astype(np.uint8))
    for mode in ("RGBA", "LA"):
        image = blocks(40, 50, mode)
        image.putalpha(alpha)
        save(image, f"{mode}.png")
    deep = np.asarray(blocks(45, 33, "L"))
    save(Image.fromarray(deep.astype(np.uint16) * 257), "deep.png")
    save(Image.fromarray(deep.astype(np.uint16) * 200), "deep.tif")
    save(Image.fromarray((deep / 255).astype(np.float32)), "floats.tif")
    save(blocks(20, 24), "as the network.bmp")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def network(request, trained, tmp_path_factory):
    """A trained run, or a file of weights that are drawn from a seed."""
    if request.param == "gray run":
        return trained[0], (28, 28, 1), None
    fed = FED[request.param]
    told = fed.get("preprocessing")
    shape = (*told["size"], len(told["mean"])) if told else tuple(fed["image_shape"])
    options = {"hidden": [8], "image_size": list(shape[:2])}
    config = {"name": "mlp", "num_classes": 10, "in_features": shape[-1], "options": options, **fed}
    config |= {"classes": [f"the {place}th" for place in range(10)], "image_shape": list(shape)}
    if request.param == "gray, fed":  # `predict` tells the classes of ImageNet in words
        config |= {"num_classes": 1000, "classes": list(data.imagenet_classes().ids)}
    model, draw = empty(config, nnx.Rngs(0)), np.random.default_rng(0)
    drawn = lambda leaf: jax.device_put(draw.uniform(-0.3, 0.3, leaf.shape).astype(leaf.dtype))  # noqa: E731
    nnx.update(model, jax.tree.map(drawn, nnx.state(model, nnx.Param)))
    folder = tmp_path_factory.mktemp("weights") / "network"
    weights.save_pretrained(model, folder, config=config)
    return folder, shape, told and data.Preprocessing.of(told)


def alone(recipe, pictures, without=()):
    """The arrays that a recipe reads, and what it prints, in a process without jaxcnn."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "XLA_FLAGS")}
    inputs = recipe.with_name("inputs.npz")
    command = [sys.executable, "-c", ALONE.format(without=without), recipe, inputs, *pictures]
    done = subprocess.run(command, cwd=recipe.parent, env=clean, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return list(np.load(inputs).values()), done.stdout.splitlines()


@pytest.mark.parametrize("network", ["gray run", *FED], indirect=True)
def test_a_recipe_gives_the_classes_of_predict(jaxcnn, network, odd, tmp_path):
    pytest.importorskip("jax2onnx")
    source, shape, preprocessing = network
    outcome = jaxcnn("export", source, tmp_path / "net.onnx")
    assert outcome.status == 0
    recipe = tmp_path / "net_onnx.py"
    assert f"{recipe}: runs the network on picture files, without jaxcnn:\n  python {recipe} PICTURE\n" in outcome.out
    inputs, lines = alone(recipe, odd, without=("jax",))
    cut = shape[-1] == 3
    for path, found in zip(odd, inputs, strict=True):
        wanted = data.read_picture(path, shape, cut=cut, preprocessing=preprocessing).pixels
        np.testing.assert_array_equal(found, wanted[None], err_msg=path.name)
    said = json.loads(jaxcnn("predict", source, *odd, "--top", "2", "--format", "json").out)
    assert len(said) == len(lines) == 16
    best = set()
    for answer, line in zip(said, lines, strict=True):
        path, ranking = line.split("\t")
        assert path == answer["picture"]
        pairs = re.findall(r"(\S.*?) (\d\.\d{6})(?:  |$)", ranking)
        assert [name for name, _ in pairs] == [entry["class"] for entry in answer["top"]]
        shares = [entry["probability"] for entry in answer["top"]]
        assert [float(share) for _, share in pairs] == pytest.approx(shares, abs=1e-4)
        best.add(pairs[0][0])
    assert len(best) > 2


def test_a_recipe_of_stablehlo_needs_jax_alone(jaxcnn, trained, odd, tmp_path):
    assert jaxcnn("export", trained[0], tmp_path / "net.stablehlo").status == 0
    _, lines = alone(tmp_path / "net_stablehlo.py", odd)
    said = json.loads(jaxcnn("predict", trained[0], *odd, "--top", "2", "--format", "json").out)
    assert [line.split("\t")[1].split()[0] for line in lines] == [answer["top"][0]["class"] for answer in said]


def test_a_recipe_reads_what_a_file_resizes(jaxcnn, trained, odd, tmp_path):
    """The picture is only made upright and gray; the file does the rest."""
    assert (
        jaxcnn("export", trained[0], tmp_path / "net.stablehlo", "--with-preprocessing", "--classes-only").status == 0
    )
    some = [path for path in odd if path.stem in ("turned", "wide", "palette with a hole", "deep")]
    inputs, lines = alone(tmp_path / "net_stablehlo.py", some)
    shapes = {path.name: found.shape for path, found in zip(some, inputs, strict=True)}
    assert shapes["turned.jpg"] == (1, 60, 40, 1) and shapes["wide.png"] == (1, 23, 300, 1)
    said = json.loads(jaxcnn("predict", trained[0], *some, "--top", "1", "--format", "json").out)
    assert [line.split("\t")[1] for line in lines] == [answer["top"][0]["class"] for answer in said]


def test_answers_of_other_kinds_have_names(tmp_path):
    """One output is the probability of the second of two classes; values and labels are told as they are."""
    model = models.create("mlp", num_classes=1, hidden=(2,), rngs=nnx.Rngs(0))
    scaling = data.Scaling((0.5,), (0.5,))
    done = export.stablehlo(model, tmp_path / "one.v2.stablehlo", scaling=scaling, final="logistic")
    recipe = export.recipe(done, classes=("no", "yes"))
    assert recipe.name == "one.v2_stablehlo.py"
    space = runpy.run_path(str(recipe))
    assert space["told"](np.array([0.25]), 3) == "no 0.750000  yes 0.250000"
    assert space["run"](np.zeros((2, 28, 28, 1), np.uint8)).shape == (2, 1)
    done = export.stablehlo(model, done.path, scaling=scaling, final="logistic", classes_only=True)
    bits = runpy.run_path(str(export.recipe(done, classes=("no", "yes"))))["told"]
    assert [bits(np.array([bit], bool), 3) for bit in (0, 1)] == ["no", "yes"]
    done = export.stablehlo(model, done.path, scaling=scaling, final="none", units=data.Scaling((3.0,), (2.0,)))
    assert runpy.run_path(str(export.recipe(done)))["told"](np.array([1234.5678]), 3) == "0 1234.57"
    done.path.unlink()
    with pytest.raises(FileNotFoundError, match=r"one.v2.stablehlo must be beside this program; it does not exist\."):
        runpy.run_path(str(recipe))["run"](np.zeros((2, 28, 28, 1), np.uint8))
    done = export.stablehlo(model, tmp_path / "floats.stablehlo", final="none")
    with pytest.raises(ValueError, match=r"`exported` must take gray or color pictures in bytes; .* takes float32 of"):
        export.recipe(done)


def test_it_tells_what_cannot_be_read_and_inverts(jaxcnn, trained, odd, tmp_path):
    assert jaxcnn("export", trained[0], tmp_path / "net.stablehlo").status == 0
    (tmp_path / "no.png").write_text("no picture\n")
    command = [sys.executable, tmp_path / "net_stablehlo.py", "no.png", "gone.png", odd[0], "--invert"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    no, gone = "no.png must be a picture; Pillow recognizes no format in it.", "gone.png does not exist."
    assert (done.returncode, done.stderr.splitlines()[-2:]) == (2, [no, gone])
    said = json.loads(jaxcnn("predict", trained[0], odd[0], "--invert", "--format", "json").out)[0]
    assert re.findall(r"(\d) 0\.\d+", done.stdout) == [entry["class"] for entry in said["top"]]


def test_a_file_of_ones_own_is_not_replaced(jaxcnn, trained, tmp_path):
    own = tmp_path / "net_stablehlo.py"
    own.write_text("print('mine')\n")
    outcome = jaxcnn("export", trained[0], tmp_path / "net.stablehlo")
    message = f"The recipe of the export must not replace another file; {own} exists."
    assert (outcome.status, outcome.out, outcome.err) == (2, "", f"jaxcnn: {message}\n")
    assert [path.name for path in tmp_path.iterdir()] == [own.name] and own.read_text() == "print('mine')\n"
    outcome = jaxcnn("export", trained[0], tmp_path / "net.stablehlo", "--no-recipe")
    assert outcome.status == 0 and "PICTURE" not in outcome.out and own.read_text() == "print('mine')\n"
    own.unlink()
    for _ in range(2):  # a recipe replaces a recipe
        assert jaxcnn("export", trained[0], tmp_path / "net.stablehlo").status == 0
    assert own.read_text().startswith('"""Runs an exported network')
