"""Computes a max-pool's values, its switches and its gradient.

It does so in JAX, and in C++ where that is built. The equations (1) and (2) are those of `ops.pool.max`, which has the
rule.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.geometry import Window
from jaxcnn.ops import arrays, choices
from jaxcnn.ops.native import backend
from jaxcnn.ops.native import pool as native
from jaxcnn.ops.sharding import explicit_sharding

Method = Literal["auto", "jax", "native"]
METHODS = ("auto", "jax", "native")


def switch_dtype(window: Window):
    """Returns the smallest unsigned dtype that can number the taps.

    Its two largest values stay unused.
    """
    taps = math.prod(window.shape)
    return next(dtype for dtype in (jnp.uint8, jnp.uint16, jnp.uint32) if taps < jnp.iinfo(dtype).max)


def _no_winner(window: Window) -> np.ndarray:
    """The switch of a window that contains only padding."""
    return np.array(jnp.iinfo(switch_dtype(window)).max - 1, switch_dtype(window))


def _tap_views(inputs: jax.Array, window: Window, border: float) -> Iterator[jax.Array]:
    """For every tap, the cell that each output reads.

    Only these cells are padded, not the inputs.
    """
    sizes = inputs.shape[1:-1]
    output, fill = window.output_shape(sizes), np.array(border, inputs.dtype)
    for tap in itertools.product(*map(range, window.shape)):
        starts, limits, borders = [0], [inputs.shape[0]], [(0, 0, 0)]
        axes = zip(tap, sizes, output, window.strides, window.dilation, window.padding, strict=True)
        for t, n, count, s, d, (low, _) in axes:
            offset = t * d - low  # output j sees the cell s j + offset, which is there from `first` to before `last`
            first = min(max(0, -(offset // s)), count)
            last = max(first, min(count, (n - 1 - offset) // s + 1))
            starts.append(s * first + offset if first < last else 0)
            limits.append(s * (last - 1) + offset + 1 if first < last else 0)
            borders.append((first, count - last, 0))
        view = lax.slice(inputs, (*starts, 0), (*limits, inputs.shape[-1]), (1, *window.strides, 1))
        yield lax.pad(view, fill, [*borders, (0, 0, 0)])


def _first_real_taps(sizes: tuple[int, ...], window: Window) -> np.ndarray:
    """The number of every output's first tap outside the padding.

    It is `_no_winner` if there is none.
    """
    first, exists = np.zeros((), int), np.array(True)
    axes = zip(
        sizes, window.output_shape(sizes), window.shape, window.strides, window.dilation, window.padding, strict=True
    )
    for n, count, k, s, d, (low, _) in axes:
        cells = s * np.arange(count)[:, None] + d * np.arange(k) - low
        real = (cells >= 0) & (cells < n)
        first = first[..., None] * k + real.argmax(1)
        exists = exists[..., None] & real.any(1)
    return np.where(exists, first, _no_winner(window)).astype(switch_dtype(window))


def is_native(method: Method, array: jax.Array, window: Window) -> bool:
    """Whether the C++ loops compute a call."""
    if method != "auto":
        return method == "native"
    if jax.default_backend() != "cpu" or not backend.active() or explicit_sharding(array) is not None:
        return False
    if not native.can_pool(array, window):
        return False
    return choices.fastest(choices.pool_kind(array.shape[-1]), choices.WHOLE, True) == "native"


def winners(inputs: jax.Array, window: Window, method: Method) -> tuple[jax.Array, jax.Array]:
    """Computes the maximum of every window and its switch.

    A window with only padding gives -inf and no winner.
    """
    if is_native(method, inputs, window):
        return native.winners(inputs, window)
    shape = (inputs.shape[0], *window.output_shape(inputs.shape[1:-1]), inputs.shape[-1])
    if 0 in shape:
        return jnp.zeros(shape, inputs.dtype), jnp.zeros(shape, switch_dtype(window))
    on_cpu = jax.default_backend() == "cpu"
    return _winners_in_parts(inputs, window, 0) if on_cpu else _winners_at_once(inputs, window)


def _winners_in_parts(inputs: jax.Array, window: Window, axis: int) -> tuple[jax.Array, jax.Array]:
    """The same, with windows that read padding apart from others.

    XLA on CPU stores padded views.
    """
    if axis == len(window.shape):
        return _winners_at_once(inputs, window)
    size, count = inputs.shape[axis + 1], window.output_shape(inputs.shape[1:-1])[axis]
    stride, (low, _) = window.strides[axis], window.padding[axis]
    reach = window.dilation[axis] * (window.shape[axis] - 1)
    inside = min(max(0, -(-low // stride)), count)  # the first output that looks at no low padding
    outside = min(max(inside, (size - 1 + low - reach) // stride + 1), count)  # the first at high padding
    parts = []
    for first, last in ((0, inside), (inside, outside), (outside, count)):
        if first == last:
            continue
        start, end = stride * first - low, stride * (last - 1) - low + reach + 1
        near = min(max(start, 0), size)
        far = max(near, min(end, size))
        padding = list(window.padding)
        padding[axis] = (near - start, end - far)
        seen = lax.slice_in_dim(inputs, near, far, axis=axis + 1)
        parts.append(_winners_in_parts(seen, window._replace(padding=tuple(padding)), axis + 1))
    best, switches = (lax.concatenate(arrays, axis + 1) for arrays in zip(*parts, strict=True))
    return best, switches


def _winners_at_once(inputs: jax.Array, window: Window) -> tuple[jax.Array, jax.Array]:
    dtype = switch_dtype(window)
    views = enumerate(_tap_views(inputs, window, -np.inf))
    best, switches = None, jnp.asarray(_first_real_taps(inputs.shape[1:-1], window)[None, ..., None])
    for number, value in views:
        best = jnp.full_like(value, -np.inf) if best is None else best
        wins = ~(value <= best) & (best == best)  # larger, or the first NaN
        best, switches = jnp.where(wins, value, best), jnp.where(wins, dtype(number), switches)
    assert best is not None
    # changes nothing, but XLA repeats no division: without it each reader of the switches finds them again, 30 times
    # slower; a barrier would do where XLA keeps it, which on a CPU it does not everywhere
    return best, lax.rem(switches, jnp.full_like(switches, jnp.iinfo(dtype).max))


def now(pooled: jax.Array, switches: jax.Array, window: Window, method: Method) -> jax.Array:
    """Delays the pooled values until the switches are computed.

    XLA would compute these later and keep the inputs.
    """
    if is_native(method, pooled, window):
        return pooled
    never = jnp.iinfo(switches.dtype).max
    return jnp.where(switches == never, 0, pooled)


def plain_pick(inputs: jax.Array, switches: jax.Array, window: Window, method: Method) -> jax.Array:
    """Computes (1): the values to which the switches point.

    They are 0 where there is no winner.
    """
    del method  # it has one, which its rule passes on
    if switches.size == 0:
        return jnp.zeros(switches.shape, inputs.dtype)
    views = _tap_views(inputs, window, 0.0)
    return functools.reduce(jnp.add, (jnp.where(switches == number, value, 0) for number, value in enumerate(views)))


def plain_route(
    values: jax.Array, switches: jax.Array, sizes: tuple[int, ...], window: Window, method: Method
) -> jax.Array:
    """Computes (2): sums of the values that point to each cell.

    The cells are those of an input of these spatial sizes.
    """
    batch, *output, channels = values.shape
    if values.size == 0:
        return jnp.zeros((batch, *sizes, channels), values.dtype)
    if is_native(method, values, window):
        return native.route(values, switches, sizes, window)
    # the step from the one output that there is leads nowhere: it must not make room for cells beyond the input
    axes = zip(window.strides, sizes, output, strict=True)
    window = window._replace(strides=tuple(min(s, max(n, 1)) if count == 1 else s for s, n, count in axes))
    blocks = [-(-n // s) for n, s in zip(sizes, window.strides, strict=True)]
    rank = len(sizes)
    passed = []
    for shift in itertools.product(*_shifts(window)):
        table = _tap_table(window, shift)
        borders = [(0, 0, 0), *((v, u - v - n, 0) for v, u, n in zip(shift, blocks, output, strict=True)), (0, 0, 0)]
        seen = lax.pad(switches, _no_winner(window), borders)
        sent = lax.pad(values, np.zeros((), values.dtype), borders)
        apart = tuple(range(2, 2 * rank + 1, 2))  # behind each block axis, an axis for its phases
        aligned = table.reshape([1] + [n for s in table.shape for n in (1, s)] + [1])
        passed.append(jnp.where(jnp.expand_dims(seen, apart) == aligned, jnp.expand_dims(sent, apart), 0))
    padded = [u * s for u, s in zip(blocks, window.strides, strict=True)]
    cells = arrays.reshape(functools.reduce(jnp.add, passed), (batch, *padded, channels))
    return lax.slice(cells, [0] * cells.ndim, (batch, *sizes, channels))


def _shifts(window: Window) -> list[range]:
    """The range of v in (2), for every axis."""
    axes = zip(window.shape, window.dilation, window.strides, window.padding, strict=True)
    return [range(-((s - 1 + low) // s), (d * (k - 1) - low) // s + 1) for k, d, s, (low, _) in axes]


def _tap_table(window: Window, shift: tuple[int, ...]) -> np.ndarray:
    """The tap for each combination of phases r.

    It is the number of the tap with `d t = s v + r + p`, or a number of no tap.
    """
    table, exists = np.zeros((), int), np.array(True)
    axes = zip(window.shape, window.dilation, window.strides, window.padding, shift, strict=True)
    for k, d, s, (low, _), v in axes:
        taps, gaps = np.divmod(s * v + np.arange(s) + low, d)
        table = table[..., None] * k + taps
        exists = exists[..., None] & (gaps == 0) & (0 <= taps) & (taps < k)
    return np.where(exists, table, jnp.iinfo(switch_dtype(window)).max).astype(switch_dtype(window))
