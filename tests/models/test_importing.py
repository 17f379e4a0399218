"""A network of one's own, by the name of the function that makes it: in Python, and in the commands."""

import sys

import jax
import numpy as np
import pytest
from flax import nnx

from jaxcnn import models, training, weights
from jaxcnn.cli import main

SOURCE = """
import jax
from flax import nnx


class Small(nnx.Module):
    def __init__(self, num_classes, in_features, rngs, width=4):
        self.conv = nnx.Conv(in_features, width, (3, 3), strides=4, rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, num_classes, rngs=rngs)

    def __call__(self, images):
        return self.head(jax.nn.relu(self.norm(self.conv(images))).mean((1, 2)))


def make(*, num_classes, in_features, rngs, image_size, width=4):
    assert image_size == (28, 28)
    return Small(num_classes, in_features, rngs, width)


def number(rngs):
    return 3


TABLE = {}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module `own_network_NAME` in a folder where `import` finds it, and that folder."""
    name = f"own_network_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield name, tmp_path
    sys.modules.pop(name, None)


def test_a_class_and_a_function_are_called_with_what_they_take(own):
    name, _ = own
    model = models.create(f"{name}:Small", num_classes=3, in_features=1, rngs=nnx.Rngs(0), width=2)
    assert model.head.kernel.shape == (2, 3)
    assert models.options_of(f"{name}:Small") == ("width",)
    assert models.options_of(f"{name}:make") == ("image_size", "width")


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("no_such_module_here:make", "no 'no_such_module_here' for .*: run in the folder that holds it"),
        ("{}:mke", "must have the function 'mke'; it has .*make"),
        ("{}:TABLE", "must be a function or class that makes a network; got dict"),
        ("subprocess:call", "which is Python's own"),
        ("{}:", "must be MODULE:FUNCTION"),
    ],
)
def test_what_makes_no_network_is_one_sentence(own, what, sentence):
    with pytest.raises(ValueError, match=sentence):
        models.create(what.format(own[0]), rngs=nnx.Rngs(0))


def test_what_returns_no_module_and_an_unknown_option_are_refused(own):
    with pytest.raises(TypeError, match=r"number' must return a flax.nnx.Module; got int\."):
        models.create(f"{own[0]}:number", num_classes=2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"are width; got depth\."):
        models.create(f"{own[0]}:Small", num_classes=2, in_features=1, rngs=nnx.Rngs(0), depth=3)


def test_a_module_that_fails_says_how(own):
    (own[1] / "own_broken_module.py").write_text("1 / 0\n")
    with pytest.raises(ValueError, match="must be a module that can be imported; ZeroDivisionError: division by zero"):
        models.create("own_broken_module:make", rngs=nnx.Rngs(0))


def test_it_is_trained_evaluated_asked_and_exported(own, capsys):
    name, folder = own
    assert main(["train", f"{name}:make", "--epochs", "1", "--model-options", "width=3"]) == 0
    run = folder / "runs" / f"{name}-make-digits-seed0"
    assert (run / "report.html").is_file()
    assert training.read_description(run)["model"] == {"name": f"{name}:make", "options": {"width": 3}}
    told = capsys.readouterr().out
    (accuracy,) = [line.removeprefix("test ") for line in told.splitlines() if line.startswith("test accuracy")]
    sys.modules.pop(name)  # it is imported again
    assert main(["eval", str(run)]) == 0
    assert accuracy in capsys.readouterr().out
    model, config = weights.open_model(run)
    assert config["options"]["width"] == 3 and model.head.kernel.shape == (3, 10)
    assert main(["export", str(run), "own.stablehlo"]) == 0
    network = jax.export.deserialize(bytearray((folder / "own.stablehlo").read_bytes()))
    images = np.zeros((2, 28, 28, 1), np.uint8)
    scaling = training.restore_model(model, run)
    np.testing.assert_allclose(network.call(images), training.predict(model, images, scaling), atol=1e-5)
    assert main(["convert", str(run), "own.safetensors"]) == 0
    capsys.readouterr()
    assert main(["eval", "own.safetensors", "--data", "digits"]) == 2
    assert "which opening a file does not run; build it yourself" in capsys.readouterr().err
    sys.modules.pop(name)
    (folder / f"{name}.py").unlink()
    assert main(["eval", str(run)]) == 2
    error = capsys.readouterr().err
    assert f"no {name!r} for '{name}:make'" in error and error.count("\n") == 1
