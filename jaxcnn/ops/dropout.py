"""Dropout and its gradient."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn.ops import arrays
from jaxcnn.ops.rule import Rule, custom_vjp, select_rule

# Inverted dropout. Each element is kept with probability q = 1 - rate and then divided by q: y = x k / q, dx = e k / q
# with the same k, drawn again from the same key; nothing else is kept.


def _keep(x: jax.Array, key: jax.Array, rate: float) -> jax.Array:
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), 0)


def _dropout_fwd(x: jax.Array, key: jax.Array, rate: float):
    return _dropout(x, key, rate), key


_dropout = custom_vjp(2)(_keep)
_dropout.defvjp(_dropout_fwd, lambda rate, key, error: (_keep(error, key, rate), None))


def dropout(x: ArrayLike, key: jax.Array, rate: float, *, rule: Rule = "hand") -> jax.Array:
    """Sets elements to 0 at random, and scales up the others.

    The share is `rate`; the scaling keeps the mean.

    Args:
      x: an array of any shape.
      key: a random key; the same key drops the same elements.
      rate: probability of being dropped, in `[0, 1)`.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      An array of the same shape and dtype.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `rate` is out of range or `rule` unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x, key = jnp.ones(1000), jax.random.key(0)
      >>> y = ops.dropout(x, key, rate=0.5)
      >>> sorted(set(y.tolist()))
      [0.0, 2.0]
      >>> gradient = jax.grad(lambda x: ops.dropout(x, key, rate=0.5).sum())(x)
      >>> bool((gradient == y).all())  # the same cells, the same factor
      True

    Source: Srivastava et al. 2014.
    """
    (x,) = arrays.floating(x=x)
    if not 0 <= rate < 1:
        raise ValueError(f"`rate` must be in [0, 1); got {rate}.")
    return select_rule(rule, hand=_dropout, autodiff=_keep)(x, key, float(rate))
