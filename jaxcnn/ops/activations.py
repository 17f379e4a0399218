"""Smooth activation functions and their gradients."""

import jax
import jax.numpy as jnp

# bound now: who puts ops of this module in their place, `jax.nn.softmax = ops.softmax`, means the calls of others
from jax.nn import sigmoid as jax_sigmoid
from jax.nn import softmax as jax_softmax
from jax.numpy import tanh as jax_tanh
from jax.typing import ArrayLike

from jaxcnn.ops import arrays
from jaxcnn.ops.rule import Rule, rule_by_output

# tanh: dy/dx = 1 - y^2 = (1 - y)(1 + y); the product keeps its digits where |y| is near 1.
# sigmoid, y = 1 / (1 + exp(-x)): dy/dx = y (1 - y).
# scaled tanh, y = A tanh(S x): dy/dx = S (A - y)(A + y) / A. With A = 1.7159 and S = 2/3, f(1) = 1 and f(-1) = -1.
# softmax over the last axis, y_c = exp(x_c) / sum exp x: dy_c / dx_k = y_c ([c = k] - y_k), so dx = y (e - sum e y).

_A, _S = 1.7159, 2 / 3


def _plain_scaled_tanh(x: jax.Array) -> jax.Array:
    return _A * jax_tanh(_S * x)


_tanh = rule_by_output(jax_tanh, lambda y, error: error * (1 - y) * (1 + y))
_sigmoid = rule_by_output(jax_sigmoid, lambda y, error: error * y * (1 - y))
_scaled_tanh = rule_by_output(_plain_scaled_tanh, lambda y, error: error * (_S / _A) * (_A - y) * (_A + y))
_softmax = rule_by_output(
    lambda x: jax_softmax(x), lambda y, error: y * (error - jnp.sum(error * y, axis=-1, keepdims=True))
)


def tanh(x: ArrayLike, *, rule: Rule = "hand") -> jax.Array:
    """Computes the hyperbolic tangent, with values in (-1, 1).

    Args:
      x: an array of any shape.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.

    Returns:
      An array of the same shape and dtype.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x = jnp.array([0.0, 100.0])
      >>> ops.tanh(x).tolist()
      [0.0, 1.0]
      >>> jax.grad(lambda x: ops.tanh(x).sum())(x).tolist()
      [1.0, 0.0]

    Source: LeCun et al. 1989, 1998.
    """
    return _apply(x, rule, _tanh, jax_tanh)


def scaled_tanh(x: ArrayLike, *, rule: Rule = "hand") -> jax.Array:
    """Computes `1.7159 tanh(2 x / 3)`.

    It maps 1 to 1 and -1 to -1.

    Args:
      x: an array of any shape.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.

    Returns:
      An array of the same shape and dtype.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x = jnp.array([0.0, 1.0])
      >>> ops.scaled_tanh(x).round(3).tolist()
      [0.0, 1.0]
      >>> round(jax.grad(ops.scaled_tanh)(x[0]).item(), 3)  # 1.7159 * 2 / 3
      1.144

    Source: LeCun et al. 1989; LeCun et al. 1998, appendix A.
    """
    return _apply(x, rule, _scaled_tanh, _plain_scaled_tanh)


def sigmoid(x: ArrayLike, *, rule: Rule = "hand") -> jax.Array:
    """Computes the logistic function, with values in (0, 1).

    It is `1 / (1 + exp(-x))`.

    Args:
      x: an array of any shape.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.

    Returns:
      An array of the same shape and dtype.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x = jnp.array([0.0, 100.0])
      >>> ops.sigmoid(x).tolist()
      [0.5, 1.0]
      >>> jax.grad(lambda x: ops.sigmoid(x).sum())(x).tolist()
      [0.25, 0.0]

    Source: Rumelhart, Hinton & Williams 1986.
    """
    return _apply(x, rule, _sigmoid, jax_sigmoid)


def softmax(x: ArrayLike, *, rule: Rule = "hand") -> jax.Array:
    """Turns the last axis into probabilities, `exp(x) / sum(exp(x))`.

    Args:
      x: `(*batch, classes)`.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.

    Returns:
      An array of the same shape and dtype.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> ops.softmax(jnp.array([0.0, 0.0, -jnp.inf])).tolist()
      [0.5, 0.5, 0.0]
      >>> jax.grad(lambda x: ops.softmax(x)[0])(jnp.zeros(2)).tolist()
      [0.25, -0.25]

    Source: Bridle 1990.
    """
    return _apply(x, rule, _softmax, jax_softmax)


def _apply(x: ArrayLike, rule: Rule, by_hand, by_jax) -> jax.Array:
    (x,) = arrays.floating(x=x)
    return (by_hand if arrays.choice("rule", rule, ("hand", "autodiff")) == "hand" else by_jax)(x)
