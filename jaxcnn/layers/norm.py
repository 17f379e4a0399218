"""Normalization as Flax NNX modules."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from jaxcnn import ops
from jaxcnn.layers import initializers
from jaxcnn.layers.activation import Activation
from jaxcnn.layers.options import Option, Options, chosen
from jaxcnn.ops.choices import method_named
from jaxcnn.ops.norm.batch import METHODS, Method
from jaxcnn.ops.rule import Rule

_SCALE_INIT, _BIAS_INIT = initializers.constant(1.0), initializers.constant(0.0)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class BatchNorm(nnx.Module):
    """Normalizes every channel over the batch.

    It keeps running statistics for evaluation. Parameters and statistics are those of `flax.nnx.BatchNorm`. After
    `train()` the layer normalizes with the statistics of the batch, after `eval()` with the running ones.

    Args:
      num_features: channels C.
      momentum: share of the running statistics that a step keeps; PyTorch's `momentum` is 1 minus this.
      epsilon: added to the variance.
      dtype: dtype of the result; by default that of the input. Statistics are computed in at least float32.
      param_dtype: dtype of scale and bias.
      use_running_average: whether to normalize with the running statistics. `train()` and `eval()` change this, and
        the argument of a call has priority.
      axis: the axis of the channels.
      use_bias: whether to add a bias.
      use_scale: whether to multiply by a scale.
      bias_init: initializer of the bias; by default zeros.
      scale_init: initializer of the scale; by default ones.
      axis_name: mapped axes over which the batch is spread; the statistics are then those of the whole batch, as in
        `ops.batch_norm`. `model.set_attributes(axis_name="data", raise_if_not_found=False)` sets it in all layers.
      rule: `"hand"` or `"autodiff"`.
      method: as in `ops.batch_norm`, in training.
      options: `rule`, `method` and dtypes at once, instead of single ones.
      rngs: random streams; `params` is used.
      bias_metadata: further arguments of the bias's `nnx.Param`.
      scale_metadata: further arguments of the scale's `nnx.Param`.

    Raises:
      ValueError: if `momentum` is not in `[0, 1)`, or an option is unknown.

    Source: Ioffe & Szegedy 2015.
    """

    rule, method, dtype, param_dtype = Option(), Option(METHODS), Option(), Option()

    def __init__(
        self,
        num_features: int,
        *,
        use_running_average: bool | None = False,
        axis: int = -1,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        use_bias: bool = True,
        use_scale: bool = True,
        bias_init: nnx.Initializer = _BIAS_INIT,
        scale_init: nnx.Initializer = _SCALE_INIT,
        axis_name: str | tuple[str, ...] | None = None,
        rule: Rule = "hand",
        method: Method = "auto",
        options: Options | None = None,
        rngs: nnx.Rngs,
        bias_metadata: Mapping[str, Any] = _NOTHING,
        scale_metadata: Mapping[str, Any] = _NOTHING,
    ):
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be in [0, 1); got {momentum}.")
        method = method_named(method, METHODS)
        self.options = options = chosen(options, rule=rule, method=method, dtype=dtype, param_dtype=param_dtype)
        self.mean = nnx.BatchStat(initializers.filled(num_features, 0.0, jnp.float32))
        self.var = nnx.BatchStat(initializers.filled(num_features, 1.0, jnp.float32))
        scale = scale_init(rngs.params(), (num_features,), options.param_dtype) if use_scale else None
        bias = bias_init(rngs.params(), (num_features,), options.param_dtype) if use_bias else None
        self.scale = nnx.data(None) if scale is None else nnx.Param(scale, **scale_metadata)
        self.bias = nnx.data(None) if bias is None else nnx.Param(bias, **bias_metadata)
        self.num_features = num_features
        self.axis = axis
        self.momentum = momentum
        self.epsilon = epsilon
        self.axis_name = axis_name
        self.use_running_average = use_running_average

    def __call__(
        self, x: ArrayLike, use_running_average: bool | None = None, *, mask: ArrayLike | None = None
    ) -> jax.Array:
        """Normalizes.

        Args:
          x: an array with channels at `axis`, by default `(*batch, C)`.
          use_running_average: whether to use the running statistics; None means the setting of the layer.
          mask: booleans that broadcast to `x`; the statistics are those of the cells where it is True, as in
            `ops.batch_norm`.

        Returns:
          An array of the same shape.

        Raises:
          ValueError: if `use_running_average` is None in both the call and the layer.
        """
        return self._normalize(ops.batch_norm, x, given=use_running_average, mask=mask)

    def set_view(self, use_running_average: bool | None = None) -> None:
        """Chooses the statistics; `nnx.view` calls this.

        Args:
          use_running_average: whether to normalize with the running statistics; None keeps the setting.
        """
        if use_running_average is not None:
            self.use_running_average = use_running_average

    def and_relu(self, inputs: ArrayLike, shortcut: ArrayLike | None = None) -> jax.Array:
        """Normalizes, adds a shortcut and rectifies.

        This is one operation, `ops.batch_norm_relu`, if the dtypes agree.

        Args:
          inputs: `(*batch, C)`.
          shortcut: an array of the same shape; None adds nothing.

        Returns:
          An array of the same shape.
        """
        if shortcut is None:
            return self._normalize(ops.batch_norm_relu, inputs)
        inputs, shortcut = jnp.asarray(inputs, self.dtype), jnp.asarray(shortcut)
        if shortcut.dtype != inputs.dtype:
            return ops.relu(self(inputs) + shortcut, rule=self.rule)
        return self._normalize(ops.batch_norm_relu, inputs, shortcut)

    def _normalize(
        self,
        function: Callable[..., tuple[jax.Array, ...]],
        x: ArrayLike,
        *others: ArrayLike,
        given: bool | None = None,
        mask: ArrayLike | None = None,
    ) -> jax.Array:
        running_average = self.use_running_average if given is None else given
        if running_average is None:
            raise ValueError("`use_running_average` must be given to the layer or to its call; got None.")
        x = jnp.asarray(x, self.dtype)
        last = self.axis in (-1, x.ndim - 1)
        if mask is not None and not last:
            mask = jnp.moveaxis(jnp.broadcast_to(jnp.asarray(mask), x.shape), self.axis, -1)
        arrays = (x, *others) if last else [jnp.moveaxis(jnp.asarray(array), self.axis, -1) for array in (x, *others)]
        scale, bias = (
            jnp.full(self.num_features, value, self.mean.dtype) if variable is None else variable[...]
            for variable, value in ((self.scale, 1), (self.bias, 0))
        )
        operands, options = (arrays[0], scale, bias, *arrays[1:]), {"epsilon": self.epsilon, "rule": self.rule}
        if running_average:
            y = function(*operands, mean=self.mean[...], variance=self.var[...], **options)[0]
        else:
            options |= {"axis_name": self.axis_name, "method": self.method, "mask": mask}
            y, mean, variance = function(*operands, **options)
            self._remember(mean, variance)
        return y if last else jnp.moveaxis(y, -1, self.axis)

    def _remember(self, mean: jax.Array, variance: jax.Array) -> None:
        for running, of_batch in ((self.mean, mean), (self.var, variance)):
            kept = running[...]
            # gradients do not flow through what is only remembered
            running[...] = self.momentum * kept + (1 - self.momentum) * lax.stop_gradient(of_batch).astype(kept.dtype)


def are_one(norm: nnx.Module | None, activation: nnx.Module | None) -> bool:
    """Whether these two are fused.

    They are in training, with hand-written rules, if `activation.fuse`.
    """
    if not isinstance(norm, BatchNorm) or not isinstance(activation, Activation) or not activation.fuse:
        return False
    return not norm.use_running_average and (activation.name, activation.rule, norm.rule) == ("relu", "hand", "hand")


def normalize_and_activate(inputs: ArrayLike, norm: BatchNorm, activation: Activation) -> jax.Array:
    """Normalizes and activates, as one operation where possible.

    It is possible where the two can be fused.

    Args:
      inputs: `(*batch, C)`.
      norm: the normalization.
      activation: the activation.

    Returns:
      An array of the same shape.
    """
    return norm.and_relu(inputs) if are_one(norm, activation) else activation(norm(inputs))


class LocalResponseNorm(nnx.Module):
    """Divides each activation by the energy of the neighboring channels.

    Args:
      size: channels in a window.
      k: added to the energy.
      alpha: weight of the sum of squares, as in `ops.local_response_norm`.
      beta: exponent.
      rule: `"hand"` or `"autodiff"`.
      options: the rule, as a network passes it on.

    Source: Krizhevsky, Sutskever & Hinton 2012, section 3.3.
    """

    rule = Option()

    def __init__(
        self,
        size: int = 5,
        *,
        k: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        rule: Rule = "hand",
        options: Options | None = None,
    ):
        self.size, self.k, self.alpha, self.beta = size, k, alpha, beta
        self.options = chosen(options, rule=rule)

    def __call__(self, inputs: ArrayLike) -> jax.Array:
        """Normalizes.

        Args:
          inputs: `(*batch, C)`.

        Returns:
          An array of the same shape.
        """
        return ops.local_response_norm(
            inputs, size=self.size, k=self.k, alpha=self.alpha, beta=self.beta, rule=self.rule
        )
