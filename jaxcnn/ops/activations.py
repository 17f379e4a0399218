"""Activation functions and their gradients."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

# bound now: who puts ops of this module in their place, `jax.nn.softmax = ops.softmax`, means the calls of others
from jax.nn import relu as jax_relu
from jax.nn import sigmoid as jax_sigmoid
from jax.nn import softmax as jax_softmax
from jax.numpy import tanh as jax_tanh
from jax.typing import ArrayLike

from jaxcnn.ops import arrays
from jaxcnn.ops.rule import Rule, custom_vjp, select_rule
from jaxcnn.ops.sharding import match_cotangent

ReluRule = Literal["standard", "guided", "deconvnet", "hand", "autodiff"]

# Rules that need only the output: y = f(x), dx = e f'(x) with f' as a function of y.


def _by_output(function: Callable[[jax.Array], jax.Array], pull: Callable[[jax.Array, jax.Array], jax.Array]):
    """`function` with the rule `dx = pull(y, e)`, which keeps only the output."""
    wrapped = custom_vjp()(function)
    wrapped.defvjp(lambda x: (wrapped(x),) * 2, lambda y, error: (pull(y, error),))
    return wrapped


# ReLU, y = max(x, 0). Where y > 0, dy/dx = 1; elsewhere 0. At the kink x = 0 it is 0, a subgradient, as in
# `jax.nn.relu` and PyTorch. A NaN in x is a NaN in y and stops its error: NaN > 0 is false. Two other rules are no
# gradients but pictures of one: deconvnet rectifies the error instead, guided backpropagation does both.


def _rectify(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0)


_RELU = {
    "standard": _by_output(_rectify, lambda y, error: jnp.where(y > 0, error, 0)),
    "guided": _by_output(_rectify, lambda y, error: jnp.where(y > 0, _rectify(error), 0)),
    "deconvnet": _by_output(_rectify, lambda y, error: _rectify(error)),
    "autodiff": jax_relu,
}
_RELU["hand"] = _RELU["standard"]

# tanh: dy/dx = 1 - y^2 = (1 - y)(1 + y); the product keeps its digits where |y| is near 1.
# sigmoid, y = 1 / (1 + exp(-x)): dy/dx = y (1 - y).
# scaled tanh, y = A tanh(S x): dy/dx = S (A - y)(A + y) / A. With A = 1.7159 and S = 2/3, f(1) = 1 and f(-1) = -1.
# softmax over the last axis, y_c = exp(x_c) / sum exp x: dy_c / dx_k = y_c ([c = k] - y_k), so dx = y (e - sum e y).

_A, _S = 1.7159, 2 / 3


def _plain_scaled_tanh(x: jax.Array) -> jax.Array:
    return _A * jax_tanh(_S * x)


_tanh = _by_output(jax_tanh, lambda y, error: error * (1 - y) * (1 + y))
_sigmoid = _by_output(jax_sigmoid, lambda y, error: error * y * (1 - y))
_scaled_tanh = _by_output(_plain_scaled_tanh, lambda y, error: error * (_S / _A) * (_A - y) * (_A + y))
_softmax = _by_output(
    lambda x: jax_softmax(x), lambda y, error: y * (error - jnp.sum(error * y, axis=-1, keepdims=True))
)


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
    """Computes `1.7159 tanh(2 x / 3)`, which maps 1 to 1 and -1 to -1.

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
    """Computes the logistic function `1 / (1 + exp(-x))`, with values in (0, 1).

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
    """Rectifies with a fixed slope below zero; its gradient at 0 is the slope.

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


# Steps have the derivative 0 wherever they have one. The straight-through rule, no gradient, passes the error as if the
# step were the identity where |x| <= 1, and nothing beyond.


def _step(function: Callable[[jax.Array], jax.Array]):
    def straight_through(x: jax.Array, error: jax.Array) -> jax.Array:
        return jnp.where(jnp.abs(x) <= 1, error, 0)

    rules = {}
    for name, pull in (("hand", lambda x, error: jnp.zeros_like(error)), ("straight_through", straight_through)):
        rules[name] = custom_vjp()(function)
        rules[name].defvjp(lambda x: (function(x), x), lambda x, error, pull=pull: (pull(x, error),))
    return rules | {"autodiff": function}


_UNIT_STEP = _step(lambda x: jnp.where(jnp.isnan(x), jnp.nan, (x >= 0).astype(x.dtype)))
_SIGNUM = _step(jnp.sign)


def unit_step(x: ArrayLike, *, rule: Literal["hand", "straight_through", "autodiff"] = "hand") -> jax.Array:
    """Computes Heaviside's step: 1 where `x >= 0`, else 0; NaN stays NaN.

    Args:
      x: an array of any shape.
      rule: `"hand"`, with gradient 0; `"straight_through"`, which passes the error where `|x| <= 1`; `"autodiff"`,
        JAX's own, which is 0.

    Returns:
      An array of the same shape and dtype.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x = jnp.array([-1.0, 0.0, 2.0])
      >>> ops.unit_step(x).tolist()
      [0.0, 1.0, 1.0]
      >>> jax.grad(lambda x: ops.unit_step(x).sum())(x).tolist()
      [0.0, 0.0, 0.0]

    Source: McCulloch & Pitts 1943; straight-through, Bengio, Leonard & Courville 2013, Hubara et al. 2016.
    """
    (x,) = arrays.floating(x=x)
    return _UNIT_STEP[arrays.choice("rule", rule, tuple(_UNIT_STEP))](x)


def signum(x: ArrayLike, *, rule: Literal["hand", "straight_through", "autodiff"] = "hand") -> jax.Array:
    """Computes the sign of `x`: -1, 0 or 1; NaN stays NaN.

    Args:
      x: an array of any shape.
      rule: as in `unit_step`.

    Returns:
      An array of the same shape and dtype.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x = jnp.array([-3.0, 0.0, 0.5])
      >>> ops.signum(x).tolist()
      [-1.0, 0.0, 1.0]
      >>> jax.grad(lambda x: ops.signum(x, rule="straight_through").sum())(x).tolist()
      [0.0, 1.0, 1.0]
    """
    (x,) = arrays.floating(x=x)
    return _SIGNUM[arrays.choice("rule", rule, tuple(_SIGNUM))](x)
