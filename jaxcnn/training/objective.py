"""The loss that training minimizes."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import ops


class Objective(NamedTuple):
    """The loss that training minimizes."""

    loss: Literal["cross_entropy", "mean_squared_error"] = "cross_entropy"
    label_smoothing: float = 0.0
    auxiliaries: Mapping[str, float] = {}  # stages that are also logits, and the weights of their losses
    class_weights: tuple[float, ...] = ()  # factors on the losses of the classes

    def losses(self, logits: jax.Array, targets: ArrayLike) -> jax.Array:
        """Computes one loss per example; targets are labels, or one row of class probabilities per example."""
        losses = self._unweighted(logits, targets)
        if not self.class_weights:
            return losses
        factors = jnp.asarray(self.class_weights, losses.dtype)
        return losses * (jnp.asarray(targets, losses.dtype) @ factors if jnp.ndim(targets) > 1 else factors[targets])

    def _unweighted(self, logits: jax.Array, targets: ArrayLike) -> jax.Array:
        if jnp.ndim(targets) > 1:
            targets = jnp.asarray(targets, logits.dtype)
        if self.loss == "cross_entropy":
            return ops.softmax_cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        if jnp.ndim(targets) == 1:
            targets = jax.nn.one_hot(targets, logits.shape[-1], dtype=logits.dtype)
        return ops.mean_squared_error(logits, 2 * jnp.asarray(targets) - 1)

    def of(self, model: nnx.Module, inputs: jax.Array, targets: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Computes what is minimized, the loss of the logits alone, and the logits, of one batch."""
        logits, stages = model(inputs, capture=True) if self.auxiliaries else (model(inputs), {})  # type: ignore[operator]
        logits = at_least_float32(logits)
        loss = self.losses(logits, targets).mean()
        total = loss
        for name, weight in self.auxiliaries.items():
            if weight:  # 0 times a loss without bound would be NaN
                total += weight * self.losses(at_least_float32(stages[name]), targets).mean()
        return total, loss, logits


def at_least_float32(logits: jax.Array) -> jax.Array:
    """Converts logits for losses, since 16-bit floats are too coarse for a sum of exponentials."""
    return logits if logits.dtype == jnp.float64 else logits.astype(jnp.float32)


def is_right(logits: jax.Array, labels: ArrayLike) -> jax.Array:
    """Whether the largest logit is that of the label, for each example."""
    return jnp.argmax(logits, -1).astype(jnp.int32) == jnp.asarray(labels).astype(jnp.int32)  # bytes count to 255 only
