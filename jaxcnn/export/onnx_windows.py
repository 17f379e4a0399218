"""Converters of convolutions, pools and borders to ONNX.

The module is imported only if jax2onnx is installed. The converters of jax2onnx 0.17.1 do not support convolutions over
three axes, and fail on borders if the batch size is open. Their pools also slide over batch and channels: onnxruntime
refuses the maximum over two and three axes, and takes up to three times as long for the mean, which becomes a
convolution.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from jax2onnx.plugins._ir_shapes import _stamp_type_and_shape
from jax2onnx.plugins.plugin_system import PLUGIN_REGISTRY, PrimitiveLeafPlugin, import_all_plugins


def _add(ctx: Any, operation: str, inputs: Sequence[Any], shape: Sequence[Any], dtype: Any, **attributes: Any) -> Any:
    """Adds a node; returns its output, of this shape."""
    build = getattr(ctx.builder, operation)
    result = build(*inputs, _outputs=[ctx.fresh_name(operation)], **attributes)
    result.type = ir.TensorType(dtype)
    _stamp_type_and_shape(result, tuple(shape))
    return result


def _constant(ctx: Any, name: str, array: np.ndarray) -> Any:
    return ctx.builder.add_initializer_from_array(name=ctx.fresh_name(name), array=array)


def _value(ctx: Any, variable: Any) -> Any:
    return ctx.get_value_for_var(variable, name_hint=ctx.fresh_name("value"))


def _transposed(ctx: Any, x: Any, shape: Sequence[Any], order: Sequence[int]) -> Any:
    return _add(ctx, "Transpose", [x], [shape[i] for i in order], x.type.dtype, perm=[int(i) for i in order])


class _Conv(PrimitiveLeafPlugin):
    """A convolution.

    ONNX needs `(N, C, *spatial)` and kernels `(O, I, *spatial)`.
    """

    def lower(self, ctx: Any, eqn: Any) -> None:
        """Adds the nodes of one equation."""
        (images, kernel), (output,), params = eqn.invars, eqn.outvars, eqn.params
        padding, spread = np.array(params["padding"]), set(params["lhs_dilation"]) != {1}
        if params["batch_group_count"] != 1 or (padding < 0).any():
            raise NotImplementedError("ONNX has no convolution with batch groups or negative padding.")
        if spread:
            self.lower_transposed(ctx, eqn, padding)
            return
        lhs, rhs, out = params["dimension_numbers"]
        x, w = (
            _transposed(ctx, _value(ctx, variable), variable.aval.shape, order)
            for variable, order in ((images, lhs), (kernel, rhs))
        )
        shape = [output.aval.shape[axis] for axis in out]
        y = _add(
            ctx,
            "Conv",
            [x, w],
            shape,
            x.type.dtype,
            strides=[int(n) for n in params["window_strides"]],
            dilations=[int(n) for n in params["rhs_dilation"]],
            pads=[int(n) for n in padding.T.ravel()],
            group=int(params["feature_group_count"]),
        )
        ctx.bind_value_for_var(output, _transposed(ctx, y, shape, np.argsort(out).tolist()))

    def lower_transposed(self, ctx: Any, eqn: Any, padding: np.ndarray) -> None:
        """Adds the nodes of a convolution of a spread input.

        It becomes ONNX's transposed convolution, with a flipped kernel. That one cuts the cells `pads` off an output of
        `s (n - 1) + k` cells, where a convolution of the spread input has `low` and `high` zeros around it: `pads = k -
        1 - low`. What is left at the end, where `high` is above `k - 1`, is its `output_padding`.
        """
        (images, kernel), (output,), params = eqn.invars, eqn.outvars, eqn.params
        if set(params["window_strides"]) != {1} or params["feature_group_count"] != 1:
            raise NotImplementedError("ONNX has no transposed convolution with a second stride or with groups.")
        lhs, rhs, out = params["dimension_numbers"]
        x = _transposed(ctx, _value(ctx, images), images.aval.shape, lhs)
        order = (rhs[1], rhs[0], *rhs[2:])  # (I, O, *spatial)
        w = _transposed(ctx, _value(ctx, kernel), kernel.aval.shape, order)
        sizes = [kernel.aval.shape[axis] for axis in order]
        axes = list(range(2, len(sizes)))
        starts, ends = ([end] * len(axes) for end in (-1, -(2**31)))
        parts = [_constant(ctx, "flip", np.array(part, np.int64)) for part in (starts, ends, axes, starts)]
        w = _add(ctx, "Slice", [w, *parts], sizes, w.type.dtype)
        extents = [(size - 1) * step + 1 for size, step in zip(sizes[2:], params["rhs_dilation"], strict=True)]
        pads = np.array(extents)[:, None] - 1 - padding
        more = np.maximum(-pads[:, 1], 0)
        if (pads[:, 0] < 0).any():
            raise NotImplementedError("ONNX has no transposed convolution with more zeros before it than a kernel.")
        shape = [output.aval.shape[axis] for axis in out]
        y = _add(
            ctx,
            "ConvTranspose",
            [x, w],
            shape,
            x.type.dtype,
            strides=[int(n) for n in params["lhs_dilation"]],
            dilations=[int(n) for n in params["rhs_dilation"]],
            pads=[int(n) for n in np.maximum(pads, 0).T.ravel()],
            output_padding=[int(n) for n in more],
        )
        ctx.bind_value_for_var(output, _transposed(ctx, y, shape, np.argsort(out).tolist()))


class _Pool(PrimitiveLeafPlugin):
    """A window over the spatial axes of `(N, *spatial, C)`.

    ONNX needs `(N, C, *spatial)`.
    """

    def lower(self, ctx: Any, eqn: Any) -> None:
        """Adds the nodes of one equation."""
        (operand,), (output,), params = eqn.invars, eqn.outvars, eqn.params
        window = params["window_dimensions"]
        if window[0] != 1 or window[-1] != 1 or set(params["base_dilation"]) != {1} or len(window) < 3:
            raise NotImplementedError(f"a pool must slide only along spatial axes; got a window {tuple(window)}.")
        x = _value(ctx, operand)
        dtype, rank = x.type.dtype, len(window)
        first, last = (0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)
        pads = np.array(params["padding"][1:-1])
        sizes = {
            "kernel_shape": [int(n) for n in window[1:-1]],
            "strides": [int(n) for n in params["window_strides"][1:-1]],
            "dilations": [int(n) for n in params["window_dilation"][1:-1]],
            "pads": [int(n) for n in pads.T.ravel()],
        }
        shape = [output.aval.shape[i] for i in first]
        pooled = self.pool(ctx, _transposed(ctx, x, operand.aval.shape, first), shape, dtype, sizes)
        ctx.bind_value_for_var(output, _transposed(ctx, pooled, shape, last))

    def pool(self, ctx: Any, x: Any, shape: Sequence[Any], dtype: Any, sizes: dict[str, Any]) -> Any:
        """Adds the pool; returns the pooled values, channels first."""
        raise NotImplementedError


class _MaxPool(_Pool):
    def pool(self, ctx: Any, x: Any, shape: Sequence[Any], dtype: Any, sizes: dict[str, Any]) -> Any:
        return _add(ctx, "MaxPool", [x], shape, dtype, **sizes)


class _SumPool(_Pool):
    """A sum: the mean with counted padding, times the window's size."""

    def pool(self, ctx: Any, x: Any, shape: Sequence[Any], dtype: Any, sizes: dict[str, Any]) -> Any:
        mean = _add(ctx, "AveragePool", [x], shape, dtype, count_include_pad=1, **sizes)
        size = _constant(ctx, "size", np.array(math.prod(sizes["kernel_shape"]), dtype.numpy()))
        return _add(ctx, "Mul", [mean, size], shape, dtype)


class _Pad(PrimitiveLeafPlugin):
    """A border of one value; a negative border crops."""

    def lower(self, ctx: Any, eqn: Any) -> None:
        """Adds the node of one equation."""
        (operand, border), (output,), config = eqn.invars, eqn.outvars, eqn.params["padding_config"]
        if any(between for *_, between in config):
            raise NotImplementedError(f"ONNX has no padding between cells; got {config}.")
        x = _value(ctx, operand)
        pads = np.array([low for low, *_ in config] + [high for _, high, _ in config], np.int64)
        inputs = [x, _constant(ctx, "pads", pads), _value(ctx, border)]
        ctx.bind_value_for_var(output, _add(ctx, "Pad", inputs, output.aval.shape, x.type.dtype, mode="constant"))


@contextlib.contextmanager
def own_windows() -> Iterator[None]:
    """While open, jax2onnx uses the converters of this module."""
    import_all_plugins()
    own: dict[str, PrimitiveLeafPlugin] = {
        "conv_general_dilated": _Conv(),
        "pad": _Pad(),
        "reduce_window_max": _MaxPool(),
        "reduce_window_sum": _SumPool(),
    }
    before = {name: PLUGIN_REGISTRY[name] for name in own}
    try:
        PLUGIN_REGISTRY.update(own)
        yield
    finally:
        PLUGIN_REGISTRY.update(before)
