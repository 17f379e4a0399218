"""jaxcnn itself: the networks by name, in the step that stock Flax runs through too."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.benchmarks.contestants import LeftOut, Program
from experiments.benchmarks.networks import Task
from experiments.benchmarks.peers_flax import nnx_program
from jaxcnn import layers, models, ops


def network(name: str, classes: int, dtype: str = "float32") -> nnx.Module:
    """A network, in training mode, as anyone gets it."""
    return models.create(name, num_classes=classes, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0))


def program(task: Task, method: str | None = None) -> Program:
    """A training step, without oneDNN, by another method in every convolution, or with oneDNN where that is fastest."""
    model = network(task.network, task.classes, task.dtype)
    if method is not None:
        require(method)
    if method != "native":
        model.set_attributes(layers.Conv, method=method or "jax")
        for kind in (layers.MaxPool, layers.BatchNorm):
            model.set_attributes(kind, method="jax", raise_if_not_found=False)
    return nnx_program(model, task)


def require(method: Any) -> None:
    """Refuses a method that `ops.conv` does not have, or has not here.

    Raises:
      LeftOut: with what `ops.conv` says.
    """
    try:
        jax.block_until_ready(ops.conv(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), method=method))
    except (ValueError, RuntimeError, ImportError, OSError, NotImplementedError) as error:
        raise LeftOut(str(error)) from error
