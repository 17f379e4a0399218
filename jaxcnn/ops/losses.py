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
# counts for nothing, even where log p is -inf (0 log 0 = 0). The rule keeps log p and t.


def _loss(logits: jax.Array, targets: jax.Array) -> jax.Array:
    return _weigh(jax.nn.log_softmax(logits), targets)


def _weigh(log_p: jax.Array, targets: jax.Array) -> jax.Array:
    return -jnp.sum(jnp.where(targets == 0, 0, targets * log_p), axis=-1)


_cross_entropy = jax.custom_vjp(_loss)


def _cross_entropy_fwd(logits: jax.Array, targets: jax.Array):
    log_p = jax.nn.log_softmax(logits)
    return _weigh(log_p, targets), (log_p, logits, targets)


def _cross_entropy_bwd(residuals, error: jax.Array):
    log_p, logits, targets = residuals
    gradient = error[..., None] * (jnp.exp(log_p) * targets.sum(-1, keepdims=True) - targets)
    return arrays.match_cotangent(gradient, logits), arrays.match_cotangent(-error[..., None] * log_p, targets)


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
      TypeError: if `logits` is not real floating.
      ValueError: if the shapes disagree, or an option is out of range.

    Source: Bridle 1990; label smoothing, Szegedy et al. 2016, section 7.
    """
    (logits,) = arrays.floating(logits=logits)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    labels = jnp.asarray(labels)
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
