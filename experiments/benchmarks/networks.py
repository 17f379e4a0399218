"""The networks of the steps: shapes, classes, and random batches."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LEARNING_RATE, MOMENTUM = 1e-3, 0.9


class Shape(NamedTuple):
    """What a network is fed with."""

    size: int
    channels: int
    classes: int


SHAPES = {
    "lenet5": Shape(28, 1, 10),
    "alexnet": Shape(224, 3, 1000),
    "vgg11": Shape(224, 3, 1000),
    "resnet20": Shape(32, 3, 10),
    "resnet50": Shape(224, 3, 1000),
}


class Task(NamedTuple):
    """One training step: which network, on which batch."""

    network: str
    batch: int
    size: int | None = None  # of the images, where it is not the network's own
    dtype: str = "float32"  # of the computation; parameters are float32

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the images, channels last."""
        size, channels, _ = SHAPES[self.network]
        size = self.size or size
        return self.batch, size, size, channels

    @property
    def classes(self) -> int:
        """Of the labels."""
        return SHAPES[self.network].classes

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Random images `(N, H, W, C)` and labels `(N,)`, the same for all contestants."""
        random = np.random.default_rng(0)
        images = random.standard_normal(self.shape, np.float32)
        return images, random.integers(0, self.classes, self.batch).astype(np.int32)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean loss, in float32, as optax has it: the same for all that leave the loss to optax."""
    import optax

    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels).mean()
