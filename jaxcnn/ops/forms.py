"""What one convolution is, and the forms in which it is fast on a CPU."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.lax import conv_general_dilated as xla_convolution  # bound now: who puts ours in its place means others' calls
from jax.sharding import NamedSharding

from jaxcnn.geometry import Window
from jaxcnn.ops import arrays


class Spec(NamedTuple):
    """Everything static about one convolution; `dims` says which axis of each array plays which part."""

    window: Window
    dims: lax.ConvDimensionNumbers
    feature_groups: int = 1
    batch_groups: int = 1
    flip: bool = False
    precision: Any = None
    element_type: Any = None
    out_sharding: NamedSharding | None = None
    method: str = "auto"


Form = Callable[[jax.Array, jax.Array, Spec], jax.Array]

# XLA's convolution on a CPU multiplies matrices of gathered patches. Some kinds of convolution it treats badly, by
# factors of 2 to 30, and as each comes back among its own gradients, most forms serve more than one of the three:
#
#   matrix product   a window of one cell; or one output cell, which is the kernel gradient of the former;
#   group by group   channels in a few groups, which XLA unrolls into one convolution with mostly zeros;
#   tap by tap       one channel in each group, or one in all: a sum of products of shifted arrays;
#   cell by cell     its kernel gradient: for each tap one product, summed;
#   row by row       a wide window and few outputs, the kernel gradient of many channels: the window's rows become
#                    channels, and each row of outputs one convolution along the other axis;
#   side by side     few outputs from few channels, which leave a processor's vectors half empty: neighbours along the
#                    last axis become outputs of one window, wider by their distance.
#
# Everywhere else, on other devices and in half precision XLA's own is taken.

_compiled = functools.partial(jax.jit, static_argnums=2, inline=True)  # as one operation where nothing else is jitted

_MOST_TAPS = 49  # a sum of more terms takes long to compile
_MOST_GROUPS = 16
_MOST_ROWS = 11
_NARROW, _VECTOR = 8, 16  # as many maps are few; the float32s in a vector of 512 bits
_LEAST_LINES = 32  # examples (of a kernel gradient: channels), so that it pays to copy the inputs once for each row


class Case(NamedTuple):
    """The sizes by which the form of one convolution is chosen."""

    spec: Spec
    batch: int
    channels: int
    own: int  # channels of a group
    maps: int  # outputs, of all groups
    outputs: tuple[int, ...]  # spatial sizes

    @property
    def grouped(self) -> bool:
        """Whether no output sees all channels."""
        return self.spec.feature_groups > 1 or self.spec.batch_groups > 1

    @property
    def one_channel_each(self) -> bool:
        """Whether it is the kernel gradient of a convolution that has one channel in each group."""
        return 1 < self.spec.batch_groups == self.batch

    def has_taps(self, most: int) -> bool:
        """Whether the window has at most so many."""
        return math.prod(self.spec.window.shape) <= most


def correlate(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    """XLA's own form."""
    inputs, padding = _cropped(inputs, spec)
    return xla_convolution(
        inputs,
        lax.rev(kernel, spec.dims.rhs_spec[2:]) if spec.flip else kernel,
        spec.window.strides,
        padding,
        lhs_dilation=spec.window.input_dilation,
        rhs_dilation=spec.window.dilation,
        dimension_numbers=spec.dims,
        feature_group_count=spec.feature_groups,
        batch_group_count=spec.batch_groups,
        precision=spec.precision,
        preferred_element_type=spec.element_type,
        out_sharding=spec.out_sharding,
    )


def _cropped(inputs: jax.Array, spec: Spec) -> tuple[jax.Array, list[tuple[int, int]]]:
    """The inputs without what a negative low padding crops where the high one fills, and the padding that is left.

    There XLA on CPU reads beyond the inputs: jaxlib 0.10, float32, one and two axes, no input dilation.
    """
    padding = list(spec.window.padding)
    for place, (axis, dilation) in enumerate(zip(spec.dims.lhs_spec[2:], spec.window.input_dilation, strict=True)):
        low, high = padding[place]
        if low < 0 < high and dilation == 1:
            inputs = lax.slice_in_dim(inputs, -low, inputs.shape[axis], axis=axis)
            padding[place] = (0, high)
    return inputs, padding


def _plain(window: Window) -> bool:
    """Whether the window lies on real cells alone, undilated; cropping what it never reaches is no matter."""
    return set(window.input_dilation) == {1} and all(low == 0 and high <= 0 for low, high in window.padding)


def _suits_pointwise(case: Case) -> bool:
    window = case.spec.window
    return not case.grouped and case.has_taps(1) and (set(window.strides) == {1} or _plain(window))


@_compiled
def pointwise(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    """A window of one cell: one matrix product of every cell's channels; zeros between the cells stay zeros."""
    window, (lhs, rhs, out) = spec.window, spec.dims
    sizes = window.output_shape(tuple(inputs.shape[axis] for axis in lhs[2:]))
    if set(window.strides) != {1}:
        limits, steps = list(inputs.shape), [1] * inputs.ndim
        for axis, size, stride in zip(lhs[2:], sizes, window.strides, strict=True):
            limits[axis], steps[axis] = (size - 1) * stride + 1, stride
        inputs = lax.slice(inputs, [0] * inputs.ndim, limits, steps)
    matrix = kernel.reshape([kernel.shape[axis] for axis in sorted(rhs[:2])])
    product = lax.dot_general(
        inputs,
        matrix,
        (((lhs[1],), (int(rhs[1] > rhs[0]),)), ((), ())),
        precision=spec.precision,
        preferred_element_type=spec.element_type,
    )
    # the product's axes are the inputs' without the channels, then the outputs
    last = inputs.ndim - 1
    product = _reordered(product, [last if axis == lhs[1] else axis - (axis > lhs[1]) for axis in lhs], out)
    if set(window.strides) != {1}:
        return product
    borders = [(0, 0, 0)] * inputs.ndim
    for axis, (low, high), dilation in zip(out[2:], window.padding, window.input_dilation, strict=True):
        borders[axis] = (low, high, dilation - 1)
    return lax.pad(product, jnp.zeros((), product.dtype), borders)


def _suits_whole_product(case: Case) -> bool:
    return not case.grouped and set(case.outputs) == {1} and _plain(case.spec.window)


@_compiled
def whole_product(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    """One output cell: everything the window sees in one matrix product."""
    lhs, rhs, out = spec.dims
    limits, steps = list(inputs.shape), [1] * inputs.ndim
    for axis, size, dilation in zip(lhs[2:], spec.window.shape, spec.window.dilation, strict=True):
        limits[axis], steps[axis] = (size - 1) * dilation + 1, dilation
    product = lax.dot_general(
        lax.slice(inputs, [0] * inputs.ndim, limits, steps),
        lax.rev(kernel, rhs[2:]) if spec.flip else kernel,
        ((lhs[1:], rhs[1:]), ((), ())),
        precision=spec.precision,
        preferred_element_type=spec.element_type,
    )
    product = product if out[0] < out[1] else product.T
    return lax.expand_dims(product, sorted(out[2:]))


def _suits_group_by_group(case: Case) -> bool:
    few = max(case.spec.feature_groups, case.spec.batch_groups) <= _MOST_GROUPS
    return case.grouped and few and not (case.one_channel_each and math.prod(case.outputs) <= _MOST_TAPS)


@_compiled
def group_by_group(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    """One convolution for each group."""
    groups = max(spec.feature_groups, spec.batch_groups)
    lhs, rhs, out = spec.dims
    own = spec._replace(feature_groups=1, batch_groups=1)
    parts = zip(
        jnp.split(inputs, groups, lhs[1] if spec.batch_groups == 1 else lhs[0]),
        jnp.split(kernel, groups, rhs[0]),
        strict=True,
    )
    return lax.concatenate([convolve(x, w, own) for x, w in parts], out[1])


def _suits_row_by_row(case: Case) -> bool:
    if case.grouped or len(case.outputs) == 1 or case.batch < _LEAST_LINES:
        return False
    # a batch that the compiler divides among devices it would gather again, to join it with the rows
    return case.outputs[0] <= min(_MOST_ROWS, case.spec.window.shape[0] - 1) and jax.device_count() == 1


@_compiled
def row_by_row(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    """A window of many rows and outputs of few: for each of these one convolution along the other axes."""
    window, (lhs, rhs, out) = spec.window, spec.dims
    seen = lax.transpose(inputs, (lhs[0], *lhs[3:], lhs[2], lhs[1]))  # the window's rows beside the channels
    borders = [(0, 0, 0)] * seen.ndim
    borders[-2] = (*window.padding[0], window.input_dilation[0] - 1)
    seen = lax.pad(seen, jnp.zeros((), seen.dtype), borders)
    taps = lax.transpose(lax.rev(kernel, rhs[2:]) if spec.flip else kernel, (*rhs[3:], rhs[2], rhs[1], rhs[0]))
    taps = taps.reshape(*taps.shape[:-3], -1, taps.shape[-1])  # (*window, rows and channels, outputs)
    last = seen.ndim - 2
    channels_last = (0, last, *range(1, last))
    own = spec._replace(
        window=Window(
            window.shape[1:], window.strides[1:], window.padding[1:], window.input_dilation[1:], window.dilation[1:]
        ),
        dims=lax.ConvDimensionNumbers(channels_last, (last, last - 1, *range(last - 1)), channels_last),
        flip=False,
    )
    (height, *_) = window.output_shape(tuple(inputs.shape[axis] for axis in lhs[2:]))
    rows = _views(seen, (last,), (height,), window.strides[:1], window.shape[:1], window.dilation[:1])
    found = jnp.stack([convolve(row.reshape(*row.shape[:-2], -1), taps, own) for row in rows])
    return _reordered(found, (1, last + 1, 0, *range(2, last + 1)), out)


def _neighbours(maps: int) -> int:
    """How many outputs side by side fill a vector; a power of two."""
    return min(_NARROW, 1 << (_VECTOR // maps).bit_length() - 1)


def _suits_side_by_side(case: Case) -> bool:
    window = case.spec.window
    if case.grouped or case.maps > _NARROW or not 1 < case.channels <= _VECTOR:
        return False
    if case.has_taps(1) or not case.has_taps(_MOST_TAPS):
        return False
    dense = window.dilation[-1] == window.input_dilation[-1] == 1
    return dense and case.outputs[-1] >= 2 * _neighbours(case.maps)


@_compiled
def side_by_side(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    """Few outputs: neighbours along the last axis as outputs of one window, which sees what each of them sees."""
    window, (lhs, rhs, out) = spec.window, spec.dims
    maps, stride = kernel.shape[rhs[0]], window.strides[-1]
    count = _neighbours(maps)
    sizes = tuple(inputs.shape[axis] for axis in lhs[2:])
    width = window.output_shape(sizes)[-1]
    borders = [[(0, 0, 0)] * kernel.ndim for _ in range(count)]
    for place, border in enumerate(borders):
        border[rhs[-1]] = (place * stride, (count - 1 - place) * stride, 0)
    taps = lax.rev(kernel, rhs[2:]) if spec.flip else kernel
    wide = lax.concatenate([lax.pad(taps, jnp.zeros((), taps.dtype), border) for border in borders], rhs[0])
    cells = -(-width // count) * count
    low, high = window.padding[-1]
    high += (cells - width) * stride - window.remainder(sizes)[-1]
    last = inputs.ndim - 1
    found = correlate(
        inputs,
        wide,
        spec._replace(
            window=Window(
                (*window.shape[:-1], wide.shape[rhs[-1]]),
                (*window.strides[:-1], stride * count),
                (*window.padding[:-1], (low, high)),
                window.input_dilation,
                window.dilation,
            ),
            dims=lax.ConvDimensionNumbers(lhs, rhs, (0, last, *range(1, last))),
            flip=False,
        ),
    )
    found = lax.slice_in_dim(found.reshape(*found.shape[:-2], cells, maps), 0, width, axis=last - 1)
    return _reordered(found, (0, last, *range(1, last)), out)


def _suits_tap_by_tap(case: Case) -> bool:
    (lhs, _, _), groups = case.spec.dims, case.spec.feature_groups
    channels_last = lhs[1] == len(lhs) - 1
    few = case.own == 1 or (case.own <= 4 and groups > _MOST_GROUPS)
    return channels_last and few and case.spec.batch_groups == 1 and case.has_taps(_MOST_TAPS // case.own)


@_compiled
def tap_by_tap(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    """Few channels in each group, channels last: the sum of shifted inputs, each times the kernel's tap."""
    lhs, rhs, out = spec.dims
    groups, maps = spec.feature_groups, kernel.shape[rhs[0]]
    taps = lax.rev(kernel, rhs[2:]) if spec.flip else kernel
    taps = lax.transpose(taps, (*rhs[2:], rhs[1], rhs[0]))
    taps = taps.reshape(-1, kernel.shape[rhs[1]], *[1] * (inputs.ndim - 1), groups, maps // groups)
    window = spec.window
    outputs = window.output_shape(tuple(inputs.shape[axis] for axis in lhs[2:]))
    views = _views(_padded(inputs, spec), lhs[2:], window.shape, window.dilation, outputs, window.strides)
    terms = (
        view.reshape(*view.shape[:-1], groups, -1)[..., channel, None] * tap[channel]
        for view, tap in zip(views, taps, strict=True)
        for channel in range(len(tap))
    )
    total = functools.reduce(jnp.add, terms)
    # changes nothing, NaN being NaN; but XLA repeats no division, else each reader would sum the taps again
    total = total / jnp.where(jnp.isnan(total), 2, 1).astype(total.dtype)
    found = total.reshape(*total.shape[:-2], maps).astype(spec.element_type or total.dtype)
    return _reordered(found, lhs, out)


def _suits_cell_by_cell(case: Case) -> bool:
    lhs, rhs, _ = case.spec.dims
    in_place = lhs[0] == rhs[0] == len(lhs) - 1 and lhs[1] == rhs[1] == 0
    return case.one_channel_each and in_place and math.prod(case.outputs) <= _MOST_TAPS


@_compiled
def cell_by_cell(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    """The kernel gradient of the same: here the inputs' channels stand in the batch's place, and errors are the kernel.

    Each cell of the output is the sum, over all that the window and the channels hold, of one product.
    """
    lhs, rhs, out = spec.dims
    channels, maps = inputs.shape[-1], kernel.shape[-1]
    window = spec.window
    errors = lax.rev(kernel, rhs[2:]) if spec.flip else kernel
    errors = lax.transpose(errors, (rhs[1], *rhs[2:], rhs[0]))
    errors = errors.reshape(*errors.shape[:-1], channels, maps // channels)
    outputs = window.output_shape(tuple(inputs.shape[axis] for axis in lhs[2:]))
    seen = lax.transpose(_padded(inputs, spec), (lhs[1], *lhs[2:], lhs[0]))
    axes = range(1, seen.ndim - 1)
    views = _views(seen, axes, outputs, window.strides, window.shape, window.dilation)
    sums = jnp.stack([jnp.sum(view[..., None] * errors, range(view.ndim - 1)).reshape(maps) for view in views])
    found = sums.astype(spec.element_type or sums.dtype).reshape(1, *outputs, maps)
    return _reordered(found, (0, found.ndim - 1, *range(1, found.ndim - 1)), out)


def _reordered(array: jax.Array, axes: Sequence[int], wanted: Sequence[int]) -> jax.Array:
    """Transposes an array with batch, channels and spatial axes at `axes` to have them at `wanted`."""
    order = [0] * array.ndim
    for source, target in zip(axes, wanted, strict=True):
        order[target] = source
    return lax.transpose(array, order)


def _padded(inputs: jax.Array, spec: Spec) -> jax.Array:
    borders, window = [(0, 0, 0)] * inputs.ndim, spec.window
    for axis, (low, high), dilation in zip(spec.dims[0][2:], window.padding, window.input_dilation, strict=True):
        borders[axis] = (low, high, dilation - 1)
    return lax.pad(inputs, jnp.zeros((), inputs.dtype), borders)


def _views(
    array: jax.Array,
    axes: Sequence[int],
    counts: Sequence[int],
    steps: Sequence[int],
    sizes: Sequence[int],
    strides: Sequence[int],
) -> Iterator[jax.Array]:
    """For every index below `counts`, row-major, `sizes` cells from `index * steps` on, `strides` apart."""
    for index in itertools.product(*map(range, counts)):
        starts, limits, apart = [0] * array.ndim, list(array.shape), [1] * array.ndim
        for axis, i, step, size, stride in zip(axes, index, steps, sizes, strides, strict=True):
            starts[axis], limits[axis], apart[axis] = i * step, i * step + (size - 1) * stride + 1, stride
        yield lax.slice(array, starts, limits, apart)


# the first that suits is taken
_FORMS: tuple[tuple[Callable[[Case], bool], Form], ...] = (
    (_suits_pointwise, pointwise),
    (_suits_whole_product, whole_product),
    (_suits_row_by_row, row_by_row),
    (_suits_side_by_side, side_by_side),
    (_suits_tap_by_tap, tap_by_tap),
    (_suits_cell_by_cell, cell_by_cell),
    (_suits_group_by_group, group_by_group),
)


def fast_form(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> Form | None:
    """The form to take in place of XLA's convolution, or None; see the table in `ops.choice` for where it pays."""
    if spec.method == "lax" or jax.default_backend() != "cpu" or inputs.dtype.itemsize < 4:
        return None
    if spec.out_sharding is not None or arrays.explicit_sharding(inputs, kernel) is not None:
        return None
    if spec.element_type is not None and spec.element_type != inputs.dtype:
        return None  # sums are wanted in another type
    if not all(isinstance(size, int) for size in inputs.shape):
        return None  # a size left open: this is traced for export, to any device
    lhs, rhs, _ = spec.dims
    outputs = spec.window.output_shape(tuple(inputs.shape[axis] for axis in lhs[2:]))
    if not outputs or 0 in (inputs.size, kernel.size, *outputs):
        return None
    batch, channels = (inputs.shape[axis] for axis in lhs[:2])
    case = Case(spec, batch, channels, kernel.shape[rhs[1]], kernel.shape[rhs[0]], outputs)
    return next((form for suits, form in _FORMS if suits(case)), None)


def convolve(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    """The convolution in that form, or XLA's."""
    return (fast_form(inputs, kernel, spec) or correlate)(inputs, kernel, spec)
