"""Inception blocks: several kernels read the same input, and their maps are concatenated."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcnn.layers.pool import AvgPool, MaxPool
from jaxcnn.layers.unit import ConvUnit


class Inception(nnx.Module):
    """Branches of convolutions, and one of pooling, whose maps are concatenated.

    Args:
      in_features: input channels.
      branches: for each branch, a chain of `(kernel_size, out_features)`.
      pool: kind of the 3x3 pooling of the last branch.
      projection: outputs of the 1x1 convolution after the pooling; 0 leaves this convolution out.
      strides: steps of the last convolution of each branch, and of the pooling.
      **numbers: further arguments of `ConvUnit`.

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
        **numbers: Any,
    ):
        chains = []
        for branch in branches:
            widths = [in_features, *(width for _, width in branch)]
            steps = [1] * (len(branch) - 1) + [strides]
            chains.append(
                nnx.List(
                    ConvUnit(i, o, kernel, step, **numbers)
                    for (kernel, o), i, step in zip(branch, widths[:-1], steps, strict=True)
                )
            )
        self.branches = nnx.List(chains)
        kind = {"max": MaxPool, "average": AvgPool}[pool]
        options = {"count_include_pad": False} if pool == "average" else {}
        padding = 1 if strides == 1 else "SAME"
        self.pool = kind(3, strides, padding=padding, rule=numbers.get("rule", "hand"), **options)
        self.projection = nnx.data(ConvUnit(in_features, projection, 1, **numbers) if projection else None)
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
