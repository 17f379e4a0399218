"""Transposed convolution as a Flax NNX module."""

from collections.abc import Sequence
from typing import Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from jax.typing import ArrayLike

from jaxcnn import geometry, ops
from jaxcnn.layers.conv import BIAS_INIT, KERNEL_INIT
from jaxcnn.layers.options import Option, OptionArguments, chosen
from jaxcnn.layers.static import frozen
from jaxcnn.ops.arrays import along_last


class ConvTranspose(nnx.Module):
    """A transposed convolution with a learned kernel and bias.

    Parameters and their initialization are those of `flax.nnx.ConvTranspose`. The gradient is the hand-written one of
    `ops.conv_transpose`.

    Args:
      in_features: input channels C.
      out_features: output channels O.
      kernel_size: sizes of the window, one per spatial axis; an integer means one spatial axis.
      strides: spacing of the input's cells in the output; an integer or one per axis.
      padding: as in `ops.conv_transpose`.
      use_bias: whether to add a bias.
      kernel_init: initializer of the kernel; by default LeCun's normal (variance 1 / fan-in).
      bias_init: initializer of the bias; by default zeros.
      rngs: random streams; `params` is used.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `Options`, or all as `options`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxcnn import layers
      >>> up = layers.ConvTranspose(16, 8, (2, 2), 2, rngs=nnx.Rngs(0))
      >>> up(jnp.ones((1, 12, 12, 16))).shape
      (1, 24, 24, 8)
    """

    rule, dtype, param_dtype, precision = Option(), Option(), Option(), Option()

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        *,
        padding: geometry.Padding = "SAME",
        use_bias: bool = True,
        kernel_init: nnx.Initializer = KERNEL_INIT,
        bias_init: nnx.Initializer = BIAS_INIT,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        self.options = options = chosen(**given)
        rank = 1 if isinstance(kernel_size, int) else len(kernel_size)
        self.kernel_size = geometry.per_axis(kernel_size, rank, "kernel_size")
        shape = (*self.kernel_size, in_features, out_features)
        self.kernel = nnx.Param(kernel_init(rngs.params(), shape, options.param_dtype))
        bias = bias_init(rngs.params(), (out_features,), options.param_dtype) if use_bias else None
        self.bias = nnx.data(None) if bias is None else nnx.Param(bias)
        self.in_features = in_features
        self.out_features = out_features
        self.strides = geometry.per_axis(strides, rank, "strides")
        self.padding = frozen(padding)

    def __call__(self, inputs: ArrayLike) -> jax.Array:
        """Convolves the inputs, spread by the strides.

        Args:
          inputs: `(N, *spatial, C)`.

        Returns:
          `(N, *output, O)`.
        """
        bias = None if self.bias is None else self.bias[...]
        x, kernel, bias = promote_dtype((jnp.asarray(inputs), self.kernel[...], bias), dtype=self.dtype)
        outputs = ops.conv_transpose(
            x, kernel, strides=self.strides, padding=self.padding, precision=self.precision, rule=self.rule
        )
        return outputs if bias is None else outputs + along_last(bias, outputs)

    def window(self, input_shape: Sequence[int]) -> geometry.Window:
        """Returns the window over an input of these spatial sizes.

        Args:
          input_shape: spatial sizes of the input.

        Returns:
          The window over the input's spread cells, resolved to integers.
        """
        pads = geometry.transposed_padding(input_shape, self.kernel_size, self.strides, self.padding, 0, 1)
        ones = (1,) * len(self.kernel_size)
        return geometry.Window(self.kernel_size, ones, pads, self.strides, ones)
