"""Normalization over neighboring channels."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.ops import arrays
from jaxcnn.ops.rule import Rule, custom_vjp, select_rule

# Local response normalization over channels, with the window W(c) of `size` channels round c:
#
#     d_c = k + alpha sum_{c' in W(c)} x_c'^2,      y_c = x_c d_c^(-beta).
#
# x_q enters y_q directly, and d_c for every c with q in W(c). Hence
#
#     dx_q = e_q d_q^(-beta) - 2 alpha beta x_q sum_{c : q in W(c)} e_c x_c d_c^(-beta - 1);
#
# the sum is a window sum with the window mirrored. The rule keeps x alone.


def _channel_sum(x: jax.Array, low: int, high: int) -> jax.Array:
    """Sums each channel with `low` channels before it and `high` after."""
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(low, high)])
    return functools.reduce(jnp.add, [padded[..., i : i + x.shape[-1]] for i in range(low + high + 1)])


def _plain_lrn(x: jax.Array, low: int, high: int, k: float, alpha: float, beta: float) -> jax.Array:
    return x * (k + alpha * _channel_sum(jnp.square(x), low, high)) ** -beta


_lrn = custom_vjp(1, 2, 3, 4, 5)(_plain_lrn)


def _lrn_bwd(low: int, high: int, k: float, alpha: float, beta: float, x: jax.Array, error: jax.Array):
    d = k + alpha * _channel_sum(jnp.square(x), low, high)
    back = _channel_sum(error * x * d ** (-beta - 1), high, low)
    return (error * d**-beta - (2 * alpha * beta) * x * back,)


_lrn.defvjp(lambda x, *options: (_lrn(x, *options), x), _lrn_bwd)


def local_response_norm(
    x: ArrayLike,
    *,
    size: int = 5,
    k: float = 2.0,
    alpha: float = 1e-4,
    beta: float = 0.75,
    rule: Rule = "hand",
) -> jax.Array:
    """Divides every activation by the energy of the neighboring channels.

    The result is `x / (k + alpha sum x^2)^beta`, with the sum over the `size` channels around each channel.

    Args:
      x: `(*batch, C)`; 16-bit floats are computed in float32.
      size: channels in a window; with an even size the extra channel is before the middle, as in PyTorch.
      k: added to the energy.
      alpha: weight of the sum of squares, as in the paper. PyTorch divides its `alpha` by `size`.
      beta: exponent.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      An array of the same shape and dtype.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `size` or `k` is not positive, or `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x = jnp.array([[1.0, 1.0, 0.0]])
      >>> ops.local_response_norm(x, size=1, k=1.0, alpha=1.0, beta=1.0).tolist()
      [[0.5, 0.5, 0.0]]
      >>> ops.local_response_norm(x, size=3, k=2.0, alpha=1.0, beta=1.0).tolist()
      [[0.25, 0.25, 0.0]]
      >>> jax.grad(lambda x: ops.local_response_norm(x, size=1, k=1.0, alpha=1.0, beta=1.0).sum())(x).tolist()
      [[0.0, 0.0, 1.0]]

    Source: Krizhevsky, Sutskever & Hinton 2012, section 3.3.
    """
    (x,) = arrays.floating(x=x)
    size = geometry.integer(size, "size")
    if k <= 0:
        raise ValueError(f"`k` must be positive; got {k}.")
    wide = x.astype(arrays.wider(x.dtype, jnp.float32))
    function = select_rule(rule, hand=_lrn, autodiff=_plain_lrn)
    return function(wide, size // 2, (size - 1) // 2, k, alpha, beta).astype(x.dtype)
