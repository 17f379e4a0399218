"""Pooling over all cells, to a fixed size, and anti-aliased."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.ops import arrays
from jaxcnn.ops.conv import conv
from jaxcnn.ops.pool.max import max_pool
from jaxcnn.ops.pool.sums import subsample
from jaxcnn.ops.rule import Rule, custom_vjp

# Over the whole field of n cells: y = sum x / n, dx = e / n in every cell; and the largest value, whose error goes to
# the first cell that has it (a NaN counts as largest), as in max-pooling.


@custom_vjp(1)
def _field_mean(inputs: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.mean(inputs, axis=1)


_field_mean.defvjp(
    lambda inputs, shape: (_field_mean(inputs, shape), None),
    lambda shape, _, error: (jnp.broadcast_to(error[:, None] / shape[1], shape),),
)


@custom_vjp(1)
def _field_max(inputs: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return _field_max_fwd(inputs, shape)[0]


def _field_max_fwd(inputs: jax.Array, shape: tuple[int, ...]):
    of_rows = jnp.max(inputs, axis=2)
    largest = jnp.max(of_rows, axis=1)
    row = _first(of_rows, largest)  # the first of all is in the first row that has one: few cells are looked at
    cells = jnp.take_along_axis(inputs, row[:, None, None], axis=1)[:, 0]
    return largest, row * shape[2] + _first(cells, largest)


def _first(cells: jax.Array, largest: jax.Array) -> jax.Array:
    there = (cells == largest[:, None]) | jnp.isnan(cells)  # XLA's argmax is not vectorized on CPU, these are
    last = cells.shape[1] - 1
    return jnp.min(jnp.where(there, jnp.arange(last + 1)[None, :, None], last), axis=1)


def _field_max_bwd(shape: tuple[int, ...], winner: jax.Array, error: jax.Array):
    places = jnp.arange(shape[1] * shape[2])[None, :, None]
    return (arrays.reshape(jnp.where(places == winner[:, None], error[:, None], 0), shape),)


_field_max.defvjp(_field_max_fwd, _field_max_bwd)


def global_avg_pool(inputs: ArrayLike, *, rule: Rule = "hand") -> jax.Array:
    """Takes the mean over all cells, per image and channel.

    16-bit floats are summed in float32.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes, none of them empty.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(N, C)`.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if the rank is wrong, an axis is empty, or `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([1.0, 4.0, 3.0, 2.0]).reshape(1, 4, 1)
      >>> ops.global_avg_pool(row).tolist()
      [[2.5]]
      >>> jax.grad(lambda x: ops.global_avg_pool(x).sum())(row).ravel().tolist()
      [0.25, 0.25, 0.25, 0.25]

    Source: Lin, Chen & Yan 2014, section 3.2.
    """
    (inputs,) = arrays.floating(inputs=inputs)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    cells = _flat_field(inputs).astype(arrays.wider(inputs.dtype, jnp.float32))
    means = _field_mean(cells, cells.shape) if rule == "hand" else jnp.mean(cells, axis=1)
    return means.astype(inputs.dtype)


def global_max_pool(inputs: ArrayLike, *, rule: Rule = "hand") -> jax.Array:
    """Takes the largest value over all cells, per image and channel.

    The gradient goes to the first maximum in row-major order, or to the first NaN.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes, none of them empty.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(N, C)`.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if the rank is wrong, an axis is empty, or `rule` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([1.0, 4.0, 3.0, 2.0]).reshape(1, 4, 1)
      >>> ops.global_max_pool(row).tolist()
      [[4.0]]
      >>> jax.grad(lambda x: ops.global_max_pool(x).sum())(row).ravel().tolist()
      [0.0, 1.0, 0.0, 0.0]
    """
    (inputs,) = arrays.floating(inputs=inputs)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    cells = _flat_field(inputs)
    if rule == "autodiff":
        return jnp.max(cells, axis=1)
    rows = arrays.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:-2]), *inputs.shape[-2:]))
    return _field_max(rows, rows.shape)


def _flat_field(inputs: jax.Array) -> jax.Array:
    geometry.check_field(inputs.shape)
    return arrays.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:-1]), inputs.shape[-1]))


# To a fixed size: of n cells, output j takes those from floor(j n / m) up to ceil((j + 1) n / m), as PyTorch's adaptive
# pools do. Along one axis the mean is a matrix A with rows of equal weights: y = A x, dx = A^T e.


@custom_vjp(1, 2)
def _mean_along(inputs: jax.Array, axis: int, outputs: int) -> jax.Array:
    """Multiplies one axis by A."""
    return _times(_mean_matrix(inputs.shape[axis], outputs), inputs, axis)


_mean_along.defvjp(
    lambda inputs, axis, outputs: (_mean_along(inputs, axis, outputs), inputs),
    lambda axis, outputs, inputs, error: (_times(_mean_matrix(inputs.shape[axis], outputs).T, error, axis),),
)


def _times(matrix: np.ndarray, inputs: jax.Array, axis: int) -> jax.Array:
    product = jnp.tensordot(matrix.astype(inputs.dtype), inputs, axes=(1, axis), precision="highest")
    return jnp.moveaxis(product, 0, axis)


def _adaptive_edges(cells: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    j = np.arange(outputs)
    return j * cells // outputs, -(-(j + 1) * cells // outputs)


def _mean_matrix(cells: int, outputs: int) -> np.ndarray:
    start, stop = _adaptive_edges(cells, outputs)
    inside = (np.arange(cells) >= start[:, None]) & (np.arange(cells) < stop[:, None])
    return inside / (stop - start)[:, None]


def adaptive_avg_pool(inputs: ArrayLike, output_shape: int | tuple[int, ...], *, rule: Rule = "hand") -> jax.Array:
    """Takes the means of neighboring cells, to a fixed size.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes, none of them empty.
      output_shape: spatial sizes of the result, one for all axes or one per axis.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(N, *output_shape, C)`.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if the rank is wrong, an axis is empty, or an option is out of range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([1.0, 4.0, 3.0, 2.0]).reshape(1, 4, 1)
      >>> ops.adaptive_avg_pool(row, 2).ravel().tolist()
      [2.5, 2.5]
      >>> ops.adaptive_avg_pool(row, 3).ravel().tolist()
      [2.5, 3.5, 2.5]
      >>> jax.grad(lambda x: ops.adaptive_avg_pool(x, 3).sum())(row).ravel().tolist()
      [0.5, 1.0, 1.0, 0.5]

    Source: He et al. 2014 (spatial pyramid pooling); the edges are PyTorch's.
    """
    (inputs,) = arrays.floating(inputs=inputs)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    geometry.check_field(inputs.shape)
    sizes = geometry.per_axis(output_shape, inputs.ndim - 2, "output_shape")
    means = inputs.astype(arrays.wider(inputs.dtype, jnp.float32))
    for axis, outputs in enumerate(sizes, start=1):
        if rule == "hand":
            means = _mean_along(means, axis, outputs)
        else:
            means = _times(_mean_matrix(means.shape[axis], outputs), means, axis)
    return means.astype(inputs.dtype)


def adaptive_max_pool(inputs: ArrayLike, output_shape: int | tuple[int, ...], *, rule: Rule = "hand") -> jax.Array:
    """Takes the largest of neighboring cells, to a fixed size.

    The gradient goes to the first maximum in row-major order, or to the first NaN.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes, none of them empty.
      output_shape: spatial sizes of the result, one for all axes or one per axis.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(N, *output_shape, C)`.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if the rank is wrong, an axis is empty, or an option is out of range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([1.0, 4.0, 3.0, 2.0]).reshape(1, 4, 1)
      >>> ops.adaptive_max_pool(row, 3).ravel().tolist()
      [4.0, 4.0, 3.0]
      >>> jax.grad(lambda x: ops.adaptive_max_pool(x, 3).sum())(row).ravel().tolist()  # the 4 wins twice
      [0.0, 2.0, 1.0, 0.0]
    """
    (inputs,) = arrays.floating(inputs=inputs)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    geometry.check_field(inputs.shape)
    sizes = geometry.per_axis(output_shape, inputs.ndim - 2, "output_shape")
    laid_out, window = inputs, []
    for axis, outputs in enumerate(sizes, start=1):
        start, stop = _adaptive_edges(inputs.shape[axis], outputs)
        width = int((stop - start).max())
        # a narrower window repeats its last cell, which never wins over its own first copy
        cells = np.minimum(start[:, None] + np.arange(width), stop[:, None] - 1).ravel()
        laid_out = (_take if rule == "hand" else _plain_take)(laid_out, tuple(cells), axis)
        window.append(width)
    return max_pool(laid_out, tuple(window), rule=rule)


# Copying cells along an axis by a fixed list, y[j] = x[c[j]], has as its adjoint the sum over the copies,
# dx[q] = sum_{j : c[j] = q} e[j].


def _plain_take(inputs: jax.Array, cells: tuple[int, ...], axis: int) -> jax.Array:
    return jnp.take(inputs, np.array(cells), axis=axis)


_take = custom_vjp(1, 2)(_plain_take)


def _take_bwd(cells: tuple[int, ...], axis: int, inputs: jax.Array, error: jax.Array):
    total = jnp.zeros_like(jnp.moveaxis(inputs, axis, 0)).at[np.array(cells)].add(jnp.moveaxis(error, axis, 0))
    return (jnp.moveaxis(total, 0, axis),)


_take.defvjp(lambda inputs, cells, axis: (_take(inputs, cells, axis), inputs), _take_bwd)


def blur_pool(
    inputs: ArrayLike,
    *,
    size: int = 3,
    strides: int | tuple[int, ...] = 2,
    border: str = "reflect",
    rule: Rule = "hand",
) -> jax.Array:
    """Blurs with binomial weights, then decimates: anti-aliased subsampling.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes.
      size: taps of the filter along each axis; its weights are row `size - 1` of Pascal's triangle, divided by their
        sum.
      strides: steps of the decimation, one for all axes or one per axis.
      border: the cells outside the input: `"reflect"`, `"wrap"` (circular) or `"constant"` (zeros).
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(N, *output, C)` with `output = ceil(spatial / strides)`.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if the rank is wrong, the input is smaller than the border, or an option is out of range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([0.0, 0.0, 4.0, 0.0, 0.0, 0.0]).reshape(1, 6, 1)
      >>> ops.blur_pool(row).ravel().tolist()
      [0.0, 2.0, 0.0]
      >>> ops.blur_pool(jnp.roll(row, 1, axis=1)).ravel().tolist()
      [0.0, 1.0, 1.0]
      >>> jax.grad(lambda x: ops.blur_pool(x)[0, 1, 0])(row).ravel().tolist()
      [0.0, 0.25, 0.5, 0.25, 0.0, 0.0]

    Source: Zhang 2019, "Making convolutional networks shift-invariant again".
    """
    (inputs,) = arrays.floating(inputs=inputs)
    arrays.choice("border", border, ("reflect", "wrap", "constant"))
    geometry.check_field(inputs.shape)
    rank, channels = inputs.ndim - 2, inputs.shape[-1]
    taps = geometry.per_axis(size, rank, "size")
    if not channels:
        return subsample(inputs, strides, rule=rule)
    extended = inputs
    for axis, k in enumerate(taps, start=1):
        low, high, cells = k // 2, (k - 1) // 2, np.arange(inputs.shape[axis])
        if border == "reflect" and inputs.shape[axis] <= low:
            raise ValueError(f"`inputs` must have more than {low} cells to reflect; got shape {inputs.shape}.")
        if border != "constant":
            source = tuple(np.pad(cells, (low, high), mode="wrap" if border == "wrap" else "reflect"))
            extended = (_take if rule == "hand" else _plain_take)(extended, source, axis)
    weights = functools.reduce(
        np.multiply.outer, [np.array([math.comb(k - 1, i) for i in range(k)]) / 2 ** (k - 1) for k in taps]
    )
    kernel = np.broadcast_to(weights[..., None, None], (*taps, 1, channels)).astype(inputs.dtype)
    padding = [(k // 2, (k - 1) // 2) for k in taps] if border == "constant" else "VALID"
    return conv(extended, kernel, strides=strides, padding=padding, feature_group_count=channels, rule=rule)
