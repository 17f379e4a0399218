"""The large networks at their standard size: what a step needs of memory."""

import subprocess
import sys

import pytest

STEP = """
import resource, sys
import jax, jax.numpy as jnp
from flax import nnx
from jaxcnn import models

model = models.create(sys.argv[1], rngs=nnx.Rngs(params=0, dropout=1))
graph, params, rest = nnx.split(model, nnx.Param, ...)

@jax.jit
def gradient(params, images):
    def loss(params):
        logits, stages = nnx.merge(graph, params, rest, copy=True)(images, capture=True)
        return jnp.sum(jnp.sin(logits)) + sum(jnp.sum(jnp.sin(stages[aid])) for aid in model.auxiliaries)
    return jax.grad(loss)(params)

found = gradient(params, jnp.ones((4, 224, 224, 3)))
assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(found))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "googlenet", "resnet50"])
def test_forward_and_backward_of_four_pictures_fit_in_8_gb(name):
    done = subprocess.run([sys.executable, "-c", STEP, name], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 8, "GiB resident at most"
