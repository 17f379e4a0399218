"""Activation functions and their gradients."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn.ops import arrays

# ReLU, y = max(x, 0). Where y > 0, dy/dx = 1; elsewhere 0. At the kink x = 0 it is 0, a subgradient, as in
# `jax.nn.relu` and PyTorch. The output tells the sides apart, so the input need not be kept. A NaN in x is a NaN in y
# and stops its error: NaN > 0 is false.


@jax.custom_vjp
def _relu(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0)


_relu.defvjp(
    lambda x: (_relu(x),) * 2,
    lambda y, error: (jnp.where(y > 0, error, 0),),
)


def relu(x: ArrayLike, *, rule: Literal["hand", "autodiff"] = "hand") -> jax.Array:
    """Rectifies: `max(x, 0)`, with gradient 0 at 0.

    Args:
      x: an array of any shape.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own, `jax.nn.relu`.

    Returns:
      An array of the same shape and dtype.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `rule` is unknown.

    Source: Nair & Hinton 2010; the value at the kink, Bertoin et al. 2021.
    """
    (x,) = arrays.floating(x=x)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    return _relu(x) if rule == "hand" else jax.nn.relu(x)


# Hyperbolic tangent, y = tanh x. dy/dx = 1 - y^2 = (1 - y)(1 + y): the product keeps its digits where |y| is near 1.


@jax.custom_vjp
def _tanh(x: jax.Array) -> jax.Array:
    return jnp.tanh(x)


_tanh.defvjp(
    lambda x: (_tanh(x),) * 2,
    lambda y, error: (error * (1 - y) * (1 + y),),
)


def tanh(x: ArrayLike, *, rule: Literal["hand", "autodiff"] = "hand") -> jax.Array:
    """Squashes into (-1, 1) by the hyperbolic tangent.

    Args:
      x: an array of any shape.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.

    Returns:
      An array of the same shape and dtype.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `rule` is unknown.

    Source: LeCun et al. 1989, 1998.
    """
    (x,) = arrays.floating(x=x)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    return _tanh(x) if rule == "hand" else jnp.tanh(x)
