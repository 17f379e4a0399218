"""Normalisation as Flax NNX modules."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from jaxcnn import ops
from jaxcnn.layers.activation import Activation
from jaxcnn.layers.fusion import is_apart
from jaxcnn.ops.norm import Method, Rule

_SCALE_INIT, _BIAS_INIT = nnx.initializers.ones_init(), nnx.initializers.zeros_init()


class BatchNorm(nnx.Module):
    """Normalises every channel over the batch, and keeps running statistics for evaluation.

    Parameters and statistics are those of `flax.nnx.BatchNorm`; `train()` and `eval()` choose between the batch's own
    statistics and the running ones.

    Args:
      num_features: channels C.
      momentum: share of the running statistics that stays in a step; PyTorch's `momentum` is 1 minus this.
      epsilon: added to the variance.
      dtype: dtype of the result; by default that of the input. Statistics are computed in at least float32.
      param_dtype: dtype of scale and bias.
      scale_init: initialiser of the scale; by default ones.
      axis_name: mapped axes over which the batch is spread, whose statistics are then those of the whole batch, as in
        `ops.batch_norm`. `model.set_attributes(axis_name="data", raise_if_not_found=False)` sets it everywhere.
      rule: `"hand"` or `"autodiff"`.
      method: as in `ops.batch_norm`, in training.
      rngs: random streams, of which `params` is used.

    Source: Ioffe & Szegedy 2015.
    """

    def __init__(
        self,
        num_features: int,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        scale_init: nnx.Initializer = _SCALE_INIT,
        axis_name: str | tuple[str, ...] | None = None,
        rule: Rule = "hand",
        method: Method = "auto",
        rngs: nnx.Rngs,
    ):
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be in [0, 1); got {momentum}.")
        self.mean = nnx.BatchStat(jnp.zeros(num_features, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(num_features, jnp.float32))
        self.scale = nnx.Param(scale_init(rngs.params(), (num_features,), param_dtype))
        self.bias = nnx.Param(_BIAS_INIT(rngs.params(), (num_features,), param_dtype))
        self.momentum = momentum
        self.epsilon = epsilon
        self.dtype = dtype
        self.axis_name = axis_name
        self.use_running_average = False
        self.rule: Rule = rule
        self.method: Method = method

    def __call__(self, inputs: ArrayLike) -> jax.Array:
        """Normalises `(*batch, C)`."""
        return self._normalise(ops.batch_norm, inputs)

    def and_relu(self, inputs: ArrayLike, shortcut: ArrayLike | None = None) -> jax.Array:
        """The same, plus a shortcut, rectified: as one operation, `ops.batch_norm_relu`, if their dtypes agree."""
        if shortcut is None:
            return self._normalise(ops.batch_norm_relu, inputs)
        inputs, shortcut = jnp.asarray(inputs, self.dtype), jnp.asarray(shortcut)
        if shortcut.dtype != inputs.dtype:
            return ops.relu(self(inputs) + shortcut, rule=self.rule)
        return self._normalise(ops.batch_norm_relu, inputs, shortcut)

    def _normalise(self, function: Callable[..., tuple[jax.Array, ...]], inputs: ArrayLike, *others: ArrayLike):
        operands = jnp.asarray(inputs, self.dtype), self.scale[...], self.bias[...], *others
        options = {"epsilon": self.epsilon, "rule": self.rule}
        if self.use_running_average:
            return function(*operands, mean=self.mean[...], variance=self.var[...], **options)[0]
        y, mean, variance = function(*operands, axis_name=self.axis_name, method=self.method, **options)
        for running, found in ((self.mean, mean), (self.var, variance)):
            kept = running[...]
            # gradients do not flow through what is only remembered
            running[...] = self.momentum * kept + (1 - self.momentum) * lax.stop_gradient(found).astype(kept.dtype)
        return y


def are_one(norm: nnx.Module | None, activation: nnx.Module | None) -> bool:
    """Whether these two are one operation: in training, by hand-written rules, outside of `apart`."""
    if not isinstance(norm, BatchNorm) or not isinstance(activation, Activation) or is_apart():
        return False
    return not norm.use_running_average and (activation.name, activation.rule, norm.rule) == ("relu", "hand", "hand")


def normalise_and_activate(inputs: ArrayLike, norm: BatchNorm, activation: Activation) -> jax.Array:
    """One after the other, or as one operation where they `are_one`."""
    return norm.and_relu(inputs) if are_one(norm, activation) else activation(norm(inputs))


class LocalResponseNorm(nnx.Module):
    """Divides each activation by its neighbours' energy; arguments as in `ops.local_response_norm`."""

    def __init__(self, size: int = 5, *, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, rule: Rule = "hand"):
        self.size, self.k, self.alpha, self.beta = size, k, alpha, beta
        self.rule: Rule = rule

    def __call__(self, inputs: ArrayLike) -> jax.Array:
        """Normalises `(*batch, C)`."""
        return ops.local_response_norm(
            inputs, size=self.size, k=self.k, alpha=self.alpha, beta=self.beta, rule=self.rule
        )
