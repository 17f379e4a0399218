"""Small networks and data sets, which train in seconds, for the tests of training."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from jaxcnn import layers
from jaxcnn.data import Dataset

CLASSES = ("a", "b", "c")


class Linear(nnx.Module):
    """One dense layer on the flattened image."""

    def __init__(self, rngs: nnx.Rngs):
        self.head = nnx.Linear(6 * 6, 3, rngs=rngs)

    def __call__(self, images):
        return self.head(images.reshape(images.shape[0], -1))


class Convolutional(nnx.Module):
    """A convolution, batch statistics and a random stream: everything that a checkpoint must hold."""

    def __init__(self, rngs: nnx.Rngs):
        self.conv = layers.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.pool = layers.MaxPool(2)
        self.dropout = nnx.Dropout(0.3, rngs=rngs)
        self.head = nnx.Linear(3 * 3 * 4, 3, rngs=rngs)

    def __call__(self, images):
        x = self.pool(nnx.relu(self.norm(self.conv(images))))
        return self.head(self.dropout(x.reshape(x.shape[0], -1)))


def noise(count: int, split: str = "train") -> Dataset:
    """Random images with random labels: nothing to generalize, much to memorize."""
    random = np.random.default_rng([count, len(split)])
    images = random.integers(0, 256, (count, 6, 6, 1)).astype(np.uint8)
    return Dataset(images, random.integers(0, 3, count).astype(np.int32), CLASSES, "noise", split)


def everything(model: nnx.Module) -> dict[tuple, np.ndarray]:
    """All arrays of a network by their path: parameters, statistics, random streams."""
    return everything_of(nnx.state(model))


def everything_of(state: nnx.State) -> dict[tuple, np.ndarray]:
    """The same of what a network holds, without the network."""
    return {path: numbers(leaf[...]) for path, leaf in nnx.to_flat_state(state)}


def numbers(array: Any) -> np.ndarray:
    is_key = jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(array) if is_key else array)


def assert_same_bits(found: nnx.Module, expected: nnx.Module) -> None:
    a, b = everything(found), everything(expected)
    assert a.keys() == b.keys()
    for path in a:
        np.testing.assert_array_equal(a[path], b[path], strict=True, err_msg=str(path))


SPEED = {"images_per_second", "steps_per_second", "input_wait", "flops_per_second", "host_memory"}


def timeless(rows: list[dict]) -> list[dict]:
    """Rows of a log without the numbers that differ between equal runs."""
    return [{key: value for key, value in row.items() if key not in SPEED} for row in rows]


@pytest.fixture(scope="session")
def small() -> SimpleNamespace:
    """The small networks, data sets and comparisons of this folder."""
    return SimpleNamespace(
        Linear=Linear,
        Convolutional=Convolutional,
        noise=noise,
        everything=everything,
        everything_of=everything_of,
        assert_same_bits=assert_same_bits,
        timeless=timeless,
    )
