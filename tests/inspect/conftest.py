"""A small network, with the ends that networks have."""

import jax
import pytest
from flax import nnx

from jaxcnn import layers, ops
from jaxcnn.models.network import Network


class Small(Network):
    """Two convolutions, a pool between them; then one dense layer after the mean over space or all cells, or none."""

    def __init__(self, *, end: str = "mean", activation: str = "relu", channels: int = 1, dtype="float32"):
        rngs = nnx.Rngs(0)
        options = {"rngs": rngs, "param_dtype": dtype, "bias_init": nnx.initializers.normal(0.1)}
        self.conv1 = layers.Conv(channels, 3, (3, 3), padding="VALID", **options)
        self.pool1 = layers.MaxPool(2)
        self.conv2 = layers.Conv(3, 4, (2, 2), padding="VALID", **options)
        features = {"mean": 4, "cells": 4 * 2 * 2}.get(end)
        self.head = nnx.data(nnx.Linear(features, 5, **options) if features else None)
        self.activation = layers.Activation(activation)
        self.end = end
        self.input_shape = (None, None, channels)

    def stages(self, x: jax.Array):
        yield "conv1", (x := self.activation(self.conv1(x)))
        yield "pool1", (x := self.pool1(x))
        yield "conv2", (x := self.activation(self.conv2(x)))
        if self.end != "cells":
            yield "mean", (x := ops.global_avg_pool(x))
        yield "head", x if self.head is None else self.head(x.reshape(len(x), -1))


@pytest.fixture
def small():
    """Makes a small network; that of `end="cells"` takes pictures of 8 x 8."""
    return Small
