"""Networks with numbers in them, made without compiling anything."""

import jax
import numpy as np
import pytest
from flax import nnx

from jaxcnn.weights.runs import empty


@pytest.fixture
def drawn():
    """`drawn("resnet20", num_classes=7)`: a network in evaluation mode, all it has learned drawn from a seed."""

    def make(name, seed=0, **config):
        model, generator = empty({"name": name, **config}, nnx.Rngs(0)), np.random.default_rng(seed)

        def draw(leaf):
            reach = 1 / np.sqrt(np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.3
            return jax.device_put(generator.uniform(-reach / 2, reach, leaf.shape).astype(leaf.dtype))

        nnx.update(model, jax.tree.map(draw, nnx.state(model, nnx.Param)))
        nnx.update(model, jax.tree.map(lambda leaf: abs(draw(leaf)), nnx.state(model, nnx.BatchStat)))
        model.eval()
        return model

    return make
