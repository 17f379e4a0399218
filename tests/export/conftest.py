"""Networks that know something, pictures to ask them about, and a process that knows neither jaxcnn nor them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import data, models, training

ALONE = {
    "stablehlo": """
import sys
import numpy
from jax import export
for file, images, answers in zip(*[iter(sys.argv[1:])] * 3):
    network = export.deserialize(bytearray(open(file, "rb").read()))
    numpy.save(answers, network.call(numpy.load(images)))
""",
    "onnx": """
import sys
import numpy, onnxruntime
for file, images, answers in zip(*[iter(sys.argv[1:])] * 3):
    network = onnxruntime.InferenceSession(file)
    numpy.save(answers, network.run(None, {"images": numpy.load(images)})[0])
""",
}
ABSENT = {"stablehlo": {"jaxcnn", "flax"}, "onnx": {"jaxcnn", "flax", "jax"}}


class Known(NamedTuple):
    """A network, bytes that it classifies, and their scaling."""

    model: nnx.Module
    images: np.ndarray
    scaling: data.Scaling

    def probabilities(self):
        return training.predict(self.model, self.images, self.scaling)


@pytest.fixture(scope="session")
def digits() -> Known:
    """LeNet-5 after one epoch, and all 1,797 digits."""
    train = data.load("digits")
    model = models.create("lenet5", rngs=nnx.Rngs(0))
    training.fit(model, train, config=training.TrainConfig(epochs=1), observer=None)
    images = np.concatenate([data.load("digits", split).images for split in ("train", "validation", "test")])
    assert len(images) == 1797
    return Known(model, images, data.measure_scaling(train))


@pytest.fixture(scope="session")
def settled() -> Callable[[nnx.Module], nnx.Module]:
    """`settled(model)`, see `settle`."""
    return settle


def settle(model: nnx.Module) -> nnx.Module:
    """Gives normalizations statistics, scales and biases, as training would; in evaluation mode."""
    draw = np.random.default_rng(1)
    for _, module in nnx.iter_modules(model):
        if isinstance(getattr(module, "var", None), nnx.BatchStat):
            shape = module.var[...].shape
            module.mean[...] = jnp.asarray(draw.normal(0, 0.3, shape), jnp.float32)
            module.var[...] = jnp.asarray(draw.uniform(0.5, 2, shape), jnp.float32)
            module.scale[...] = jnp.asarray(draw.uniform(0.5, 1.5, shape), jnp.float32)
            module.bias[...] = jnp.asarray(draw.normal(0, 0.3, shape), jnp.float32)
    model.eval()
    return model


@pytest.fixture(scope="session")
def pictures() -> Known:
    """A thin ResNet-20 and made pictures, noise in many colors, of which it finds several classes."""
    model = settle(models.create("resnet20", rngs=nnx.Rngs(0), widths=(4, 8, 16)))
    draw = np.random.default_rng(2)
    images = draw.uniform(0, 256, (200, 1, 1, 3)) * draw.uniform(0, 1, (200, 16, 16, 1))
    known = Known(model, images.astype(np.uint8), data.Scaling((0.5,) * 3, (0.25,) * 3))
    usual = np.log(known.probabilities() + 1e-30).mean(0)
    model.head.bias[...] -= jnp.asarray(usual, jnp.float32)
    return known


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory) -> Callable[..., list[np.ndarray]]:
    """`elsewhere("onnx", (file, images), ...)`: what files answer in a process that imports their runtime alone."""

    def run(kind: str, *questions: tuple[Path, np.ndarray]) -> list[np.ndarray]:
        folder = tmp_path_factory.mktemp("elsewhere")
        arguments, answers = [], []
        for number, (file, images) in enumerate(questions):
            np.save(folder / f"images{number}.npy", images)
            answers.append(folder / f"answers{number}.npy")
            arguments += [file, folder / f"images{number}.npy", answers[-1]]
        check = f"assert not {ABSENT[kind]} & set(sys.modules), sorted(sys.modules)\n"
        clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "XLA_FLAGS")}
        command = [sys.executable, "-c", ALONE[kind] + check, *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return [np.load(file) for file in answers]

    return run
