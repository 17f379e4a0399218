"""The public functions of convolution in 1 to 3 spatial dimensions."""

from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from jaxcnn import geometry
from jaxcnn.geometry import Window
from jaxcnn.ops import arrays, choices, native, reference
from jaxcnn.ops.conv.lowerings.xla import correlate, xla_convolution
from jaxcnn.ops.conv.problem import Spec, channels_last
from jaxcnn.ops.conv.rule import convolution
from jaxcnn.ops.rule import Rule, custom_vjp
from jaxcnn.ops.sharding import match_cotangent

Method = Literal["auto", "jax", "lax", "im2col", "loops", "native"]
METHODS = get_args(Method)

# A masked convolution has the kernel m w, so that dw = m dL/d(m w) and dm = w dL/d(m w): where m = 0, no gradient.


@custom_vjp()
def _masked(kernel: jax.Array, mask: jax.Array) -> jax.Array:
    return kernel * mask


_masked.defvjp(
    lambda kernel, mask: (_masked(kernel, mask), (kernel, mask)),
    lambda saved, error: tuple(match_cotangent(error * saved[1 - i], saved[i]) for i in (0, 1)),
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
    strict: bool = False,
    rule: Rule = "hand",
    method: Method = "auto",
) -> jax.Array:
    """Convolves `inputs` with `kernel`.

    As in every framework, the default is cross-correlation; `flip_kernel=True` is the convolution of signal
    processing. 16-bit floats accumulate in float32.

    Args:
      inputs: `(N, *spatial, C)`, with 1 to 3 spatial axes.
      kernel: `(*window, C / feature_group_count, O)`, of the same dtype.
      mask: factors of the weights, in the kernel's shape; 0 or False removes a weight.
      strides: steps of the window, in cells, one for all axes or one per axis.
      padding: `"SAME"`, `"VALID"`, `"LECTURE"`, an integer, or per axis an integer or a `(low, high)` pair; negative
        amounts crop. See `geometry.resolve_padding`.
      input_dilation: spacing of the input's cells; above 1 this is a transposed (fractionally strided) convolution.
      kernel_dilation: spacing of the kernel's taps (atrous convolution).
      feature_group_count: number of groups into which channels and outputs are split.
      flip_kernel: reverse the kernel along its spatial axes.
      precision: as in `lax.conv_general_dilated`.
      preferred_element_type: dtype of the result, as in `lax.conv_general_dilated`.
      strict: refuse strides that leave trailing cells unread.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own, which also knows forward mode.
      method: the implementation. `"auto"` chooses by a table of measurements, which `jaxcnn doctor` shows; `"jax"` is
        the fastest one without C++ (see `ops.conv.lowerings`); `"lax"`, XLA's convolution; `"native"`, the C++ backend
        on CPU (see `ops.native`); `"im2col"`, one matrix product; `"loops"`, explicit loops, slow. With
        `rule="autodiff"`, `"auto"` and `"jax"` are XLA's convolution.

    Returns:
      `(N, *output, O)`, with `output = floor((spatial + pads - window) / strides) + 1`.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if shapes disagree, the window does not fit, `strict` finds a remainder, or an option is unknown.
      RuntimeError: if `method` is `"native"` and the C++ backend is not available.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> signal = jnp.array([0.0, 1.0, 0.0, 0.0, 2.0]).reshape(1, 5, 1)
      >>> taps = jnp.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
      >>> ops.conv(signal, taps).ravel().tolist()
      [3.0, 2.0, 1.0, 6.0, 4.0]
      >>> ops.conv(signal, taps, flip_kernel=True).ravel().tolist()
      [1.0, 2.0, 3.0, 2.0, 4.0]
      >>> jax.grad(lambda w: ops.conv(signal, w).sum())(taps).ravel().tolist()
      [1.0, 3.0, 3.0]

    Source: LeCun et al. 1989 (weight sharing); Dumoulin & Visin 2016 (arithmetic).
    """
    inputs, kernel = arrays.floating(inputs=inputs, kernel=kernel)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    method = choices.method_named(method, METHODS)
    if mask is not None:
        factors = jnp.asarray(mask).astype(kernel.dtype)
        if factors.shape != kernel.shape:
            raise ValueError(f"`mask` must have the shape of `kernel`, {kernel.shape}; got {factors.shape}.")
        kernel = jnp.asarray(_masked(kernel, factors) if rule == "hand" else kernel * factors)
    window = geometry.conv_window(
        inputs.shape,
        kernel.shape,
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
        feature_group_count=feature_group_count,
        strict=strict,
    )
    element_type = None if preferred_element_type is None else jnp.dtype(preferred_element_type)
    dims = channels_last(inputs.ndim)
    spec = Spec(window, dims, feature_group_count, 1, flip_kernel, precision, element_type)
    if method in ("auto", "jax", "lax"):
        return (convolution if rule == "hand" else correlate)(inputs, kernel, spec._replace(method=method))
    if method == "native":
        return _by_native(inputs, kernel, spec, rule)
    slow = reference.conv_im2col if method == "im2col" else reference.conv_loops
    kernel = jnp.flip(kernel, spec.dims.rhs_spec[2:]) if flip_kernel else kernel
    return slow(inputs, kernel, spec.window, feature_group_count, precision, spec.element_type, rule)


def _by_native(inputs: jax.Array, kernel: jax.Array, spec: Spec, rule: Rule) -> jax.Array:
    if rule != "hand":
        raise ValueError(f"`method='native'` supports only the hand-written rule; got rule={rule!r}.")
    if 0 in (inputs.size, kernel.size, *spec.window.output_shape(inputs.shape[1:-1])):
        return convolution(inputs, kernel, spec)
    kernel = lax.rev(kernel, spec.dims.rhs_spec[2:]) if spec.flip else kernel
    return native.conv(inputs, kernel, spec.window, spec.dims, spec.feature_groups, spec.element_type)


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

    Arguments, result and errors are those of lax, but dtypes must be real floating and equal. Use it in layers of
    other libraries: `nnx.Conv(..., conv_general_dilated=jaxcnn.ops.conv_general_dilated)`.

    Args:
      lhs: inputs, in the layout of `dimension_numbers`; by default `(N, C, *spatial)`.
      rhs: kernel, by default `(O, I, *window)`.
      window_strides: steps of the window, one per spatial axis.
      padding: `"SAME"`, `"VALID"`, or a `(low, high)` pair per spatial axis.
      lhs_dilation: spacing of the input's cells; by default 1.
      rhs_dilation: spacing of the kernel's taps; by default 1.
      dimension_numbers: the layout of inputs, kernel and outputs.
      feature_group_count: number of groups into which channels are split.
      batch_group_count: number of groups into which the batch is split.
      precision: precision of the products.
      preferred_element_type: dtype of the result.
      out_sharding: sharding of the result, on an explicit mesh.

    Returns:
      The outputs, in the layout of `dimension_numbers`; by default `(N, O, *output)`.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: as lax does, or if the padded input has 2**40 cells or more.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> row, kernel = jnp.array([[[1.0, 2.0, 3.0]]]), jnp.array([[[1.0, 2.0, 1.0]]])  # channels first
      >>> ops.conv_general_dilated(row, kernel, (1,), "SAME").tolist()
      [[[4.0, 8.0, 8.0]]]
      >>> jax.grad(lambda x: ops.conv_general_dilated(x, kernel, (1,), "SAME").sum())(row).tolist()
      [[[3.0, 4.0, 3.0]]]
    """
    lhs, rhs = arrays.floating(lhs=lhs, rhs=rhs)
    if isinstance(padding, str) and set(lhs_dilation or ()) - {1}:
        raise ValueError(f"`padding` must be integers where `lhs_dilation` is not 1; got {padding!r}.")
    options: dict[str, Any] = {"feature_group_count": feature_group_count, "batch_group_count": batch_group_count}
    options |= {"lhs_dilation": lhs_dilation, "rhs_dilation": rhs_dilation, "dimension_numbers": dimension_numbers}
    called = partial(xla_convolution, window_strides=window_strides, padding=padding, **options)
    # refuses what lax refuses, in its words
    jax.eval_shape(partial(called, out_sharding=out_sharding), lhs, rhs)
    options |= {"precision": precision, "preferred_element_type": preferred_element_type}
    if lhs.ndim == 2:  # a matrix product
        return called(lhs, rhs, **options, out_sharding=out_sharding)
    return convolution(lhs, rhs, spec_of(lhs, rhs, window_strides, padding, out_sharding=out_sharding, **options))


def spec_of(
    lhs: Any,
    rhs: Any,
    window_strides: tuple[int, ...],
    padding: str | tuple[tuple[int, int], ...],
    *,
    lhs_dilation: tuple[int, ...] | None,
    rhs_dilation: tuple[int, ...] | None,
    dimension_numbers: Any,
    feature_group_count: int,
    batch_group_count: int,
    precision: lax.PrecisionLike,
    preferred_element_type: DTypeLike | None,
    out_sharding: Any,
) -> Spec:
    """Converts arguments that lax accepts to a `Spec`.

    The arguments `lhs` and `rhs` are arrays or their types.

    Raises:
      ValueError: if the padded input has 2**40 cells or more.
    """
    dims = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    rank = lhs.ndim - 2
    spatial, taps = ([array.shape[axis] for axis in axes[2:]] for array, axes in ((lhs, dims[0]), (rhs, dims[1])))
    spread, spacing = lhs_dilation or (1,) * rank, rhs_dilation or (1,) * rank
    if isinstance(padding, str):
        extents = list(map(geometry.dilated_size, taps, spacing))
        padding = tuple(lax.padtype_to_pads(spatial, extents, window_strides, padding))
    window = Window(
        shape=tuple(taps),
        strides=geometry.per_axis(window_strides, rank, "window_strides"),
        padding=geometry.resolve_padding(padding, tuple(spatial), tuple(taps)),
        input_dilation=geometry.per_axis(spread, rank, "lhs_dilation"),
        dilation=geometry.per_axis(spacing, rank, "rhs_dilation"),
    )
    geometry.check_extent(window, tuple(spatial))
    element_type = None if preferred_element_type is None else jnp.dtype(preferred_element_type)
    return Spec(window, dims, feature_group_count, batch_group_count, False, precision, element_type, out_sharding)
