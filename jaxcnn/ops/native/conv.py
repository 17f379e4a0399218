"""Convolution by oneDNN, and its rule."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from jaxcnn.geometry import Window
from jaxcnn.ops import arrays
from jaxcnn.ops.native import call, transposed
from jaxcnn.ops.native.form import Form, computed, implementation, is_fast, operands, whole_is_fast
from jaxcnn.ops.rule import custom_vjp
from jaxcnn.ops.sharding import explicit_sharding, match_cotangent

DTYPES = tuple(map(jnp.dtype, (jnp.float32, jnp.bfloat16, jnp.float16)))  # of arguments and results

# The rule. A convolution y = F(x, w) is linear in x and in w, so with an error e like y it is one trilinear form,
#
#     T(x, w, e) = <e, F(x, w)> = <x, X(w, e)> = <w, W(x, e)>,
#
# of which F, the input gradient X and the kernel gradient W are the derivatives towards e, x and w. oneDNN computes all
# three. The rule of each needs the other two alone: where one of the three arrays was computed and c is its cotangent,
# <c, the array> is T with c in that array's place, so the gradients towards the two operands are again derivatives of
# T, each computed of c and the other operand. F gives X(w, c) and W(x, c), X gives F(c, w) and W(c, e), and so on.
#
# Bias and ReLU stay with XLA, one loop for both: a ReLU that oneDNN fuses into a convolution makes 0 of NaN, and that
# would hide what went wrong.


@custom_vjp(2)
def product(first: jax.Array, second: jax.Array, form: Form) -> jax.Array:
    """The array `form.wanted` of a convolution, computed from the two others."""
    operand = computed(first.dtype)
    result = form.dtype if form.dtype == operand else jnp.dtype(jnp.float32)
    if (operand, result) != (first.dtype, form.dtype):
        wide = product(first.astype(operand), second.astype(operand), form._replace(dtype=result))
        return wide.astype(form.dtype)
    _expect_fast(first, second, form)
    return call.product(first, second, form)


def _product_fwd(first: jax.Array, second: jax.Array, form: Form):
    return product(first, second, form), (first, second)


def _product_bwd(form: Form, residuals: tuple[jax.Array, jax.Array], error: jax.Array):
    wide = arrays.wider(error.dtype, residuals[0].dtype)
    names = operands(form.wanted)
    values = {**dict(zip(names, residuals, strict=True)), form.wanted: error}
    gradients = []
    for name, primal in zip(names, residuals, strict=True):
        first, second = (values[other].astype(wide) for other in operands(name))
        gradient = product(first, second, form._replace(wanted=name, dtype=wide))
        sharding = explicit_sharding(primal, error)
        gradient = gradient if sharding is None else jax.sharding.reshard(gradient, sharding)
        gradients.append(match_cotangent(gradient, primal))
    return tuple(gradients)


product.defvjp(_product_fwd, _product_bwd)


def conv(
    inputs: jax.Array,
    kernel: jax.Array,
    window: Window,
    dims: lax.ConvDimensionNumbers,
    groups: int = 1,
    element_type: DTypeLike | None = None,
) -> jax.Array:
    """Convolves, in the layouts that `dims` names.

    Raises:
      TypeError: if a dtype is none of float32, bfloat16 and float16.
      ValueError: if oneDNN has no such convolution.
      RuntimeError: if the backend cannot be built.
    """
    dtype = jnp.dtype(element_type or inputs.dtype)
    for name, given in (("dtype", inputs.dtype), ("preferred_element_type", dtype)):
        if given not in DTYPES:
            raise TypeError(f"`method='native'` needs float32, bfloat16 or float16 as {name}; got {given}.")
    if any(amount < 0 for pair in window.padding for amount in pair) and set(window.input_dilation) == {1}:
        raise ValueError(f"`method='native'` needs a padding of 0 or more; got {window.padding}.")
    sizes = tuple(inputs.shape[axis] for axis in dims.lhs_spec[2:])
    return compute(inputs, kernel, Form(window, sizes, dims, groups, "outputs", dtype))


def suits(first: Any, second: Any, form: Form) -> bool:
    """Whether `compute` is fast for a convolution and both its gradients."""
    ordinary = transposed.ordinary(form)
    if ordinary is None or min(map(min, ordinary.window.padding)) < 0:
        return False
    first, second = jax.eval_shape(functools.partial(transposed.exchanged, form=form), first, second)
    return whole_is_fast(first, second, ordinary)


def compute(first: jax.Array, second: jax.Array, form: Form) -> jax.Array:
    """The array `form.wanted` of any convolution, a transposed one too.

    Raises:
      ValueError: if oneDNN has no such convolution.
    """
    ordinary = transposed.ordinary(form)
    if ordinary is None:
        raise ValueError(
            "`method='native'` needs `input_dilation` 1, or `strides` 1 and a padding below the window; got "
            f"{form.window}."
        )
    if ordinary is form:
        return product(first, second, form)
    result = product(*transposed.exchanged(first, second, form), ordinary)
    return transposed.restored(result, form) if form.wanted == "kernel" else result


def _expect_fast(first: jax.Array, second: jax.Array, form: Form) -> None:
    if not is_fast(first, second, form):
        name = implementation(first, second, form)
        raise ValueError(
            f"oneDNN must have a fast implementation of the {form.wanted} of a convolution in {first.dtype}, here with "
            f"{form.groups} groups and {form.window}; it has {name or 'none'}."
        )
