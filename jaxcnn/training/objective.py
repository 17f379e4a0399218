"""The loss that training minimizes."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn.training.tasks.classification import Classification
from jaxcnn.training.tasks.task import Task


class Objective(NamedTuple):
    """The loss that training minimizes.

    It is the loss of a task, also that of auxiliary heads.
    """

    task: Task = Classification()
    auxiliaries: Mapping[str, float] = {}  # stages that are also logits, and the weights of their losses
    class_weights: tuple[float, ...] = ()  # factors on the losses of the classes

    def losses(self, outputs: jax.Array, targets: ArrayLike) -> jax.Array:
        """Computes one loss per example, with the factor of its class.

        Targets of classes are labels, or one row of class probabilities per example.
        """
        losses = self.task.losses(outputs, targets)
        if not self.class_weights:
            return losses
        factors = jnp.asarray(self.class_weights, losses.dtype)
        return losses * (jnp.asarray(targets, losses.dtype) @ factors if jnp.ndim(targets) > 1 else factors[targets])

    def of(self, model: nnx.Module, inputs: jax.Array, targets: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Computes the minimized value, the loss and the outputs.

        The loss is that of the outputs alone; all are of one batch.
        """
        outputs, stages = model(inputs, capture=True) if self.auxiliaries else (model(inputs), {})  # type: ignore[operator]
        outputs = at_least_float32(outputs)
        loss = self.losses(outputs, targets).mean()
        total = loss
        for name, weight in self.auxiliaries.items():
            if weight:  # 0 times a loss without bound would be NaN
                total += weight * self.losses(at_least_float32(stages[name]), targets).mean()
        return total, loss, outputs


def at_least_float32(logits: jax.Array) -> jax.Array:
    """Converts logits to float32 or wider, for losses.

    16-bit floats are too coarse for a sum of exponentials.
    """
    return logits if logits.dtype == jnp.float64 else logits.astype(jnp.float32)
