"""Convolution whose output maps read selected input maps.

Every output map has a selection of its own.
"""

from collections.abc import Sequence
from typing import Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxcnn import geometry, ops
from jaxcnn.layers.conv import KERNEL_INIT
from jaxcnn.layers.initializers import filled
from jaxcnn.layers.options import Option, OptionArguments, chosen
from jaxcnn.layers.static import frozen
from jaxcnn.ops.arrays import along_last
from jaxcnn.ops.conv import METHODS


class TableConv(nnx.Module):
    """A convolution with a connection table.

    It has parameters only for the connections. The kernel `(kh, kw, connections)` is expanded with zeros to a full
    kernel, which XLA convolves faster than groups.

    Args:
      in_features: input channels.
      table: for every output map, the numbers of the input maps that it reads.
      kernel_size: height and width of the window.
      strides: steps of the window.
      padding: as in `ops.conv`.
      use_bias: whether to add a bias.
      kernel_init: initializer, called for each output map separately.
      rngs: random streams; `params` is used.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `Options`, or all as `options`.

    Raises:
      ValueError: if a row of the table is empty, or contains a number that is not an input map.

    Source: LeCun et al. 1989, figure 3; LeCun et al. 1998, table I.
    """

    rule, method, dtype, param_dtype, precision = Option(), Option(METHODS), Option(), Option(), Option()

    def __init__(
        self,
        in_features: int,
        table: Sequence[Sequence[int]],
        kernel_size: tuple[int, int],
        strides: int = 1,
        *,
        padding: geometry.Padding = "SAME",
        use_bias: bool = True,
        kernel_init: nnx.Initializer = KERNEL_INIT,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        self.options = chosen(**given)
        for row in table:
            if not row or not all(0 <= source < in_features for source in row):
                raise ValueError(f"`table` must name maps from 0 to {in_features - 1} in every row; got {tuple(row)}.")
        parts = [kernel_init(rngs.params(), (*kernel_size, len(row), 1), self.param_dtype) for row in table]
        self.kernel = nnx.Param(jnp.concatenate([part[..., 0] for part in parts], -1))
        self.bias = nnx.data(nnx.Param(filled(len(table), 0.0, self.param_dtype)) if use_bias else None)
        self.table = frozen([list(row) for row in table])
        self.in_features, self.out_features = in_features, len(table)
        self.strides, self.padding = strides, frozen(padding)

    def window(self, input_shape: Sequence[int]) -> geometry.Window:
        """Returns the window over an input of these spatial sizes.

        Args:
          input_shape: spatial sizes of the input.

        Returns:
          The window, resolved to integers.
        """
        size = self.kernel.shape[:2]
        return geometry.resolve_window(tuple(input_shape), size, strides=self.strides, padding=self.padding)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Convolves.

        Args:
          inputs: `(N, H, W, C)`.

        Returns:
          `(N, H', W', O)`, with one map for each row of the table.
        """
        x = jnp.asarray(inputs, self.dtype)
        sources = np.concatenate([np.array(row) for row in self.table])
        targets = np.repeat(np.arange(self.out_features), [len(row) for row in self.table])
        kernel = self.kernel[...].astype(x.dtype)
        whole = jnp.zeros((*kernel.shape[:2], self.in_features, self.out_features), x.dtype)
        whole = whole.at[:, :, sources, targets].set(kernel, unique_indices=True)
        how = {"rule": self.rule, "method": self.method, "precision": self.precision}
        y = ops.conv(x, whole, strides=self.strides, padding=self.padding, **how)
        return y if self.bias is None else y + along_last(self.bias[...].astype(y.dtype), y)
