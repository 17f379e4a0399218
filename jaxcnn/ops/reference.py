"""Two slow implementations of convolution: explicit loops, and im2col.

The latter has one matrix product.

They are the textbook forms, and the reference for the fast implementations. Both compute::

    y[m, j, (g, o)] = sum_{t, i} x^[m, s j + d t - p, (g, i)] w[t, i, (g, o)]

on the padded, dilated input x^, with the letters of `ops.conv`.
"""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.geometry import Window
from jaxcnn.ops import arrays
from jaxcnn.ops.rule import custom_vjp
from jaxcnn.ops.sharding import match_cotangent, varying_like


def _pad(inputs: jax.Array, window: Window) -> jax.Array:
    """The padded, dilated input x^, with zeros in all gaps.

    They also fill the borders.
    """
    spatial = [(low, high, b - 1) for (low, high), b in zip(window.padding, window.input_dilation, strict=True)]
    return lax.pad(inputs, jnp.zeros((), inputs.dtype), [(0, 0, 0), *spatial, (0, 0, 0)])


def _unpad(padded: jax.Array, window: Window) -> jax.Array:
    """The adjoint of `_pad`: reads back the input's cells."""
    cells = padded
    for axis, ((low, high), b) in enumerate(zip(window.padding, window.input_dilation, strict=True), start=1):
        # cropped cells were never read: they come back as zeros
        borders = [(0, 0, 0)] * padded.ndim
        borders[axis] = (-low, -high, 0)
        cells = lax.pad(cells, jnp.zeros((), padded.dtype), borders)
        cells = lax.slice_in_dim(cells, 0, None, b, axis)
    return cells


# im2col. Its column (t, i) at output j is x^[s j + d t - p, i]: a linear map that copies, so its adjoint, col2im, adds
# every copy back to the cell from which it came. Each is the other's gradient.


def _taps(window: Window, output: tuple[int, ...]):
    """The slice of x^ that each tap reads, in row-major order.

    A slice has starts, limits, strides.
    """
    for tap in itertools.product(*map(range, window.shape)):
        starts = [t * d for t, d in zip(tap, window.dilation, strict=True)]
        limits = [a + (n - 1) * s + 1 for a, n, s in zip(starts, output, window.strides, strict=True)]
        yield starts, limits


def plain_im2col(inputs: jax.Array, window: Window) -> jax.Array:
    """Writes every window as a row.

    From `(N, *spatial, C)` it makes `(N, *output, taps, C)`.
    """
    output, padded = window.output_shape(inputs.shape[1:-1]), _pad(inputs, window)
    batch, channels = inputs.shape[0], inputs.shape[-1]
    if 0 in output:
        return jnp.zeros((batch, *output, math.prod(window.shape), channels), inputs.dtype)
    columns = [
        lax.slice(padded, (0, *starts, 0), (batch, *limits, channels), (1, *window.strides, 1))
        for starts, limits in _taps(window, output)
    ]
    return jnp.stack(columns, axis=-2)


im2col = custom_vjp(1)(plain_im2col)


def _col2im(columns: jax.Array, shape: tuple[int, ...], window: Window) -> jax.Array:
    """The adjoint of `im2col`: adds every copy to its cell.

    It returns an array of this shape.
    """
    output, size = window.output_shape(shape[1:-1]), window.padded_shape(shape[1:-1])
    total = jnp.zeros((shape[0], *size, shape[-1]), columns.dtype)
    if 0 not in output:
        for index, (starts, limits) in enumerate(_taps(window, output)):
            ends = [n - limit for n, limit in zip(size, limits, strict=True)]
            gaps = [s - 1 for s in window.strides]
            borders = [(0, 0, 0), *zip(starts, ends, gaps, strict=True), (0, 0, 0)]
            total += lax.pad(columns[..., index, :], jnp.zeros((), columns.dtype), borders)
    return _unpad(total, window)


col2im = custom_vjp(1, 2)(_col2im)
im2col.defvjp(
    lambda inputs, window: (im2col(inputs, window), inputs),
    lambda window, inputs, error: (match_cotangent(col2im(error, inputs.shape, window), inputs),),
)
col2im.defvjp(
    lambda columns, shape, window: (col2im(columns, shape, window), columns),
    lambda shape, window, columns, error: (match_cotangent(im2col(error, window), columns),),
)


def _matrix_product(columns: jax.Array, kernel: jax.Array, groups: int, precision: Any, element_type: Any):
    """Computes one matrix product per group.

    It multiplies `(N, *output, taps, C)` by `(*window, I, O)`.
    """
    *lead, taps, channels = columns.shape
    inputs, outputs = kernel.shape[-2], kernel.shape[-1] // groups
    rows = columns.reshape(math.prod(lead), taps, groups, inputs)
    matrix = kernel.reshape(taps, inputs, groups, outputs)
    product = jnp.einsum("rtgi,tigo->rgo", rows, matrix, precision=precision, preferred_element_type=element_type)
    return product.reshape(*lead, groups * outputs)


# With columns X, kernel W and error E as matrices, Y = X W: dW = X^T E and dX = E W^T. The columns are laid out again
# in the backward pass: they are as large as the whole kernel times the input.


@custom_vjp(2, 3, 4, 5)
def _im2col_conv(inputs, kernel, window, groups, precision, element_type):
    return _matrix_product(im2col(inputs, window), kernel, groups, precision, element_type)


def _im2col_conv_fwd(inputs, kernel, window, groups, precision, element_type):
    return _im2col_conv(inputs, kernel, window, groups, precision, element_type), (inputs, kernel)


def _im2col_conv_bwd(window, groups, precision, element_type, residuals, error):
    inputs, kernel = residuals
    wide = arrays.wider(error.dtype, inputs.dtype)
    columns = im2col(inputs.astype(wide), window)
    *lead, taps, channels = columns.shape
    per_group, outputs = kernel.shape[-2], kernel.shape[-1] // groups
    errors = error.astype(wide).reshape(math.prod(lead), groups, outputs)
    rows = columns.reshape(math.prod(lead), taps, groups, per_group)
    matrix = kernel.astype(wide).reshape(taps, per_group, groups, outputs)
    kernel_gradient = jnp.einsum("rtgi,rgo->tigo", rows, errors, precision=precision).reshape(kernel.shape)
    column_gradient = jnp.einsum("rgo,tigo->rtgi", errors, matrix, precision=precision)
    input_gradient = col2im(column_gradient.reshape(*lead, taps, channels), inputs.shape, window)
    return match_cotangent(input_gradient, inputs), match_cotangent(kernel_gradient, kernel)


_im2col_conv.defvjp(_im2col_conv_fwd, _im2col_conv_bwd)


def conv_im2col(inputs, kernel, window: Window, groups: int, precision, element_type, rule: str) -> jax.Array:
    """Computes `ops.conv` by serialization (im2col) and one matrix product.

    Source: Chellapilla, Puri & Simard 2006.
    """
    if rule == "autodiff":
        return _matrix_product(plain_im2col(inputs, window), kernel, groups, precision, element_type)
    return _im2col_conv(inputs, kernel, window, groups, precision, element_type)


# Loops. One product of a window and a kernel for every image m, output position j and output channel (g, o). The
# gradients run over the same loop: each y[m, j, (g, o)] passes its error e to the window and the kernel that it used,
#
#     dx^[m, s j + d t - p, (g, i)] += e w[t, i, (g, o)],      dw[t, i, (g, o)] += e x^[m, s j + d t - p, (g, i)].


def _loop_position(index, shape, window: Window, kernel: jax.Array, groups: int):
    """An output's window start, channel start and output channel.

    It is that of number `index`, in row-major order of `shape`.
    """
    image, *position, output = jnp.unravel_index(index, shape)
    starts = [j * s for j, s in zip(position, window.strides, strict=True)]
    group = output // (kernel.shape[-1] // groups)
    return (image, *starts, group * kernel.shape[-2]), output


def _window_slice(window: Window):
    return (0, *(slice(None, None, d) for d in window.dilation), slice(None))


def _loop(inputs, kernel, window, groups, element_type):
    shape = (inputs.shape[0], *window.output_shape(inputs.shape[1:-1]), kernel.shape[-1])
    wide = arrays.wider(inputs.dtype, jnp.float32)
    padded, weights = _pad(inputs, window).astype(wide), kernel.astype(wide)
    block = (1, *window.extent, kernel.shape[-2])

    def body(index, outputs):
        start, output = _loop_position(index, shape, window, kernel, groups)
        seen = lax.dynamic_slice(padded, start, block)[_window_slice(window)]
        return outputs.at[index].set(jnp.sum(seen * weights[..., output]))

    zeros = varying_like(jnp.zeros(math.prod(shape), wide), padded, weights)
    if not zeros.size:
        return zeros.reshape(shape).astype(element_type or inputs.dtype)
    return lax.fori_loop(0, zeros.size, body, zeros).reshape(shape).astype(element_type or inputs.dtype)


_loop_conv = custom_vjp(2, 3, 4)(_loop)


def _loop_conv_fwd(inputs, kernel, window, groups, element_type):
    return _loop_conv(inputs, kernel, window, groups, element_type), (inputs, kernel)


def _loop_conv_bwd(window, groups, element_type, residuals, error):
    inputs, kernel = residuals
    if not error.size:
        return tuple(match_cotangent(jnp.zeros_like(array), array) for array in residuals)
    wide = arrays.wider(error.dtype, inputs.dtype, jnp.float32)
    padded, weights, errors = _pad(inputs, window).astype(wide), kernel.astype(wide), error.astype(wide).reshape(-1)
    block = (1, *window.extent, kernel.shape[-2])

    def body(index, gradients):
        padded_gradient, kernel_gradient = gradients
        start, output = _loop_position(index, error.shape, window, kernel, groups)
        seen = lax.dynamic_slice(padded, start, block)
        passed = lax.dynamic_slice(padded_gradient, start, block)
        passed = passed.at[_window_slice(window)].add(errors[index] * weights[..., output])
        used = errors[index] * seen[_window_slice(window)]
        return (
            lax.dynamic_update_slice(padded_gradient, passed, start),
            kernel_gradient.at[..., output].add(used),
        )

    zeros = [varying_like(jnp.zeros_like(a), padded, weights, errors) for a in (padded, weights)]
    padded_gradient, kernel_gradient = lax.fori_loop(0, errors.size, body, tuple(zeros))
    input_gradient = _unpad(padded_gradient, window)
    return match_cotangent(input_gradient, inputs), match_cotangent(kernel_gradient, kernel)


_loop_conv.defvjp(_loop_conv_fwd, _loop_conv_bwd)


def conv_loops(inputs, kernel, window: Window, groups: int, precision, element_type, rule: str) -> jax.Array:
    """Computes `ops.conv` by explicit loops.

    The argument `precision` is ignored, since sums are in float32 or wider.
    """
    del precision
    return (_loop_conv if rule == "hand" else _loop)(inputs, kernel, window, groups, element_type)
