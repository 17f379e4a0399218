"""Transposed convolutions, as input gradients of ordinary ones.

oneDNN has these.
"""

import jax
from jax import lax

from jaxcnn.geometry import Window
from jaxcnn.ops import arrays
from jaxcnn.ops.native.form import Form, Part, operands

# In one axis, with stride 1, input dilation b, low padding p and x^[b q] = x[q], zero elsewhere,
#
#     y[j] = sum_t x^[j + d t - p] w[t].
#
# Put q for the cell of x that is read and t = k - 1 - t': then b q = j - d t' + d (k - 1) - p, so j = b q + d t' - p'
# with p' = d (k - 1) - p. That y[j] = sum_{q, t': b q + d t' - p' = j} x[q] w[k - 1 - t'] is the input gradient of the
# convolution with stride b, low padding p' and the kernel reversed, where x is the error. Of its kernel the axes of
# inputs and outputs are exchanged. In the same way the input gradient of y is its output, the kernel gradient its
# kernel gradient.

_EXCHANGED: dict[Part, Part] = {"outputs": "inputs", "inputs": "outputs", "kernel": "kernel"}


def ordinary(form: Form) -> Form | None:
    """The same call with input dilation 1, or None.

    It is one of an ordinary convolution; None if it is no such convolution's gradient.
    """
    window = form.window
    if set(window.input_dilation) == {1}:
        return form
    if set(window.strides) != {1}:
        return None
    padding = []
    for extent, (low, high), stride in zip(window.extent, window.padding, window.input_dilation, strict=True):
        # where more is added than a window reaches, the last cells are a remainder, which is less than a stride
        if low >= extent or high >= extent - 1 + stride:
            return None
        padding.append((extent - 1 - low, max(0, extent - 1 - high)))
    lhs, rhs, out = form.dims
    return form._replace(
        window=Window(window.shape, window.input_dilation, tuple(padding), window.strides, window.dilation),
        sizes=window.output_shape(form.sizes),
        dims=lax.ConvDimensionNumbers(out, (rhs[1], rhs[0], *rhs[2:]), lhs),
        wanted=_EXCHANGED[form.wanted],
    )


def exchanged(first: jax.Array, second: jax.Array, form: Form) -> tuple[jax.Array, jax.Array]:
    """The operands of that call."""
    if set(form.window.input_dilation) == {1}:
        return first, second
    values = dict(zip(operands(form.wanted), (first, second), strict=True))
    if "kernel" in values:
        rhs = form.dims.rhs_spec
        values["kernel"] = arrays.move_groups(lax.rev(values["kernel"], rhs[2:]), rhs[0], rhs[1], form.groups)
    left, right = (values[_EXCHANGED[part]] for part in operands(_EXCHANGED[form.wanted]))
    return left, right


def restored(gradient: jax.Array, form: Form) -> jax.Array:
    """A transposed convolution's kernel gradient from the ordinary one's."""
    rhs = form.dims.rhs_spec
    return arrays.move_groups(lax.rev(gradient, rhs[2:]), rhs[1], rhs[0], form.groups)
