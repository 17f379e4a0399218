"""Pooling by sums: means and L_p norms of windows; and decimation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.geometry import Window
from jaxcnn.ops import arrays
from jaxcnn.ops.rule import Rule, custom_vjp, select_rule

# Mean-pooling. The sum over a window, y[j] = sum_t x^[s j + d t - p], is `ops.conv` with a kernel of ones for each
# channel. So its gradient is the same sum, of the errors, with the transposed window.


def plain_window_sum(inputs: jax.Array, window: Window) -> jax.Array:
    """Sums the cells of every window by lax, which JAX differentiates."""
    return lax.reduce_window(inputs, np.zeros((), inputs.dtype), lax.add, **window.lax_options())


@custom_vjp(1)
def window_sum(inputs: jax.Array, window: Window) -> jax.Array:
    """Sums the cells of every window, with the hand-written rule."""
    # padded by hand, and without a window of one cell: XLA (jaxlib 0.10) aborts on that window with negative padding
    borders = [(low, high, b - 1) for (low, high), b in zip(window.padding, window.input_dilation, strict=True)]
    padded = lax.pad(inputs, np.zeros((), inputs.dtype), [(0, 0, 0), *borders, (0, 0, 0)])
    strides = (1, *window.strides, 1)
    if set(window.shape) == {1}:
        counts = window.output_shape(inputs.shape[1:-1])
        ends = [geometry.dilated_size(count, stride) for count, stride in zip(counts, window.strides, strict=True)]
        return lax.slice(padded, (0,) * inputs.ndim, (inputs.shape[0], *ends, inputs.shape[-1]), strides)
    shape, dilation = (1, *window.shape, 1), (1, *window.dilation, 1)
    return lax.reduce_window(
        padded, np.zeros((), inputs.dtype), lax.add, shape, strides, "VALID", window_dilation=dilation
    )


window_sum.defvjp(
    lambda inputs, window: (window_sum(inputs, window), inputs),
    lambda window, inputs, error: (window_sum(error, geometry.transposed_window(window, inputs.shape[1:-1])),),
)


def _counted_cells(sizes: tuple[int, ...], window: Window, borders: tuple[tuple[int, int], ...]) -> np.ndarray:
    """The number of counted cells in each window.

    They are cells of the input, and of such borders around it.
    """
    counts = np.ones((), int)
    axes = zip(sizes, window.output_shape(sizes), window.shape, window.strides, window.dilation, strict=True)
    for (n, output, k, s, d), (low, _), (before, after) in zip(axes, window.padding, borders, strict=True):
        cells = s * np.arange(output)[:, None] + d * np.arange(k) - low
        counts = counts[..., None] * ((cells >= -before) & (cells < n + after)).sum(1)
    return counts


def avg_pool(
    inputs: ArrayLike,
    window_shape: int | tuple[int, ...],
    *,
    strides: int | tuple[int, ...] | None = None,
    padding: geometry.Padding = "VALID",
    window_dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    strict: bool = False,
    count_include_pad: bool = True,
    divisor: float | None = None,
    rule: Rule = "hand",
) -> jax.Array:
    """Takes the mean of every window.

    16-bit floats are summed in float32.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes.
      window_shape: size of the window, one for all axes or one per axis.
      strides: steps of the window; the default is the window's shape, as in PyTorch and Keras (Flax has 1).
      padding: as in `ops.conv`.
      window_dilation: spacing of the window's taps.
      ceil_mode: as in `max_pool`; cells beyond the given padding do not count.
      strict: refuse strides that leave trailing cells unread.
      count_include_pad: divide by the size of the window; if False, by its number of cells outside the padding.
      divisor: a divisor that replaces this count, not 0; 1 gives the sum (PyTorch's `divisor_override`).
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.

    Returns:
      `(N, *output, C)`; 0 where a window contains only padding.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if shapes disagree, the window does not fit, or an option is unknown or out of range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([1.0, 4.0, 3.0, 2.0]).reshape(1, 4, 1)
      >>> ops.avg_pool(row, 2).ravel().tolist()
      [2.5, 2.5]
      >>> jax.grad(lambda x: ops.avg_pool(x, 2).sum())(row).ravel().tolist()
      [0.5, 0.5, 0.5, 0.5]

    Source: LeCun et al. 1989, 1998 (subsampling).
    """
    (inputs,) = arrays.floating(inputs=inputs)
    if divisor == 0:
        raise ValueError(f"`divisor` must not be 0; got {divisor}.")
    window = geometry.pool_window(inputs.shape, window_shape, strides, padding, window_dilation, ceil_mode, strict)
    wide, sizes = arrays.wider(inputs.dtype, jnp.float32), inputs.shape[1:-1]
    sums = select_rule(rule, hand=window_sum, autodiff=plain_window_sum)(inputs.astype(wide), window)
    if divisor is not None or (count_include_pad and not ceil_mode):
        counts = np.asarray(math.prod(window.shape) if divisor is None else divisor)
    else:
        spacing = {"strides": window.strides, "window_dilation": window.dilation}
        borders = geometry.resolve_padding(padding if count_include_pad else 0, sizes, window.shape, **spacing)
        counts = np.maximum(_counted_cells(sizes, window, borders), 1)[None, ..., None]
    return (sums / counts.astype(wide)).astype(inputs.dtype)


def subsample(inputs: ArrayLike, strides: int | tuple[int, ...], *, rule: Rule = "hand") -> jax.Array:
    """Keeps every `strides`-th cell and drops the others (decimation).

    This is `avg_pool` with a window of one cell. The gradient has the errors at the kept cells, and zeros between them.

    Args:
      inputs: `(N, *spatial, C)`.
      strides: distance of the kept cells, one for all axes or one per axis; the first is cell 0.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(N, *output, C)` with `output = ceil(spatial / strides)`.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if the rank is wrong, or an option is unknown or out of range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([1.0, 4.0, 3.0, 2.0]).reshape(1, 4, 1)
      >>> ops.subsample(row, 2).ravel().tolist()
      [1.0, 3.0]
      >>> jax.grad(lambda x: ops.subsample(x, 2).sum())(row).ravel().tolist()
      [1.0, 0.0, 1.0, 0.0]
    """
    return avg_pool(inputs, 1, strides=strides, rule=rule)


# L_p-pooling, y = (sum_t |x_t|^p)^(1/p). From y^p = sum |x|^p follows dy/dx_t = sign(x_t) |x_t|^(p-1) y^(1-p): the
# errors times y^(1-p) are spread as those of the sum are. Where y = 0 the norm has no gradient: it is taken as 0, a
# subgradient.


@custom_vjp(1, 2)
def _lp_pool(inputs: jax.Array, window: Window, p: float) -> jax.Array:
    total = window_sum(jnp.abs(inputs) ** p, window)
    return jnp.where(total == 0, 0, jnp.where(total == 0, 1, total) ** (1 / p))  # keeps 0 out of the root's derivative


def _lp_pool_fwd(inputs: jax.Array, window: Window, p: float):
    norm = _lp_pool(inputs, window, p)
    return norm, (inputs, norm)


def _lp_pool_bwd(window: Window, p: float, residuals: tuple[jax.Array, jax.Array], error: jax.Array):
    inputs, norm = residuals
    share = jnp.where(norm == 0, 0, error * jnp.where(norm == 0, 1, norm) ** (1 - p))
    spread = window_sum(share, geometry.transposed_window(window, inputs.shape[1:-1]))
    inputs = jnp.where((spread == 0) & ~jnp.isfinite(inputs), 0, inputs)  # what no window has seen, or no error
    # |x|^(p-1) has no derivative at 0 of its own for p < 2: keep 0 out of the power
    steep = jnp.where(inputs == 0, 0, jnp.where(inputs == 0, 1, jnp.abs(inputs)) ** (p - 1))
    return (spread * jnp.sign(inputs) * steep,)


_lp_pool.defvjp(_lp_pool_fwd, _lp_pool_bwd)


def lp_pool(
    inputs: ArrayLike,
    window_shape: int | tuple[int, ...],
    *,
    p: float = 2.0,
    strides: int | tuple[int, ...] | None = None,
    padding: geometry.Padding = "VALID",
    window_dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    strict: bool = False,
    rule: Rule = "hand",
) -> jax.Array:
    """Takes the L_p norm of every window, `(sum |x|^p)^(1/p)`.

    16-bit floats are summed in float32.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes.
      window_shape: size of the window, one for all axes or one per axis.
      p: the exponent, finite and at least 1; 2 is L2-pooling.
      strides: steps of the window; the default is the window's shape.
      padding: as in `ops.conv`.
      window_dilation: spacing of the window's taps.
      ceil_mode: as in `max_pool`; the norm of a window that reaches beyond the input is that of its cells inside
        (PyTorch scales it up).
      strict: refuse strides that leave trailing cells unread.
      rule: `"hand"`, whose gradient is 0 where the norm is 0; `"autodiff"` for JAX's own, which is not finite there.

    Returns:
      `(N, *output, C)`.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `p` is out of range, shapes disagree, the window does not fit, or an option is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row = jnp.array([3.0, 4.0, 0.0, 0.0]).reshape(1, 4, 1)
      >>> ops.lp_pool(row, 2).ravel().tolist()
      [5.0, 0.0]
      >>> gradient = jax.grad(lambda x: ops.lp_pool(x, 2).sum())(row).ravel()
      >>> [round(cell, 3) for cell in gradient.tolist()]
      [0.6, 0.8, 0.0, 0.0]

    Source: Sermanet, Chintala & LeCun 2012.
    """
    (inputs,) = arrays.floating(inputs=inputs)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    if not 1 <= p < math.inf:
        raise ValueError(f"`p` must be finite and at least 1; got {p}.")
    window = geometry.pool_window(inputs.shape, window_shape, strides, padding, window_dilation, ceil_mode, strict)
    wide = inputs.astype(arrays.wider(inputs.dtype, jnp.float32))
    if rule == "hand":
        return _lp_pool(wide, window, float(p)).astype(inputs.dtype)
    return (plain_window_sum(jnp.abs(wide) ** p, window) ** (1 / p)).astype(inputs.dtype)
