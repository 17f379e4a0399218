"""Relatives of convolution: transposed, depthwise, separable, and locally connected (unshared weights)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.ops import arrays
from jaxcnn.ops.conv import conv
from jaxcnn.ops.reference import im2col, plain_im2col
from jaxcnn.ops.rule import Rule, custom_vjp
from jaxcnn.ops.sharding import explicit_sharding, match_cotangent


def conv_transpose(
    inputs: ArrayLike,
    kernel: ArrayLike,
    *,
    strides: int | tuple[int, ...] = 1,
    padding: geometry.Padding = "SAME",
    remainder: int | tuple[int, ...] = 0,
    kernel_dilation: int | tuple[int, ...] = 1,
    feature_group_count: int = 1,
    transpose_kernel: bool = False,
    precision: lax.PrecisionLike = None,
    rule: Rule = "hand",
) -> jax.Array:
    """Transposed (fractionally strided) convolution.

    It is a convolution of the input dilated by `strides`. With `transpose_kernel=True`, and the strides, padding and
    remainder of a convolution, this is the input gradient of that convolution, as PyTorch's `conv_transpose`. With
    False it is that of Flax and lax, which do not flip the kernel.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes.
      kernel: `(*window, C / groups, O)`; with `transpose_kernel`, that of the convolution, `(*window, O / groups, C)`.
      strides: spacing of the input's cells in the output.
      padding: the padding of the convolution that is transposed, an integer or per axis an integer or a pair; `"VALID"`
        keeps every output cell that an input cell reaches, and at least `strides * spatial`; `"SAME"` gives
        `strides * spatial`.
      remainder: cells added at the end, those that the convolution's last stride did not reach (PyTorch's
        `output_padding`). Each must be below the stride or the dilation, and 0 if `padding` is a name.
      kernel_dilation: spacing of the kernel's taps.
      feature_group_count: number of groups.
      transpose_kernel: flip the kernel and exchange its last two axes.
      precision: as in `lax.conv_general_dilated`.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(N, *output, O)`, with `output = strides (spatial - 1) + remainder + window - padding`.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if shapes disagree or an option is out of range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([1.0, 10.0]).reshape(1, 2, 1)
      >>> taps = jnp.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
      >>> spread = lambda x: ops.conv_transpose(x, taps, strides=2, padding="VALID", transpose_kernel=True)
      >>> spread(row).ravel().tolist()
      [1.0, 2.0, 13.0, 20.0, 30.0]
      >>> jax.grad(lambda x: spread(x)[0, 2, 0])(row).ravel().tolist()
      [3.0, 1.0]

    Source: Zeiler et al. 2010; Dumoulin & Visin 2016, relation 14.
    """
    inputs, kernel = arrays.floating(inputs=inputs, kernel=kernel)
    groups = feature_group_count
    geometry.check_kernel(inputs.shape, kernel.shape)
    if transpose_kernel:
        # (*window, O / groups, (groups, C / groups)) to (*window, C / groups, (groups, O / groups))
        geometry.check_groups(kernel.shape[-1], kernel.shape[-1] // max(groups, 1), kernel.shape[-2] * groups, groups)
        *window, outputs, channels = kernel.shape
        kernel = kernel.reshape(*window, outputs, groups, channels // groups)
        kernel = jnp.moveaxis(kernel, -1, -3).swapaxes(-1, -2).reshape(*window, channels // groups, groups * outputs)
    pads = geometry.transposed_padding(
        inputs.shape[1:-1], kernel.shape[:-2], strides, padding, remainder, kernel_dilation
    )
    return conv(
        inputs,
        kernel,
        padding=pads,
        input_dilation=strides,
        kernel_dilation=kernel_dilation,
        feature_group_count=groups,
        flip_kernel=transpose_kernel,
        precision=precision,
        rule=rule,
    )


def depthwise_conv(inputs: ArrayLike, kernel: ArrayLike, **options: Any) -> jax.Array:
    """Convolves every channel separately: `conv` with as many groups as channels.

    Args:
      inputs: `(N, *spatial, C)`.
      kernel: `(*window, 1, C m)`; output `c m + i` is computed from channel `c`.
      **options: those of `conv`, except `feature_group_count`.

    Returns:
      `(N, *output, C m)`.

    Raises:
      TypeError: as `conv`.
      ValueError: as `conv`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([[[1.0, 10.0], [2.0, 20.0]]])  # two cells of two channels
      >>> kernel = jnp.array([[[1.0, 0.0, 1.0, 0.0]], [[0.0, 1.0, 0.0, 1.0]]])  # two outputs of each channel
      >>> ops.depthwise_conv(row, kernel, padding="VALID").tolist()
      [[[1.0, 2.0, 10.0, 20.0]]]
      >>> jax.grad(lambda w: ops.depthwise_conv(row, w, padding="VALID").sum())(kernel).tolist()
      [[[1.0, 1.0, 10.0, 10.0]], [[2.0, 2.0, 20.0, 20.0]]]

    Source: Sifre 2014; Chollet 2017.
    """
    return conv(inputs, kernel, feature_group_count=jnp.shape(inputs)[-1], **options)


def separable_conv(
    inputs: ArrayLike, depthwise_kernel: ArrayLike, pointwise_kernel: ArrayLike, **options: Any
) -> jax.Array:
    """Convolves every channel separately, then mixes the channels of each cell.

    Args:
      inputs: `(N, *spatial, C)`.
      depthwise_kernel: `(*window, 1, C m)`.
      pointwise_kernel: `(1, ..., 1, C m, O)`.
      **options: those of `depthwise_conv`; `precision` and `rule` apply to both steps.

    Returns:
      `(N, *output, O)`.

    Raises:
      TypeError: as `conv`.
      ValueError: as `conv`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([[[1.0, 10.0], [2.0, 20.0]]])  # two cells of two channels
      >>> depthwise, pointwise = jnp.ones((2, 1, 2)), jnp.array([[[2.0], [1.0]]])
      >>> ops.separable_conv(row, depthwise, pointwise, padding="VALID").tolist()  # 2 * (1 + 2) + (10 + 20)
      [[[36.0]]]
      >>> jax.grad(lambda w: ops.separable_conv(row, depthwise, w, padding="VALID").sum())(pointwise).tolist()
      [[[3.0], [30.0]]]

    Source: Chollet 2017 (Xception).
    """
    both = {name: options[name] for name in ("precision", "rule") if name in options}
    return conv(depthwise_conv(inputs, depthwise_kernel, **options), pointwise_kernel, padding="VALID", **both)


# Locally connected. Every output cell j has a kernel of its own,
#
#     y[m, j, o] = sum_{t, i} x^[m, s j + d t - p, i] w[j, t, i, o].
#
# With the windows laid out as rows X[m, j, (t, i)] this is one small matrix product for each j, and so are its rules:
# dw[j] = X[:, j]^T e[:, j] and dX[:, j] = e[:, j] w[j]^T; im2col's own rule carries dX back to x.


@custom_vjp(2)
def _own_product(rows: jax.Array, kernel: jax.Array, precision: Any) -> jax.Array:
    """`(N, J, K)` by `(J, K, O)`, for every j."""
    return jnp.einsum("njk,jko->njo", rows, kernel, precision=precision)


def _own_product_bwd(precision: Any, residuals: tuple[jax.Array, jax.Array], error: jax.Array):
    rows, kernel = residuals
    rows_gradient = jnp.einsum("njo,jko->njk", error, kernel, precision=precision)
    whole = explicit_sharding(kernel, error)
    kernel_gradient = jnp.einsum("njk,njo->jko", rows, error, precision=precision, out_sharding=whole)
    return match_cotangent(rows_gradient, rows), match_cotangent(kernel_gradient, kernel)


_own_product.defvjp(
    lambda rows, kernel, precision: (_own_product(rows, kernel, precision), (rows, kernel)), _own_product_bwd
)


def locally_connected(
    inputs: ArrayLike,
    kernel: ArrayLike,
    *,
    strides: int | tuple[int, ...] = 1,
    padding: geometry.Padding = "VALID",
    kernel_dilation: int | tuple[int, ...] = 1,
    precision: lax.PrecisionLike = None,
    strict: bool = False,
    rule: Rule = "hand",
) -> jax.Array:
    """Convolution without weight sharing: every output cell has its own kernel.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes.
      kernel: `(*output, *window, C, O)`.
      strides: steps of the window.
      padding: as in `conv`.
      kernel_dilation: spacing of the taps.
      precision: as in `jnp.einsum`.
      strict: refuse strides that leave trailing cells unread.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(N, *output, O)`.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if shapes disagree or the window does not fit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([1.0, 1.0, 1.0]).reshape(1, 3, 1)
      >>> kernel = jnp.array([[1.0, 2.0], [10.0, 20.0]]).reshape(2, 2, 1, 1)  # two outputs, two taps each
      >>> ops.locally_connected(row, kernel).ravel().tolist()
      [3.0, 30.0]
      >>> jax.grad(lambda x: ops.locally_connected(x, kernel).sum())(row).ravel().tolist()
      [1.0, 12.0, 20.0]

    Source: LeCun 1989, "Generalization and network design strategies" (local, unshared connections).
    """
    inputs, kernel = arrays.floating(inputs=inputs, kernel=kernel)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    window = geometry.local_window(
        inputs.shape, kernel.shape, strides=strides, padding=padding, kernel_dilation=kernel_dilation, strict=strict
    )
    rows = (im2col if rule == "hand" else plain_im2col)(inputs, window)
    output = window.output_shape(inputs.shape[1:-1])
    cells, size = math.prod(output), rows.shape[-1] * rows.shape[-2]
    flat = arrays.reshape(rows, (rows.shape[0], cells, size)), kernel.reshape(cells, size, kernel.shape[-1])
    product = (
        _own_product(*flat, precision) if rule == "hand" else jnp.einsum("njk,jko->njo", *flat, precision=precision)
    )
    return arrays.reshape(product, (inputs.shape[0], *output, kernel.shape[-1]))
