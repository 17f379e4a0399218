"""The Dice loss of segmentation, and its gradient."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn.ops import arrays
from jaxcnn.ops.rule import custom_vjp
from jaxcnn.ops.sharding import match_cotangent

# Of one example, with pixels i, K classes c, logits z, p = softmax(z) over the classes, targets t, and m_i = 1 where a
# pixel counts, else 0:
#
#     I_c = sum_i m_i p_ic t_ic,      S_c = sum_i m_i (p_ic + t_ic),
#     D_c = (2 I_c + s) / (S_c + s),      L = 1 - (1 / K) sum_c D_c.
#
# D_c is a quotient, so dD_c/dp_ic = m_i (2 t_ic - D_c) / (S_c + s), and in the same way for t. With
#
#     g_ic = -(2 t_ic - D_c) / (K (S_c + s))
#
# and the softmax's own rule, dp_ic/dz_ik = p_ic ([c = k] - p_ik), follow
#
#     dL/dz_ik = m_i p_ik (g_ik - sum_c g_ic p_ic),      dL/dt_ic = -m_i (2 p_ic - D_c) / (K (S_c + s)).
#
# The rule keeps p, t, m, and the quotients and sums of each class. Of a pixel that does not count, p is set to 0 rather
# than multiplied by 0, so that its logits have no part in the loss whatever they are.


def _plain_dice(logits: jax.Array, targets: jax.Array, counted: jax.Array, smooth: float) -> jax.Array:
    shares = _shares(logits, counted)
    quotients, _ = _quotients(shares, targets, smooth)
    return 1 - jnp.mean(quotients, -1)


def _shares(logits: jax.Array, counted: jax.Array) -> jax.Array:
    """Computes `m p`.

    Also autodiff finds no NaN in a pixel that does not count.
    """
    return jnp.where(counted, jax.nn.softmax(jnp.where(counted, logits, 0)), 0)


def _quotients(shares: jax.Array, targets: jax.Array, smooth: float) -> tuple[jax.Array, jax.Array]:
    """Computes `D` and `S + s`, each `(N, K)`."""
    pixels = tuple(range(1, shares.ndim - 1))
    sums = jnp.sum(shares + targets, pixels) + smooth
    return (2 * jnp.sum(shares * targets, pixels) + smooth) / sums, sums


_dice = custom_vjp(3)(_plain_dice)


def _dice_fwd(logits: jax.Array, targets: jax.Array, counted: jax.Array, smooth: float):
    shares = _shares(logits, counted)
    quotients, sums = _quotients(shares, targets, smooth)
    return 1 - jnp.mean(quotients, -1), (shares, quotients, sums, logits, targets, counted)


def _dice_bwd(smooth: float, residuals: tuple[jax.Array, ...], error: jax.Array):
    del smooth  # it is in the sums
    shares, quotients, sums, logits, targets, counted = residuals
    pixels = tuple(range(1, shares.ndim - 1))
    quotients, slope = (
        jnp.expand_dims(value, pixels) for value in (quotients, -error[:, None] / (shares.shape[-1] * sums))
    )
    pull = slope * (2 * targets - quotients)
    gradient = shares * (pull - jnp.sum(pull * shares, -1, keepdims=True))
    targets_gradient = jnp.where(counted, slope * (2 * shares - quotients), 0)
    return match_cotangent(gradient, logits), match_cotangent(targets_gradient, targets), None


_dice.defvjp(_dice_fwd, _dice_bwd)


def dice_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smooth: float = 1.0,
    ignore_index: int | None = None,
    rule: Literal["hand", "autodiff"] = "hand",
) -> jax.Array:
    """Dice loss of labels and logits' softmax, one value per example.

    It is 1 minus the mean over the classes of twice the overlap of prediction and truth over the sum of their sizes.
    So a small class counts as much as a large one.

    Args:
      logits: `(N, *spatial, K)`, unnormalized.
      labels: `(N, *spatial)` integers in `[0, K)`, or `(N, *spatial, K)` probabilities. An integer outside that range
        matches no class.
      smooth: a number above 0 that is added to both parts of the quotient. It defines the quotient where a class is in
        neither the truth nor the prediction.
      ignore_index: the label of pixels that do not count, as 255 in many data sets; only with integer labels.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.

    Returns:
      `(N,)` losses from 0 to 1, in the dtype of `logits`. 16-bit floats are computed in float32.

    Raises:
      TypeError: if `logits` is not real floating, or `labels` is neither integer nor real floating.
      ValueError: if the shapes disagree, or an option is out of range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> logits, labels = jnp.array([[[0.0, 0.0], [0.0, 0.0]]]), jnp.array([[0, 1]])
      >>> ops.dice_loss(logits, labels, smooth=2.0).tolist()  # of each class 1 - (2 * 0.5 + 2) / (1 + 1 + 2)
      [0.25]
      >>> jax.grad(lambda z: ops.dice_loss(z, labels, smooth=2.0).sum())(logits).tolist()
      [[[-0.0625, 0.0625], [0.0625, -0.0625]]]

    Source: Milletari et al. 2016, with sums in the place of squares as Drozdzal et al. 2016.
    """
    (logits,) = arrays.floating(logits=logits)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    labels = jnp.asarray(labels)
    hard = jnp.issubdtype(labels.dtype, jnp.integer)
    if not hard and not jnp.issubdtype(labels.dtype, jnp.floating):
        raise TypeError(f"`labels` must be integers, or real floating probabilities; got {labels.dtype}.")
    if logits.ndim < 3:
        raise ValueError(f"`logits` must be (N, *spatial, K); got shape {logits.shape}.")
    if labels.shape != (logits.shape[:-1] if hard else logits.shape):
        expected = logits.shape[:-1] if hard else logits.shape
        raise ValueError(f"`labels` must have shape {expected}, for logits {logits.shape}; got {labels.shape}.")
    if not 0 < smooth < math.inf:
        raise ValueError(f"`smooth` must be positive and finite; got {smooth!r}.")
    if ignore_index is not None and not hard:
        raise ValueError(f"`ignore_index` needs integer labels; got {ignore_index} with labels of {labels.dtype}.")
    wide = arrays.wider(logits.dtype, jnp.float32)
    targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=wide) if hard else labels.astype(wide)
    counted = jnp.ones_like(logits[..., :1], bool)
    if ignore_index is not None and jnp.iinfo(labels.dtype).min <= ignore_index <= jnp.iinfo(labels.dtype).max:
        counted = (labels != ignore_index)[..., None]
        targets = jnp.where(counted, targets, 0)
    function = _dice if rule == "hand" else _plain_dice
    return function(logits.astype(wide), targets, counted, float(smooth)).astype(logits.dtype)
