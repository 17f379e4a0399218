"""Max-pooling: the largest value of every window, and the switches that say where it came from."""

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.geometry import Window
from jaxcnn.ops import arrays, select
from jaxcnn.ops.native import pool as compiled
from jaxcnn.ops.rule import Rule, custom_vjp
from jaxcnn.ops.sharding import explicit_sharding

Method = Literal["auto", "jax", "native"]
METHODS = ("auto", "jax", "native")

_MOST_TAPS = 128  # at once, by operations of JAX

# Max-pooling. With stride s, window dilation d and low padding p, output j looks at the cells s j + d t - p for the
# taps t = 0 .. k - 1, numbered in row-major order over all axes. Its switch w[j] is the first tap with the largest
# value; a NaN beats every number, and a cell of the padding beats nothing:
#
#     y[j] = x[s j + d w[j] - p],      dx[q] = sum over the j that took their value from q of e[j].              (1)
#
# The sum as a gather: write the cell q as s u + r with 0 <= r < s. The output j = u - v looks at it with the tap t for
# which d t = s v + r + p, if there is one. Hence
#
#     dx[s u + r] = sum_v [d w[u - v] = s v + r + p] e[u - v],       -(s - 1) - p <= s v <= d (k - 1) - p.        (2)
#
# A term of (2) is one comparison of the switches with a constant table over r, for all cells at once: fused elementwise
# work, where XLA's select_and_scatter goes window by window. The residual is the switches alone, mostly one byte each.
# Routing (2) and picking (1) are linear maps, each the other's adjoint, and so each the other's rule. The backend of
# oneDNN has (1) and (2) as loops in C++, with the same switches.


def switch_dtype(window: Window):
    """The smallest dtype that numbers the taps and leaves its two largest values free."""
    taps = math.prod(window.shape)
    return next(dtype for dtype in (jnp.uint8, jnp.uint16, jnp.uint32) if taps < jnp.iinfo(dtype).max)


def _no_winner(window: Window) -> np.ndarray:
    """The switch of a window that lies wholly in padding."""
    return np.array(jnp.iinfo(switch_dtype(window)).max - 1, switch_dtype(window))


def _tap_views(inputs: jax.Array, window: Window, border: float) -> Iterator[jax.Array]:
    """For every tap, the cell that each output sees through it; only what is seen is padded, not the inputs."""
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
    """For every output, the number of its first tap on a cell that is no padding, or no winner."""
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


def _compiled(method: Method, array: jax.Array, window: Window) -> bool:
    """Whether a call goes to the loops in C++."""
    if method != "auto":
        return method == "native"
    if jax.default_backend() != "cpu" or not select.built() or explicit_sharding(array) is not None:
        return False
    if not compiled.can_pool(array, window):
        return False
    return select.fastest(select.pool_kind(array.shape[-1]), select.WHOLE, True) == "native"


def winners(inputs: jax.Array, window: Window, method: Method) -> tuple[jax.Array, jax.Array]:
    """The largest value of every window, and its switch; -inf and no winner where a window is all padding."""
    if _compiled(method, inputs, window):
        return compiled.winners(inputs, window)
    shape = (inputs.shape[0], *window.output_shape(inputs.shape[1:-1]), inputs.shape[-1])
    if 0 in shape:
        return jnp.zeros(shape, inputs.dtype), jnp.zeros(shape, switch_dtype(window))
    on_cpu = jax.default_backend() == "cpu"
    return _winners_in_parts(inputs, window, 0) if on_cpu else _winners_at_once(inputs, window)


def _winners_in_parts(inputs: jax.Array, window: Window, axis: int) -> tuple[jax.Array, jax.Array]:
    """The same, for windows that look at padding apart from those that do not; on CPU XLA writes padded views down."""
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
    """The pooled values, once the switches are known; XLA would leave those for later, and keep the inputs."""
    if _compiled(method, pooled, window):
        return pooled
    never = jnp.iinfo(switches.dtype).max
    return jnp.where(switches == never, 0, pooled)


@custom_vjp(2, 3)
def _pick(inputs: jax.Array, switches: jax.Array, window: Window, method: Method) -> jax.Array:
    """(1): what the switches point to; 0 where there is no winner."""
    del method  # it has one, which its rule passes on
    if switches.size == 0:
        return jnp.zeros(switches.shape, inputs.dtype)
    views = _tap_views(inputs, window, 0.0)
    return functools.reduce(jnp.add, (jnp.where(switches == number, value, 0) for number, value in enumerate(views)))


def plain_route(
    values: jax.Array, switches: jax.Array, sizes: tuple[int, ...], window: Window, method: Method
) -> jax.Array:
    """(2): the sum, in every cell of an input of these spatial sizes, of the values whose switches point to it."""
    batch, *output, channels = values.shape
    if values.size == 0:
        return jnp.zeros((batch, *sizes, channels), values.dtype)
    if _compiled(method, values, window):
        return compiled.route(values, switches, sizes, window)
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
    """For each combination of phases r, the number of the tap with `d t = s v + r + p`; if none, one no switch has."""
    table, exists = np.zeros((), int), np.array(True)
    axes = zip(window.shape, window.dilation, window.strides, window.padding, shift, strict=True)
    for k, d, s, (low, _), v in axes:
        taps, gaps = np.divmod(s * v + np.arange(s) + low, d)
        table = table[..., None] * k + taps
        exists = exists[..., None] & (gaps == 0) & (0 <= taps) & (taps < k)
    return np.where(exists, table, jnp.iinfo(switch_dtype(window)).max).astype(switch_dtype(window))


route = custom_vjp(2, 3, 4)(plain_route)

_pick.defvjp(
    lambda inputs, switches, window, method: (_pick(inputs, switches, window, method), (inputs, switches)),
    lambda window, method, saved, error: (route(error, saved[1], saved[0].shape[1:-1], window, method), None),
)
route.defvjp(
    lambda values, switches, sizes, window, method: (route(values, switches, sizes, window, method), switches),
    lambda sizes, window, method, switches, error: (_pick(error, switches, window, method), None),
)


@custom_vjp(1, 2, 3)
def max_and_switches(
    inputs: jax.Array, sizes: tuple[int, ...], window: Window, method: Method
) -> tuple[jax.Array, jax.Array]:
    """The winners, with their rule."""
    del sizes
    return winners(inputs, window, method)


def _max_pool_fwd(inputs: jax.Array, sizes: tuple[int, ...], window: Window, method: Method):
    pooled, switches = max_and_switches(inputs, sizes, window, method)
    return (now(pooled, switches, window, method), switches), switches


def _max_pool_bwd(sizes: tuple[int, ...], window: Window, method: Method, switches: jax.Array, errors: tuple):
    return (route(errors[0], switches, sizes, window, method),)  # switches are integers: they pass no error


max_and_switches.defvjp(_max_pool_fwd, _max_pool_bwd)


def max_pool(
    inputs: ArrayLike,
    window_shape: int | tuple[int, ...],
    *,
    strides: int | tuple[int, ...] | None = None,
    padding: geometry.Padding = "VALID",
    window_dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    strict: bool = False,
    rule: Rule = "hand",
    method: Method = "auto",
) -> jax.Array:
    """Takes the largest value of every window.

    The gradient goes to the one winner: the first maximum in row-major order, or the first NaN; never to padding.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes.
      window_shape: size of the window, one for all axes or one per axis.
      strides: steps of the window; the default is the window's shape, as in PyTorch and Keras (Flax has 1).
      padding: as in `ops.conv`; cells of the padding never win.
      window_dilation: spacing of the window's taps.
      ceil_mode: count outputs upwards: cells that no window reaches are read by one more, which begins in the input or
        the padding before it, and goes on beyond the padding after it (PyTorch's `ceil_mode`).
      strict: refuse strides that leave trailing cells unread.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.
      method: what computes the hand-written rule: `"jax"`; `"native"`, loops in C++ that the backend of oneDNN brings
        (float32 and bfloat16, on CPU; see `ops.native`); `"auto"`, these where they are built. Values and switches are
        the same.

    Returns:
      `(N, *output, C)`; NaN where a window holds one, -inf where it holds only padding.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if shapes disagree, the window does not fit, or an option is unknown or cannot be had here.
      RuntimeError: if the backend of oneDNN is asked for and cannot be built.

    Source: Ranzato et al. 2007; Jarrett et al. 2009.
    """
    (inputs,) = arrays.floating(inputs=inputs)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    method = select.method_named(method, METHODS)
    window = geometry.pool_window(inputs.shape, window_shape, strides, padding, window_dilation, ceil_mode, strict)
    if method == "native":
        expect_compiled(inputs, window, rule)
    if rule == "hand":
        return _axis_by_axis(inputs, window, method)
    return lax.reduce_window(inputs, np.array(-np.inf, inputs.dtype), lax.max, **window.lax_options())


def _axis_by_axis(inputs: jax.Array, window: Window, method: Method) -> jax.Array:
    """Max-pooling; many taps in one axis after the other, as each is an operation to compile.

    The largest of a window is the largest of its rows' largest ones, and the first in each is the first of all.
    """
    if math.prod(window.shape) <= _MOST_TAPS or _compiled(method, inputs, window):
        return max_and_switches(inputs, inputs.shape[1:-1], window, method)[0]
    ones = (1,) * len(window.shape)
    still = Window(ones, ones, ((0, 0),) * len(ones), ones, ones)
    for axis in reversed(range(len(ones))):
        own = {
            name: (*one[:axis], getattr(window, name)[axis], *one[axis + 1 :]) for name, one in still._asdict().items()
        }
        inputs = max_and_switches(inputs, inputs.shape[1:-1], still._replace(**own), method)[0]
    return inputs


def expect_compiled(inputs: jax.Array, window: Window, rule: Rule) -> None:
    """Refuses what the loops in C++ do not have."""
    if rule != "hand":
        raise ValueError(f"`method='native'` has the hand-written rule alone; got rule={rule!r}.")
    if not compiled.can_pool(inputs, window):
        raise ValueError(
            "`method='native'` needs float32 or bfloat16, something to pool, up to 253 taps, and a whole `shard_map`; "
            f"got {jax.typeof(inputs)} and {window}."
        )
