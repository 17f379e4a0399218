"""Convolution as a Flax NNX module."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from jaxcnn import geometry, ops
from jaxcnn.layers import initializers
from jaxcnn.layers.options import Option, Options, chosen
from jaxcnn.layers.static import frozen
from jaxcnn.ops.arrays import along_last
from jaxcnn.ops.conv import METHODS, Method
from jaxcnn.ops.conv.lowerings.xla import xla_convolution
from jaxcnn.ops.conv.problem import channels_last
from jaxcnn.ops.rule import Rule

# fill modes that read the input itself, by the name that Flax gives them
_FILLED_BORDERS = {"CIRCULAR": "wrap", "REFLECT": "reflect"}


KERNEL_INIT, BIAS_INIT = initializers.lecun_normal(), initializers.constant(0.0)  # the defaults of flax.nnx.Conv
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Mask(nnx.Variable):
    """The mask of a kernel, which is not trained."""


class Conv(nnx.Module):
    """A convolution with a learned kernel and bias.

    Parameters, their initialization and the names of the arguments are those of `flax.nnx.Conv`, so that each can
    replace the other. The gradient is the hand-written one of `ops.conv`.

    Args:
      in_features: input channels C.
      out_features: output channels O.
      kernel_size: sizes of the window, one per spatial axis; an integer means one spatial axis.
      strides: steps of the window; None means 1, also for the dilations.
      padding: as in `ops.conv`; also `"CIRCULAR"` and `"REFLECT"`, which fill the borders from the input and, with
        strides of 1, keep its size; and `"CAUSAL"`, for one spatial axis.
      input_dilation: spacing of the input's cells.
      kernel_dilation: spacing of the kernel's taps.
      feature_group_count: number of groups.
      use_bias: whether to add a bias.
      mask: factors of the weights, in the kernel's shape; 0 or False removes a weight.
      flip_kernel: whether to compute a true convolution instead of cross-correlation.
      dtype: dtype of the computation; by default that of inputs and parameters.
      param_dtype: dtype of the parameters.
      precision: as in `lax.conv_general_dilated`.
      preferred_element_type: dtype of the result and of the sums.
      strict: refuse strides that leave trailing cells unread.
      kernel_init: initializer of the kernel; by default LeCun's normal (variance 1 / fan-in).
      bias_init: initializer of the bias; by default zeros.
      conv_general_dilated: a function with the arguments of `lax.conv_general_dilated` that replaces `ops.conv`.
      promote_dtype: a function `(arrays, dtype=dtype) -> arrays` that gives inputs, kernel and bias one dtype.
      rule: `"hand"` or `"autodiff"`, as in `ops.conv`.
      method: as in `ops.conv`.
      options: `rule`, `method`, `precision` and dtypes at once, instead of single ones.
      rngs: random streams; `params` is used.
      kernel_metadata: further arguments of the kernel's `nnx.Param`.
      bias_metadata: further arguments of the bias's `nnx.Param`.

    Raises:
      ValueError: if the number of groups does not divide the channels, the mask does not have the kernel's shape, an
        option is unknown, or the padding is `"CAUSAL"` with several spatial axes.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxcnn import layers
      >>> conv = layers.Conv(3, 16, (3, 3), rngs=nnx.Rngs(0))
      >>> conv(jnp.ones((8, 32, 32, 3))).shape
      (8, 32, 32, 16)
    """

    rule, method, dtype, param_dtype, precision = Option(), Option(METHODS), Option(), Option(), Option()

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        padding: geometry.Padding = "SAME",
        input_dilation: int | Sequence[int] | None = 1,
        kernel_dilation: int | Sequence[int] | None = 1,
        feature_group_count: int = 1,
        use_bias: bool = True,
        mask: ArrayLike | None = None,
        flip_kernel: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        precision: lax.PrecisionLike = None,
        preferred_element_type: DTypeLike | None = None,
        strict: bool = False,
        kernel_init: nnx.Initializer = KERNEL_INIT,
        bias_init: nnx.Initializer = BIAS_INIT,
        conv_general_dilated: Callable[..., jax.Array] | None = None,
        promote_dtype: Callable[..., tuple[Any, ...]] = dtypes.promote_dtype,
        rule: Rule = "hand",
        method: Method = "auto",
        options: Options | None = None,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = _NOTHING,
        bias_metadata: Mapping[str, Any] = _NOTHING,
    ):
        single = {"rule": rule, "method": method, "dtype": dtype, "param_dtype": param_dtype, "precision": precision}
        self.options = options = chosen(options, **single)
        rank = 1 if isinstance(kernel_size, int) else len(kernel_size)
        self.kernel_size = geometry.per_axis(kernel_size, rank, "kernel_size")
        if padding == "CAUSAL" and rank != 1:
            raise ValueError(f"`padding` 'CAUSAL' needs one spatial axis; got {rank}.")
        inputs_per_group = in_features // max(feature_group_count, 1)
        geometry.check_groups(in_features, inputs_per_group, out_features, feature_group_count)
        shape = (*self.kernel_size, inputs_per_group, out_features)
        self.kernel = nnx.Param(kernel_init(rngs.params(), shape, options.param_dtype), **kernel_metadata)
        bias = bias_init(rngs.params(), (out_features,), options.param_dtype) if use_bias else None
        self.bias = nnx.data(None) if bias is None else nnx.Param(bias, **bias_metadata)
        if mask is not None and jnp.shape(mask) != shape:
            raise ValueError(f"`mask` must have the shape of the kernel, {shape}; got {jnp.shape(mask)}.")
        self.mask = nnx.data(None if mask is None else Mask(jnp.asarray(mask).astype(options.param_dtype)))
        self.in_features = in_features
        self.out_features = out_features
        self.strides = geometry.per_axis(1 if strides is None else strides, rank, "strides")
        self.padding = frozen(padding)
        spread, spacing = (1 if dilation is None else dilation for dilation in (input_dilation, kernel_dilation))
        self.input_dilation = geometry.per_axis(spread, rank, "input_dilation")
        self.kernel_dilation = geometry.per_axis(spacing, rank, "kernel_dilation")
        self.feature_group_count = feature_group_count
        self.flip_kernel = flip_kernel
        self.preferred_element_type = preferred_element_type
        self.strict = strict
        self.conv_general_dilated = conv_general_dilated
        self.promote_dtype = promote_dtype

    def __call__(self, inputs: ArrayLike, out_sharding: Any = None) -> jax.Array:
        """Convolves.

        Args:
          inputs: `(*batch, *spatial, C)`; several batch axes, or none, are allowed.
          out_sharding: sharding of the outputs on an explicit mesh, before several batch axes are restored.

        Returns:
          `(*batch, *output, O)`.
        """
        bias = None if self.bias is None else self.bias[...]
        arguments = (jnp.asarray(inputs), self.kernel[...], bias)
        x, kernel, bias = self.promote_dtype(arguments, dtype=self.dtype)
        rank = len(self.kernel_size)
        batch = x.shape[: max(0, x.ndim - rank - 1)]
        if len(batch) != 1:
            x = x.reshape(math.prod(batch), *x.shape[len(batch) :])
        images, padding = self._filled(x)
        outputs = self._convolved(images, kernel, padding, out_sharding)
        outputs = outputs if bias is None else outputs + along_last(bias.astype(outputs.dtype), outputs)
        return outputs.reshape(*batch, *outputs.shape[1:]) if len(batch) != 1 else outputs

    def _convolved(
        self, images: jax.Array, kernel: jax.Array, padding: geometry.Padding, out_sharding: Any
    ) -> jax.Array:
        function, mask = self.conv_general_dilated, None if self.mask is None else self.mask[...]
        sliding: dict[str, Any] = {
            "strides": self.strides,
            "padding": padding,
            "input_dilation": self.input_dilation,
            "kernel_dilation": self.kernel_dilation,
            "feature_group_count": self.feature_group_count,
            "strict": self.strict,
        }
        sums = {"precision": self.precision, "preferred_element_type": self.preferred_element_type}
        if function is None and out_sharding is None:
            options = {"mask": mask, "flip_kernel": self.flip_kernel, "rule": self.rule, "method": self.method}
            return ops.conv(images, kernel, **sliding, **sums, **options)
        if function is None:
            function = ops.conv_general_dilated if self.rule == "hand" else xla_convolution
        window, rank = geometry.conv_window(images.shape, kernel.shape, **sliding), images.ndim
        kernel = kernel if mask is None else kernel * mask.astype(kernel.dtype)
        given = {name: value for name, value in (*sums.items(), ("out_sharding", out_sharding)) if value is not None}
        return function(
            images,
            lax.rev(kernel, range(rank - 2)) if self.flip_kernel else kernel,
            window.strides,
            window.padding,
            lhs_dilation=window.input_dilation,
            rhs_dilation=window.dilation,
            dimension_numbers=channels_last(rank),
            feature_group_count=self.feature_group_count,
            **given,
        )

    def window(self, input_shape: Sequence[int]) -> geometry.Window:
        """Returns the window over an input of these spatial sizes.

        Args:
          input_shape: spatial sizes of the input.

        Returns:
          The window, resolved to integers.
        """
        padding = self.padding
        if isinstance(padding, str) and padding in _FILLED_BORDERS:
            extents = map(geometry.dilated_size, self.kernel_size, self.kernel_dilation)
            padding = [((k - 1) // 2, k // 2) for k in extents]
        elif padding == "CAUSAL":
            padding = [(geometry.dilated_size(self.kernel_size[0], self.kernel_dilation[0]) - 1, 0)]
        return geometry.resolve_window(
            tuple(input_shape),
            self.kernel_size,
            strides=self.strides,
            padding=padding,
            input_dilation=self.input_dilation,
            window_dilation=self.kernel_dilation,
        )

    def _filled(self, inputs: jax.Array) -> tuple[jax.Array, geometry.Padding]:
        """Fills borders that are not zeros.

        Returns the input and the padding still to do.
        """
        extents = map(geometry.dilated_size, self.kernel_size, self.kernel_dilation)
        if self.padding == "CAUSAL":
            return inputs, [(next(extents) - 1, 0)]
        if not isinstance(self.padding, str) or self.padding not in _FILLED_BORDERS:
            return inputs, self.padding
        borders = [(0, 0), *(((k - 1) // 2, k // 2) for k in extents), (0, 0)]
        return jnp.pad(inputs, borders, mode=_FILLED_BORDERS[self.padding]), "VALID"
