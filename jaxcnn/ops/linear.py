"""The product with a matrix: its gradient and the op."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding
from jax.typing import ArrayLike, DTypeLike

from jaxcnn.ops import arrays
from jaxcnn.ops.rule import Rule, custom_vjp, def_sparing_vjp, select_rule
from jaxcnn.ops.sharding import explicit_sharding, match_cotangent

# With all leading axes as one, n, and the cotangent e of y:
#
#     y[n, o] = sum_i x[n, i] w[i, o] + b[o],
#     dx[n, i] = sum_o e[n, o] w[i, o],     dw[i, o] = sum_n x[n, i] e[n, o],     db[o] = sum_n e[n, o].
#
# The rule keeps x and w. Where nobody asks for one of the three, XLA does not compute it.

_Element = DTypeLike | None
_Options = tuple[lax.PrecisionLike, _Element, NamedSharding | None]


def _plain_linear(inputs: jax.Array, kernel: jax.Array, bias: jax.Array | None, options: _Options) -> jax.Array:
    precision, element, out_sharding = options
    outputs = _product(inputs, kernel, (-1, 0), precision, element, out_sharding)
    return outputs if bias is None else outputs + arrays.along_last(bias, outputs).astype(outputs.dtype)


_linear = custom_vjp(3)(_plain_linear)


def _gradients(options: _Options, operands: tuple[jax.Array, jax.Array, jax.Array | None], cotangent: jax.Array):
    inputs, kernel, bias = operands
    precision, leading = options[0], tuple(range(inputs.ndim - 1))
    of_inputs = _product(cotangent, kernel, (-1, 1), precision, inputs.dtype, explicit_sharding(inputs, cotangent))
    of_kernel = lax.dot_general(
        inputs,
        cotangent,
        ((leading, leading), ((), ())),
        precision=precision,
        preferred_element_type=kernel.dtype,
        out_sharding=explicit_sharding(kernel, cotangent),
    )
    of_bias = None if bias is None else match_cotangent(jnp.sum(cotangent, leading), bias)
    return match_cotangent(of_inputs, inputs), match_cotangent(of_kernel, kernel), of_bias


def_sparing_vjp(_linear, _gradients, 3)


def _product(
    inputs: jax.Array,
    kernel: jax.Array,
    axes: tuple[int, int],
    precision: lax.PrecisionLike,
    element: _Element,
    out_sharding: NamedSharding | None,
) -> jax.Array:
    contracted = ((inputs.ndim + axes[0],), (axes[1],))
    return lax.dot_general(
        inputs,
        kernel,
        (contracted, ((), ())),
        precision=precision,
        preferred_element_type=element,
        out_sharding=out_sharding,
    )


def linear(
    inputs: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    precision: lax.PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: NamedSharding | None = None,
    rule: Rule = "hand",
) -> jax.Array:
    """Multiplies the last axis by a matrix, and adds a bias.

    Args:
      inputs: `(..., I)`.
      kernel: `(I, O)`.
      bias: `(O,)`, or None.
      precision: as in `jax.lax.dot_general`.
      preferred_element_type: dtype in which the sums are kept and returned; by default that of the inputs.
      out_sharding: sharding of the outputs on an explicit mesh, as in `jax.lax.dot_general`.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.

    Returns:
      `(..., O)`.

    Raises:
      TypeError: if a dtype is not real floating, or two differ.
      ValueError: if the shapes do not fit, or `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x, w, b = jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [4.0]]), jnp.array([5.0])
      >>> ops.linear(x, w, b).tolist()
      [[16.0]]
      >>> [gradient.tolist() for gradient in jax.grad(lambda *a: ops.linear(*a).sum(), (0, 1, 2))(x, w, b)]
      [[[3.0, 4.0]], [[1.0], [2.0]], [1.0]]

    Source: Rosenblatt 1958; the gradient: Rumelhart, Hinton and Williams 1986.
    """
    if bias is None:
        inputs, kernel = arrays.floating(inputs=inputs, kernel=kernel)
    else:
        inputs, kernel, bias = arrays.floating(inputs=inputs, kernel=kernel, bias=bias)
    if inputs.ndim == 0 or kernel.ndim != 2 or inputs.shape[-1] != kernel.shape[0]:
        raise ValueError(f"`inputs` (..., I) must fit `kernel` (I, O); got {inputs.shape} and {kernel.shape}.")
    if bias is not None and bias.shape != kernel.shape[1:]:
        raise ValueError(f"`bias` must be {kernel.shape[1:]}, one for each column of `kernel`; got {bias.shape}.")
    options = (precision, preferred_element_type, out_sharding)
    return select_rule(rule, hand=_linear, autodiff=_plain_linear)(inputs, kernel, bias, options)
