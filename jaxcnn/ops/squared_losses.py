"""Losses of regression besides the mean squared error, and their gradients."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn.ops import arrays
from jaxcnn.ops.rule import custom_vjp
from jaxcnn.ops.sharding import match_cotangent

# Half the squared error, L = 1/2 sum_k (y_k - t_k)^2 over the last axis: dL/dy_k = y_k - t_k, dL/dt = -dL/dy.


def _plain_half(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(predictions - targets), axis=-1) / 2


_half = custom_vjp()(_plain_half)


def _half_bwd(distance: tuple[jax.Array, jax.Array], error: jax.Array):
    predictions, targets = distance
    gradient = error[..., None] * (predictions - targets)
    return match_cotangent(gradient, predictions), match_cotangent(-gradient, targets)


_half.defvjp(lambda y, t: (_half(y, t), (y, t)), _half_bwd)


def half_squared_error(
    predictions: ArrayLike, targets: ArrayLike, *, rule: Literal["hand", "autodiff"] = "hand"
) -> jax.Array:
    """Half the squared error per example, summed over the last axis.

    Its gradient is the error itself, `predictions - targets`: the form `E = 1/2 (y - t)^2` of many lectures.

    Args:
      predictions: `(*batch, K)`.
      targets: an array of the same shape and dtype.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(*batch)` losses in the dtype of `predictions`; 16-bit floats are computed in float32.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if the shapes differ or have no last axis.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> y, target = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 4.0]])
      >>> ops.half_squared_error(y, target).tolist()
      [2.0]
      >>> jax.grad(lambda y: ops.half_squared_error(y, target).sum())(y).tolist()
      [[0.0, -2.0]]

    Source: Rumelhart, Hinton & Williams 1986, equation 3.
    """
    function = _half if arrays.choice("rule", rule, ("hand", "autodiff")) == "hand" else _plain_half
    predictions, targets = _pair(predictions, targets)
    if not predictions.ndim:
        raise ValueError(f"`predictions` must have a last axis, of values; got shape {predictions.shape}.")
    wide = arrays.wider(predictions.dtype, jnp.float32)
    return function(predictions.astype(wide), targets.astype(wide)).astype(predictions.dtype)


# Huber's loss of the error e = y - t, with a bound d > 0:
#
#     L = e^2 / 2 where |e| <= d, else d (|e| - d / 2),      dL/dy = max(-d, min(e, d)),      dL/dt = -dL/dy.
#
# The two pieces meet at |e| = d with one value and one slope. The gradient is the error, clipped: an outlier pulls no
# harder than d. With c = min(|e|, d) both pieces are c (|e| - c / 2), whose autodiff is right on either side too; at an
# infinite error the loss is infinite and the slope d.


def _plain_huber(predictions: jax.Array, targets: jax.Array, delta: float) -> jax.Array:
    distance = jnp.abs(predictions - targets)
    near = jnp.minimum(distance, delta)
    return near * (distance - near / 2)


_huber = custom_vjp(2)(_plain_huber)


def _huber_bwd(delta: float, residuals: tuple[jax.Array, jax.Array], error: jax.Array):
    predictions, targets = residuals
    gradient = error * jnp.clip(predictions - targets, -delta, delta)
    return match_cotangent(gradient, predictions), match_cotangent(-gradient, targets)


_huber.defvjp(lambda y, t, delta: (_huber(y, t, delta), (y, t)), _huber_bwd)


def huber_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    delta: float = 1.0,
    rule: Literal["hand", "autodiff"] = "hand",
) -> jax.Array:
    """Huber's loss, quadratic near the target and linear far from it.

    Args:
      predictions: an array of any shape.
      targets: an array of the same shape and dtype.
      delta: the distance from which the loss is linear; positive.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      Losses of the same shape, in the dtype of `predictions`; 16-bit floats are computed in float32.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if the shapes differ, or `delta` is not positive and finite.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> y, target = jnp.array([0.5, 3.0]), jnp.array([0.0, 0.0])
      >>> ops.huber_loss(y, target).tolist()
      [0.125, 2.5]
      >>> jax.grad(lambda y: ops.huber_loss(y, target).sum())(y).tolist()
      [0.5, 1.0]

    Source: Huber 1964; with `delta=1` the smooth L1 loss of Girshick 2015.
    """
    function = _huber if arrays.choice("rule", rule, ("hand", "autodiff")) == "hand" else _plain_huber
    predictions, targets = _pair(predictions, targets)
    if not 0 < delta < math.inf:
        raise ValueError(f"`delta` must be positive and finite; got {delta!r}.")
    wide = arrays.wider(predictions.dtype, jnp.float32)
    return function(predictions.astype(wide), targets.astype(wide), float(delta)).astype(predictions.dtype)


def _pair(predictions: ArrayLike, targets: ArrayLike) -> tuple[jax.Array, jax.Array]:
    predictions, targets = arrays.floating(predictions=predictions, targets=targets)
    if predictions.shape != targets.shape:
        raise ValueError(
            f"`predictions` and `targets` must have one shape; got {predictions.shape} and {targets.shape}."
        )
    return predictions, targets
