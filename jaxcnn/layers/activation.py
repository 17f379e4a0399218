"""Activations as modules.

So the rules of a network can be seen and replaced in one place.
"""

from collections.abc import Callable
from typing import get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jaxcnn import ops
from jaxcnn.layers.options import Option, Options, chosen
from jaxcnn.ops.arrays import choice
from jaxcnn.ops.rectifiers import ReluRule
from jaxcnn.ops.rule import Rule
from jaxcnn.ops.steps import StepRule

ActivationRule = ReluRule | StepRule

ACTIVATIONS: dict[str, Callable[..., jax.Array]] = {
    "relu": ops.relu,
    "leaky_relu": ops.leaky_relu,
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
    "scaled_tanh": ops.scaled_tanh,
    "unit_step": ops.unit_step,
    "signum": ops.signum,
    "identity": lambda inputs, *, rule: jnp.asarray(inputs),
}
_RULES = {"relu": ReluRule, "unit_step": StepRule, "signum": StepRule}


class Activation(nnx.Module):
    """An activation, chosen by its name.

    Args:
      name: `"relu"`, `"leaky_relu"`, `"sigmoid"`, `"tanh"`, `"scaled_tanh"`, `"unit_step"`, `"signum"` or
        `"identity"`, with which dense layers and convolutions in a row are one linear function.
      rule: `"hand"` or `"autodiff"`; for ReLU also the other rules of `ops.relu`, for the steps `"straight_through"`.
      fuse: whether this may be one operation with the normalization before it or the pool after it.

    Raises:
      ValueError: if name or rule is unknown.
    """

    def __init__(self, name: str = "relu", *, rule: ActivationRule = "hand", fuse: bool = True):
        choice("activation", name, tuple(ACTIVATIONS))
        choice("rule", rule, get_args(_RULES.get(name, Rule)))
        self.name = name
        self.rule: ActivationRule = rule
        self.fuse = fuse

    def __call__(self, inputs: ArrayLike) -> jax.Array:
        """Applies the activation.

        Args:
          inputs: an array of any shape.

        Returns:
          An array of the same shape and dtype.
        """
        return ACTIVATIONS[self.name](inputs, rule=self.rule)


class PReLU(nnx.Module):
    """Rectifies with a learned slope below zero, one for each channel.

    Args:
      num_features: channels C.
      slope: initial value of the slopes.
      dtype: dtype of the computation; by default that of the input.
      param_dtype: dtype of the slopes.
      rule: `"hand"` or `"autodiff"`.
      options: `rule` and dtypes at once, instead of single ones.

    Source: He et al. 2015, "Delving deep into rectifiers".
    """

    rule, dtype, param_dtype = Option(), Option(), Option()

    def __init__(
        self,
        num_features: int,
        *,
        slope: float = 0.25,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rule: Rule = "hand",
        options: Options | None = None,
    ):
        self.options = chosen(options, rule=rule, dtype=dtype, param_dtype=param_dtype)
        self.slope = nnx.Param(jnp.full(num_features, slope, self.param_dtype))

    def __call__(self, inputs: ArrayLike) -> jax.Array:
        """Rectifies.

        Args:
          inputs: `(*batch, C)`.

        Returns:
          An array of the same shape.
        """
        x = jnp.asarray(inputs, self.dtype)
        return ops.prelu(x, self.slope[...].astype(x.dtype), rule=self.rule)
