"""Step functions, whose gradient is 0 or passes straight through."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn.ops import arrays
from jaxcnn.ops.rule import custom_vjp

StepRule = Literal["hand", "straight_through", "autodiff"]

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


def unit_step(x: ArrayLike, *, rule: StepRule = "hand") -> jax.Array:
    """Computes Heaviside's step: 1 where `x >= 0`, else 0.

    NaN stays NaN.

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

    Source: McCulloch & Pitts 1943; the output of Rosenblatt's perceptron, 1958; straight-through, Bengio, Leonard &
    Courville 2013, Hubara et al. 2016.
    """
    (x,) = arrays.floating(x=x)
    return _UNIT_STEP[arrays.choice("rule", rule, tuple(_UNIT_STEP))](x)


def signum(x: ArrayLike, *, rule: StepRule = "hand") -> jax.Array:
    """Computes the sign of `x`: -1, 0 or 1.

    NaN stays NaN.

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
