"""Inception blocks: kernels on one input, their maps concatenated.

Several kernels read the same input.
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcnn.layers.options import OptionArguments, chosen
from jaxcnn.layers.pool import AvgPool, MaxPool
from jaxcnn.layers.unit import HE_NORMAL, ConvUnit


class Inception(nnx.Module):
    """Branches of convolutions, and one of pooling, whose maps are concatenated.

    Args:
      in_features: input channels.
      branches: for each branch, a chain of `(kernel_size, out_features)`.
      pool: kind of the 3x3 pooling of the last branch.
      projection: outputs of the 1x1 convolution after the pooling; 0 leaves this convolution out.
      strides: steps of the last convolution of each branch, and of the pooling.
      batch_norm: as in `ConvUnit`.
      activation: as in `ConvUnit`.
      kernel_init: as in `ConvUnit`.
      scale_init: as in `ConvUnit`.
      norm_options: as in `ConvUnit`.
      rngs: random streams; `params` is used.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `Options`, or all as `options`.

    Source: Szegedy et al. 2015, figure 2(b); with strides, Ioffe & Szegedy 2015, figure 5.
    """

    def __init__(
        self,
        in_features: int,
        branches: Sequence[Sequence[tuple[int, int]]],
        *,
        pool: Literal["max", "average"] = "max",
        projection: int,
        strides: int = 1,
        batch_norm: bool = True,
        activation: str | None = "relu",
        kernel_init: nnx.Initializer = HE_NORMAL,
        scale_init: nnx.Initializer | None = None,
        norm_options: dict[str, Any] | None = None,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        options = chosen(**given)
        unit = functools.partial(
            ConvUnit,
            batch_norm=batch_norm,
            activation=activation,
            kernel_init=kernel_init,
            scale_init=scale_init,
            norm_options=norm_options,
            rngs=rngs,
            options=options,
        )
        chains = []
        for branch in branches:
            widths = [in_features, *(width for _, width in branch)]
            steps = [1] * (len(branch) - 1) + [strides]
            chains.append(
                nnx.List(
                    unit(i, o, kernel, step) for (kernel, o), i, step in zip(branch, widths[:-1], steps, strict=True)
                )
            )
        self.branches = nnx.List(chains)
        kind = {"max": MaxPool, "average": AvgPool}[pool]
        means = {"count_include_pad": False} if pool == "average" else {}
        padding = 1 if strides == 1 else "SAME"
        self.pool = kind(3, strides, padding=padding, options=options, **means)
        self.projection = nnx.data(unit(in_features, projection, 1) if projection else None)
        self.out_features = sum(branch[-1][1] for branch in branches) + (projection or in_features)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Computes all branches and concatenates their maps.

        Args:
          inputs: `(N, H, W, C)`.

        Returns:
          `(N, H', W', out_features)`.
        """
        maps = []
        for branch in self.branches:
            x = inputs
            for unit in branch:
                x = unit(x)
            maps.append(x)
        pooled = self.pool(inputs)
        maps.append(pooled if self.projection is None else self.projection(pooled))
        return jnp.concatenate(maps, -1)
