"""Losses and their gradients."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn.ops import arrays

# Softmax cross-entropy of logits z and targets t over the last axis, with p = softmax(z):
#
#     L = -sum_c t_c log p_c,    log p_c = z_c - m - log sum_c' exp(z_c' - m),    m = max z.
#
# From d log p_c / d z_k = [c = k] - p_k follow dL/dz_k = p_k sum_c t_c - t_k, and dL/dt_c = -log p_c. A target of 0
# counts for nothing, even where log p is -inf (0 log 0 = 0) or NaN, in both gradients too, so that an example without a
# label has no part in the loss whatever its logits are. The rule keeps exp(z - m) and its sum, which are p, with log p
# and t.


def _loss(logits: jax.Array, targets: jax.Array) -> jax.Array:
    return _weigh(jax.nn.log_softmax(logits), targets)


def _weigh(log_p: jax.Array, targets: jax.Array) -> jax.Array:
    return -jnp.sum(targets * _counted(log_p, targets), axis=-1)


def _counted(values: jax.Array, weights: jax.Array) -> jax.Array:
    """The values without those that are not finite and have the weight 0."""
    return jnp.where((weights == 0) & ~jnp.isfinite(values), 0, values)


_cross_entropy = arrays.custom_vjp()(_loss)


def _cross_entropy_fwd(logits: jax.Array, targets: jax.Array):
    below = logits - jnp.max(logits, axis=-1, keepdims=True)
    powers = jnp.exp(below)
    total = jnp.sum(powers, axis=-1, keepdims=True)
    log_p = below - jnp.log(total)
    return _weigh(log_p, targets), (powers, total, log_p, logits, targets)


def _cross_entropy_bwd(residuals, error: jax.Array):
    powers, total, log_p, logits, targets = residuals
    weight = targets.sum(-1, keepdims=True)
    gradient = error[..., None] * (jnp.where(weight == 0, 0, powers * (weight / total)) - targets)
    targets_gradient = -error[..., None] * _counted(log_p, targets)
    return arrays.match_cotangent(gradient, logits), arrays.match_cotangent(targets_gradient, targets)


_cross_entropy.defvjp(_cross_entropy_fwd, _cross_entropy_bwd)


def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    label_smoothing: float = 0.0,
    rule: Literal["hand", "autodiff"] = "hand",
) -> jax.Array:
    """Cross-entropy between labels and the softmax of logits, one value per example.

    Args:
      logits: `(*batch, classes)`, unnormalised.
      labels: `(*batch)` integers in `[0, classes)`, or `(*batch, classes)` probabilities. An integer outside that
        range, as -1 for "unlabelled", matches no class and gives loss 0 (without smoothing).
      label_smoothing: the share of every target that is spread evenly over the classes, in `[0, 1]`.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.

    Returns:
      `(*batch)` losses in nats, in the dtype of `logits`, halves computed in float32.

    Raises:
      TypeError: if `logits` is not real floating, or `labels` neither that nor integer.
      ValueError: if the shapes disagree, or an option is out of range.

    Source: Bridle 1990; label smoothing, Szegedy et al. 2016, section 7.
    """
    (logits,) = arrays.floating(logits=logits)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    labels = jnp.asarray(labels)
    if not (jnp.issubdtype(labels.dtype, jnp.integer) or jnp.issubdtype(labels.dtype, jnp.floating)):
        raise TypeError(f"`labels` must be integers, or real floating probabilities; got {labels.dtype}.")
    if not logits.ndim:
        raise ValueError(f"`logits` must have a last axis, of classes; got shape {logits.shape}.")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"`label_smoothing` must be in [0, 1]; got {label_smoothing!r}.")
    wide = arrays.wider(logits.dtype, jnp.float32)
    expected = logits.shape if jnp.issubdtype(labels.dtype, jnp.floating) else logits.shape[:-1]
    if labels.shape != expected:
        raise ValueError(f"`labels` must have shape {expected}, for logits {logits.shape}; got {labels.shape}.")
    if jnp.issubdtype(labels.dtype, jnp.integer):
        labels = jax.nn.one_hot(labels, logits.shape[-1], dtype=wide)
    targets = labels.astype(wide)
    if label_smoothing:
        targets = (1 - label_smoothing) * targets + label_smoothing / logits.shape[-1]
    function = _cross_entropy if rule == "hand" else _loss
    return function(logits.astype(wide), targets).astype(logits.dtype)


# Squared error, L = sum_k (p_k - t_k)^2 / K over the last axis: dp = 2 (p - t) / K, dt = -dp.


def _plain_squared_error(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.mean(jnp.square(predictions - targets), axis=-1)


_squared_error = arrays.custom_vjp()(_plain_squared_error)


def _squared_error_bwd(residuals: tuple[jax.Array, jax.Array], error: jax.Array):
    predictions, targets = residuals
    gradient = error[..., None] * (predictions - targets) * (2 / predictions.shape[-1])
    return arrays.match_cotangent(gradient, predictions), arrays.match_cotangent(-gradient, targets)


_squared_error.defvjp(lambda p, t: (_squared_error(p, t), (p, t)), _squared_error_bwd)


def mean_squared_error(
    predictions: ArrayLike, targets: ArrayLike, *, rule: Literal["hand", "autodiff"] = "hand"
) -> jax.Array:
    """Squared error, averaged over the last axis, one value per example.

    Args:
      predictions: `(*batch, K)`, with K at least 1.
      targets: of the same shape and dtype.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(*batch)` losses in the dtype of `predictions`, halves computed in float32.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if the shapes differ or have no last axis.

    Source: LeCun et al. 1989.
    """
    function = _squared_error if arrays.choice("rule", rule, ("hand", "autodiff")) == "hand" else _plain_squared_error
    predictions, targets = arrays.floating(predictions=predictions, targets=targets)
    if predictions.shape != targets.shape or not predictions.ndim or not predictions.shape[-1]:
        raise ValueError(
            f"`predictions` and `targets` must have one shape, (*batch, K); "
            f"got {predictions.shape} and {targets.shape}."
        )
    wide = arrays.wider(predictions.dtype, jnp.float32)
    return function(predictions.astype(wide), targets.astype(wide)).astype(predictions.dtype)


# Binary cross-entropy of a logit z and a target t in [0, 1], with p = 1 / (1 + exp(-z)):
#
#     L = -t log p - (1 - t) log(1 - p) = w |z| + log(1 + exp(-|z|)),      dz = p - t,      dt = -z,
#
# with w, the probability of being wrong, 1 - t where z >= 0 and else t. The second form overflows nowhere; nor does
# p = (1 if z >= 0, else q) / (1 + q) of its q = exp(-|z|), which XLA then computes once. Who is infinitely sure and
# right loses nothing: where w is 0, an infinite z counts for nothing, in dt too.


def _wrong(logits: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.where(logits >= 0, 1 - targets, targets)


def _plain_binary(logits: jax.Array, targets: jax.Array) -> jax.Array:
    distance, wrong = jnp.abs(logits), _wrong(logits, targets)
    return wrong * _counted(distance, wrong) + jnp.log1p(jnp.exp(-distance))


_binary = arrays.custom_vjp()(_plain_binary)


def _binary_bwd(residuals: tuple[jax.Array, jax.Array], error: jax.Array):
    logits, targets = residuals
    power = jnp.exp(-jnp.abs(logits))
    logits_gradient = error * (jnp.where(logits >= 0, 1, power) / (1 + power) - targets)
    targets_gradient = -error * _counted(logits, _wrong(logits, targets))
    return arrays.match_cotangent(logits_gradient, logits), arrays.match_cotangent(targets_gradient, targets)


_binary.defvjp(lambda z, t: (_binary(z, t), (z, t)), _binary_bwd)


def binary_cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, rule: Literal["hand", "autodiff"] = "hand"
) -> jax.Array:
    """Cross-entropy between probabilities and the sigmoid of logits, elementwise.

    Args:
      logits: an array of any shape, unnormalised.
      targets: probabilities in `[0, 1]`, of the same shape and dtype.
      rule: `"hand"`; or `"autodiff"` for JAX's own, whose gradient at logit 0 differs for its kinks.

    Returns:
      Losses in nats, of the same shape and dtype, halves computed in float32.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if the shapes differ.
    """
    function = _binary if arrays.choice("rule", rule, ("hand", "autodiff")) == "hand" else _plain_binary
    logits, targets = arrays.floating(logits=logits, targets=targets)
    if logits.shape != targets.shape:
        raise ValueError(f"`targets` must have the shape of `logits`, {logits.shape}; got {targets.shape}.")
    wide = arrays.wider(logits.dtype, jnp.float32)
    return function(logits.astype(wide), targets.astype(wide)).astype(logits.dtype)
