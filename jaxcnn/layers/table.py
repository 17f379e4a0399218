"""Convolution in which every output map sees its own choice of input maps."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxcnn.layers.conv import Conv
from jaxcnn.layers.static import frozen


class TableConv(nnx.Module):
    """A convolution after a connection table; it has parameters only where the table connects.

    Output maps of equal shape of connection are computed together, as one grouped convolution on gathered channels.

    Args:
      in_features: input channels.
      table: for every output map, the input maps that it sees.
      kernel_size: window.
      strides: steps of the window.
      use_bias: whether to add a bias.
      **options: further arguments of `Conv`.

    Raises:
      ValueError: if a row is empty or names a map that is not there.

    Source: LeCun et al. 1989, figure 3; LeCun et al. 1998, table I.
    """

    def __init__(
        self,
        in_features: int,
        table: Sequence[Sequence[int]],
        kernel_size: tuple[int, int],
        strides: int = 1,
        *,
        use_bias: bool = True,
        **options: Any,
    ):
        table = frozen([list(row) for row in table])
        for row in table:
            if not row or not all(0 <= source < in_features for source in row):
                raise ValueError(f"`table` must name maps from 0 to {in_features - 1} in every row; got {row}.")
        outputs_of = defaultdict(list)  # the same sources -> the outputs that share them
        for output, row in enumerate(table):
            outputs_of[row].append(output)
        buckets = defaultdict(list)  # the same shape -> the sources
        for row, outputs in outputs_of.items():
            buckets[len(row), len(outputs)].append(row)
        self.sources = frozen([[c for row in rows for c in row] for rows in buckets.values()])
        order = [output for rows in buckets.values() for row in rows for output in outputs_of[row]]
        self.order = frozen(np.argsort(order).tolist())
        self.convs = nnx.List(
            Conv(
                len(rows) * fan_in,
                len(rows) * outputs,
                kernel_size,
                strides,
                feature_group_count=len(rows),
                use_bias=use_bias,
                **options,
            )
            for (fan_in, outputs), rows in buckets.items()
        )

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `(N, H, W, C)` to `(N, H', W', rows of the table)`."""
        maps = [conv(inputs[..., jnp.array(sources)]) for conv, sources in zip(self.convs, self.sources, strict=True)]
        return jnp.concatenate(maps, -1)[..., jnp.array(self.order)]
