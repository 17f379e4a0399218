"""ReLU and its leaky relatives, and their gradients."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

# bound now: who puts ops of this module in their place, `jax.nn.relu = ops.relu`, means the calls of others
from jax.nn import relu as jax_relu
from jax.typing import ArrayLike

from jaxcnn.ops import arrays
from jaxcnn.ops.rule import Rule, custom_vjp, rule_by_output, select_rule
from jaxcnn.ops.sharding import match_cotangent

ReluRule = Literal["standard", "guided", "deconvnet", "hand", "autodiff"]

# ReLU, y = max(x, 0). Where y > 0, dy/dx = 1; elsewhere 0. At the kink x = 0 it is 0, a subgradient, as in
# `jax.nn.relu` and PyTorch. A NaN in x is a NaN in y and stops its error: NaN > 0 is false. Two other rules are no
# gradients but pictures of one: deconvnet rectifies the error instead, guided backpropagation does both.


def _rectify(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0)


_RELU = {
    "standard": rule_by_output(_rectify, lambda y, error: jnp.where(y > 0, error, 0)),
    "guided": rule_by_output(_rectify, lambda y, error: jnp.where(y > 0, _rectify(error), 0)),
    "deconvnet": rule_by_output(_rectify, lambda y, error: _rectify(error)),
    "autodiff": jax_relu,
}
_RELU["hand"] = _RELU["standard"]


def relu(x: ArrayLike, *, rule: ReluRule = "standard") -> jax.Array:
    """Rectifies: `max(x, 0)`, with gradient 0 at 0.

    Args:
      x: an array of any shape.
      rule: `"standard"` (or `"hand"`) for the hand-written gradient; `"autodiff"` for JAX's own, `jax.nn.relu`;
        `"guided"` passes only positive errors, and only to positive inputs; `"deconvnet"` passes positive errors to
        any input.

    Returns:
      An array of the same shape and dtype.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x = jnp.array([-1.0, 0.0, 2.0])
      >>> ops.relu(x).tolist()
      [0.0, 0.0, 2.0]
      >>> jax.grad(lambda x: ops.relu(x).sum())(x).tolist()
      [0.0, 0.0, 1.0]

    Source: Nair & Hinton 2010; deconvnet, Zeiler & Fergus 2014; guided backpropagation, Springenberg et al. 2015.
    """
    (x,) = arrays.floating(x=x)
    return _RELU[arrays.choice("rule", rule, tuple(_RELU))](x)


# Leaky ReLU with slope a: y = x where x > 0, else a x; dx = e or a e; da = sum e x where x <= 0. At 0 the slope is a.
# For a parametric slope, one for all or one per channel, the sum runs over everything that shares it.


def _plain_prelu(x: jax.Array, slope: jax.Array) -> jax.Array:
    return jnp.where(x > 0, x, arrays.along_last(slope, x) * x)


_prelu = custom_vjp()(_plain_prelu)


def _prelu_bwd(residuals: tuple[jax.Array, jax.Array], error: jax.Array):
    x, slope = residuals
    wide = arrays.wider(x.dtype, jnp.float32)
    shares = jnp.where(x > 0, 0, error.astype(wide) * x.astype(wide))
    slope_gradient = jnp.sum(shares, tuple(range(x.ndim - slope.ndim)))
    return jnp.where(x > 0, error, arrays.along_last(slope, x) * error), match_cotangent(slope_gradient, slope)


_prelu.defvjp(lambda x, slope: (_prelu(x, slope), (x, slope)), _prelu_bwd)


def prelu(x: ArrayLike, slope: ArrayLike, *, rule: Rule = "hand") -> jax.Array:
    """Rectifies with a learned slope below zero.

    Args:
      x: `(*batch, C)`.
      slope: a scalar, or `(C)`; of the same dtype.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      An array of the shape and dtype of `x`.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if the slope has another shape, or `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x, slope = jnp.array([[-4.0, 2.0]]), jnp.array([0.25, 0.25])
      >>> ops.prelu(x, slope).tolist()
      [[-1.0, 2.0]]
      >>> jax.grad(lambda slope: ops.prelu(x, slope).sum())(slope).tolist()
      [-4.0, 0.0]

    Source: He et al. 2015, "Delving deep into rectifiers", section 2.1.
    """
    x, slope = arrays.floating(x=x, slope=slope)
    if slope.shape not in ((), x.shape[-1:]):
        raise ValueError(f"`slope` must have shape () or {x.shape[-1:]}, one entry per channel; got {slope.shape}.")
    return select_rule(rule, hand=_prelu, autodiff=_plain_prelu)(x, slope)


def leaky_relu(x: ArrayLike, slope: float = 0.01, *, rule: Rule = "hand") -> jax.Array:
    """Rectifies with a fixed slope below zero.

    Its gradient at 0 is the slope.

    Args:
      x: an array of any shape.
      slope: the slope, a constant that is not learned.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      An array of the same shape and dtype.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x = jnp.array([-4.0, 2.0])
      >>> ops.leaky_relu(x, 0.25).tolist()
      [-1.0, 2.0]
      >>> jax.grad(lambda x: ops.leaky_relu(x, 0.25).sum())(x).tolist()
      [0.25, 1.0]

    Source: Maas, Hannun & Ng 2013.
    """
    (x,) = arrays.floating(x=x)
    return prelu(x, lax.stop_gradient(jnp.asarray(slope, x.dtype)), rule=rule)
