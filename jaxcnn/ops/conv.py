"""Convolution in 1, 2 and 3 spatial dimensions, and its gradients as convolutions."""

from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from jaxcnn import geometry
from jaxcnn.geometry import Window
from jaxcnn.ops import arrays, onednn, reference
from jaxcnn.ops.choice import by_onednn, choose
from jaxcnn.ops.forms import Spec, convolve, correlate, xla_convolution

Rule = Literal["hand", "autodiff"]
Method = Literal["auto", "jax", "lax", "im2col", "loops", "onednn"]
METHODS = get_args(Method)

_MOST_TAPS = 64  # in one axis, for a product each: more take long to compile


# The rule. In one axis and one group, with stride s, low padding p, input dilation b, kernel dilation d, input size n
# and kernel size k, the forward is the correlation of x, dilated by b, with w, dilated by d:
#
#     y[m, j, o] = sum_{t, i} x^[m, s j + d t - p, i] w[t, i, o],       x^[b q] = x[q], zero elsewhere.          (1)
#
# Input gradient. The output j reads the input q with tap t where b q = s j + d t - p. So with e = dL/dy dilated by s,
#
#     dx[m, q, i] = sum_{t, o} e^[m, b q - d t + p, o] w[t, i, o].
#
# Put t = k - 1 - t': the index is b q + d t' - (d (k - 1) - p). This is (1) once more, of e, with stride and input
# dilation exchanged, the kernel flipped and its axes i and o exchanged, and the low padding d (k - 1) - p. The high
# padding makes the size come out as n. It contains the remainder a = (n^ + pads - k^) mod s, so that trailing cells
# that no window reached get their zero gradient instead of vanishing.
#
# Kernel gradient. By the same incidence, dw[t, i, o] = sum_{m, j} x^[m, d t + s j - p, i] e[m, j, o]. This is (1) of
# x with e as the kernel: stride d, kernel dilation s, the same low padding, the batch m summed where (1) sums
# channels, i in the place of the batch. The high padding makes the size come out as k.
#
# A flipped forward is (1) with w reversed: the input gradient negates `flip`, the kernel gradient is reversed.
#
# Groups. Channels in G groups are i = (g, i') and o = (g, o'). The input gradient exchanges i' and o' inside each
# group. In the kernel gradient i stands in the batch's place, so groups of channels become groups of the batch, and
# groups of the batch become groups of channels. Hence `_conv` knows both kinds, and is closed under its own rule:
# second and higher derivatives are again hand-written.


@arrays.custom_vjp(2)
def _conv(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    method = choose("outputs", inputs, kernel, spec, inputs)
    if method == "onednn":
        return by_onednn("outputs", inputs, kernel, spec, inputs)
    return convolve(inputs, kernel, spec._replace(method=method))


def _conv_fwd(inputs: jax.Array, kernel: jax.Array, spec: Spec):
    return _conv(inputs, kernel, spec), (inputs, kernel)


def _conv_bwd(spec: Spec, residuals: tuple[jax.Array, jax.Array], error: jax.Array):
    inputs, kernel = residuals
    if error.size == 0:  # no output, no gradient; XLA has no convolution with an empty kernel
        return tuple(arrays.match_cotangent(jnp.zeros_like(array), array) for array in residuals)
    wide = arrays.wider(error.dtype, inputs.dtype)
    error = error.astype(wide)
    input_gradient = _input_gradient(error, kernel.astype(wide), inputs, spec)
    kernel_gradient = _kernel_gradient(inputs.astype(wide), error, kernel, spec)
    return arrays.match_cotangent(input_gradient, inputs), arrays.match_cotangent(kernel_gradient, kernel)


_conv.defvjp(_conv_fwd, _conv_bwd)


def _input_gradient(error: jax.Array, kernel: jax.Array, inputs: jax.Array, spec: Spec) -> jax.Array:
    method = choose("inputs", kernel, error, spec, inputs)
    if method == "onednn":
        return by_onednn("inputs", kernel, error, spec, inputs)
    lhs, rhs, out = spec.dims
    groups = max(spec.feature_groups, spec.batch_groups)
    gradient = _conv(
        error,
        arrays.move_groups(kernel, rhs[0], rhs[1], groups),
        spec._replace(
            window=geometry.transposed_window(spec.window, [inputs.shape[axis] for axis in lhs[2:]]),
            dims=lax.ConvDimensionNumbers(out, (rhs[1], rhs[0], *rhs[2:]), lhs),
            feature_groups=groups,
            batch_groups=1,
            flip=not spec.flip,
            method=method,
            element_type=None,
            out_sharding=arrays.explicit_sharding(inputs, error) if spec.batch_groups == 1 else None,
        ),
    )
    return arrays.move_groups(gradient, lhs[1], lhs[0], spec.batch_groups)


def _kernel_gradient(inputs: jax.Array, error: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    method = choose("kernel", inputs, error, spec, inputs)
    if method == "onednn":
        return by_onednn("kernel", inputs, error, spec, inputs)
    one_axis = len(spec.window.shape) == 1 and spec.window.input_dilation == (1,)
    sharding = arrays.explicit_sharding(kernel, error)
    on_cpu = jax.default_backend() == "cpu"
    own = on_cpu and spec.method != "lax"
    few_taps = spec.window.shape[0] <= _MOST_TAPS
    if own and one_axis and few_taps and spec.feature_groups == spec.batch_groups == 1 and sharding is None:
        return _kernel_gradient_by_taps(inputs, error, spec)
    lhs, rhs, out = ((axes[1], axes[0], *axes[2:]) for axes in spec.dims)
    if own:
        # whichever method is next: XLA transposes both, the inputs in the forward pass, to keep them twice, and would
        # compute what made either inside the transpose, cell by cell
        inputs, error = lax.optimization_barrier((arrays.not_before(inputs, error), error))
    gradient = _conv(
        inputs,
        error,
        spec._replace(
            window=geometry.tap_window(spec.window, [inputs.shape[axis] for axis in lhs[2:]]),
            dims=lax.ConvDimensionNumbers(lhs, out, rhs),
            feature_groups=spec.batch_groups,
            batch_groups=spec.feature_groups,
            flip=False,
            method=method,
            element_type=None,
            out_sharding=sharding,
        ),
    )
    return lax.rev(gradient, rhs[2:]) if spec.flip else gradient


def _kernel_gradient_by_taps(inputs: jax.Array, error: jax.Array, spec: Spec) -> jax.Array:
    """The kernel gradient in one axis as one matrix product a tap; XLA's CPU convolution takes ten times as long."""
    lhs, rhs, out = spec.dims
    (low, high), (stride,), (dilation,) = spec.window.padding[0], spec.window.strides, spec.window.dilation
    x, e = jnp.transpose(inputs, (lhs[0], lhs[2], lhs[1])), jnp.transpose(error, (out[0], out[2], out[1]))
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (low, high, 0), (0, 0, 0)))
    reach = stride * (e.shape[1] - 1) + 1
    taps = [
        lax.dot_general(
            lax.slice_in_dim(x, dilation * t, dilation * t + reach, stride, axis=1),
            e,
            (((0, 1), (0, 1)), ((), ())),
            precision=spec.precision,
        )
        for t in range(spec.window.shape[0])
    ]
    gradient = jnp.stack(taps[::-1] if spec.flip else taps)
    return jnp.moveaxis(gradient, (0, 1, 2), (rhs[2], rhs[1], rhs[0]))


# A masked convolution has the kernel m w, so that dw = m dL/d(m w) and dm = w dL/d(m w): where m = 0, no gradient.


@arrays.custom_vjp()
def _masked(kernel: jax.Array, mask: jax.Array) -> jax.Array:
    return kernel * mask


_masked.defvjp(
    lambda kernel, mask: (_masked(kernel, mask), (kernel, mask)),
    lambda saved, error: tuple(arrays.match_cotangent(error * saved[1 - i], saved[i]) for i in (0, 1)),
)


def conv(
    inputs: ArrayLike,
    kernel: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    strides: int | tuple[int, ...] = 1,
    padding: geometry.Padding = "SAME",
    input_dilation: int | tuple[int, ...] = 1,
    kernel_dilation: int | tuple[int, ...] = 1,
    feature_group_count: int = 1,
    flip_kernel: bool = False,
    precision: lax.PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    rule: Rule = "hand",
    method: Method = "auto",
) -> jax.Array:
    """Convolves `inputs` with `kernel`.

    As in every framework, the default is cross-correlation; `flip_kernel=True` is the convolution of signal
    processing. Halves (bfloat16, float16) accumulate in float32.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes.
      kernel: `(*window, C / feature_group_count, O)`, of the same dtype.
      mask: of the kernel's shape, what it is multiplied by: 0 or False takes a weight away.
      strides: steps of the window, in cells, one for all axes or one per axis.
      padding: `"SAME"`, `"VALID"`, `"LECTURE"`, an integer, or per axis an integer or a `(low, high)` pair; negative
        amounts crop. See `geometry.resolve_padding`.
      input_dilation: spacing of the input's cells; above 1 this is a transposed (fractionally strided) convolution.
      kernel_dilation: spacing of the kernel's taps (atrous convolution).
      feature_group_count: number of groups into which channels and outputs are split.
      flip_kernel: reverse the kernel along its spatial axes.
      precision: as in `lax.conv_general_dilated`.
      preferred_element_type: dtype of the result, as in `lax.conv_general_dilated`.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own, which also knows forward mode.
      method: `"auto"`, by the table of what was measured (`jaxcnn doctor` shows it); `"jax"`, the fastest form without
        oneDNN, see `ops.forms`; `"lax"`, XLA's convolution alone; `"onednn"` (oneDNN's, on CPU; compiled once, see
        `onednn`); `"im2col"` (one matrix product); `"loops"` (explicit, slow).

    Returns:
      `(N, *output, O)`, with `output = floor((spatial + pads - window) / strides) + 1`.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if shapes disagree, the window does not fit, or an option is unknown.
      RuntimeError: if oneDNN is asked for and cannot be had.

    Source: LeCun et al. 1989 (weight sharing); Dumoulin & Visin 2016 (arithmetic).
    """
    inputs, kernel = arrays.floating(inputs=inputs, kernel=kernel)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    arrays.choice("method", method, METHODS)
    if mask is not None:
        factors = jnp.asarray(mask).astype(kernel.dtype)
        if factors.shape != kernel.shape:
            raise ValueError(f"`mask` must have the shape of `kernel`, {kernel.shape}; got {factors.shape}.")
        kernel = jnp.asarray(_masked(kernel, factors) if rule == "hand" else kernel * factors)
    spec = conv_spec(
        inputs,
        kernel,
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
        feature_group_count=feature_group_count,
        flip_kernel=flip_kernel,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    if method in ("auto", "jax", "lax"):
        return (_conv if rule == "hand" else correlate)(inputs, kernel, spec._replace(method=method))
    if method == "onednn":
        return _by_onednn(inputs, kernel, spec, rule)
    slow = reference.conv_im2col if method == "im2col" else reference.conv_loops
    kernel = jnp.flip(kernel, spec.dims.rhs_spec[2:]) if flip_kernel else kernel
    return slow(inputs, kernel, spec.window, feature_group_count, precision, spec.element_type, rule)


def _by_onednn(inputs: jax.Array, kernel: jax.Array, spec: Spec, rule: Rule) -> jax.Array:
    if rule != "hand":
        raise ValueError(f"`method='onednn'` has the hand-written rule alone; got rule={rule!r}.")
    if 0 in (inputs.size, kernel.size, *spec.window.output_shape(inputs.shape[1:-1])):
        return _conv(inputs, kernel, spec)
    kernel = lax.rev(kernel, spec.dims.rhs_spec[2:]) if spec.flip else kernel
    return onednn.conv(inputs, kernel, spec.window, spec.dims, spec.feature_groups, spec.element_type)


def conv_spec(
    inputs: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | tuple[int, ...] = 1,
    padding: geometry.Padding = "SAME",
    input_dilation: int | tuple[int, ...] = 1,
    kernel_dilation: int | tuple[int, ...] = 1,
    feature_group_count: int = 1,
    flip_kernel: bool = False,
    precision: lax.PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> Spec:
    """The static part of a call of `conv`, checked; arguments and errors as there."""
    window = geometry.conv_window(
        inputs.shape,
        kernel.shape,
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
        feature_group_count=feature_group_count,
    )
    rank = inputs.ndim
    channels_last = (0, rank - 1, *range(1, rank - 1))
    return Spec(
        window=window,
        dims=lax.ConvDimensionNumbers(channels_last, (rank - 1, rank - 2, *range(rank - 2)), channels_last),
        feature_groups=feature_group_count,
        flip=flip_kernel,
        precision=precision,
        element_type=None if preferred_element_type is None else jnp.dtype(preferred_element_type),
    )


def conv_general_dilated(
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: tuple[int, ...],
    padding: str | tuple[tuple[int, int], ...],
    lhs_dilation: tuple[int, ...] | None = None,
    rhs_dilation: tuple[int, ...] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: lax.PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: Any = None,
) -> jax.Array:
    """`lax.conv_general_dilated` with the hand-written gradient.

    For networks of others: `nnx.Conv(..., conv_general_dilated=jaxcnn.ops.conv_general_dilated)`. Arguments, result
    and errors of the forward are lax's; dtypes must be real floating and equal.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: as lax does, or if the padded input has 2**40 cells or more.
    """
    lhs, rhs = arrays.floating(lhs=lhs, rhs=rhs)
    if isinstance(padding, str) and set(lhs_dilation or ()) - {1}:
        raise ValueError(f"`padding` must be integers where `lhs_dilation` is not 1; got {padding!r}.")
    options = {"feature_group_count": feature_group_count, "batch_group_count": batch_group_count}
    dilations = {"lhs_dilation": lhs_dilation, "rhs_dilation": rhs_dilation, "dimension_numbers": dimension_numbers}
    called = partial(xla_convolution, window_strides=window_strides, padding=padding, **dilations, **options)
    jax.eval_shape(called, lhs, rhs)  # refuses what lax refuses, in its words
    dims = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    rank = lhs.ndim - 2
    if not rank:  # a matrix product
        return called(lhs, rhs, precision=precision, preferred_element_type=preferred_element_type)
    spatial, taps = ([array.shape[axis] for axis in axes[2:]] for array, axes in ((lhs, dims[0]), (rhs, dims[1])))
    lhs_dilation, rhs_dilation = lhs_dilation or (1,) * rank, rhs_dilation or (1,) * rank
    if isinstance(padding, str):
        extents = list(map(geometry.dilated_size, taps, rhs_dilation))
        padding = tuple(lax.padtype_to_pads(spatial, extents, window_strides, padding))
    window = Window(
        shape=tuple(taps),
        strides=geometry.per_axis(window_strides, rank, "window_strides"),
        padding=geometry.resolve_padding(padding, tuple(spatial), tuple(taps)),
        input_dilation=geometry.per_axis(lhs_dilation, rank, "lhs_dilation"),
        dilation=geometry.per_axis(rhs_dilation, rank, "rhs_dilation"),
    )
    geometry.check_extent(window, tuple(spatial))
    element_type = None if preferred_element_type is None else jnp.dtype(preferred_element_type)
    spec = Spec(window, dims, feature_group_count, batch_group_count, False, precision, element_type, out_sharding)
    return _conv(lhs, rhs, spec)
