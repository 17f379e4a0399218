"""VGG (Simonyan & Zisserman 2015).

The paper is "Very deep convolutional networks for large-scale image recognition".
"""

import functools
from collections.abc import Iterator
from typing import Literal, Unpack

import jax
from flax import nnx

from jaxcnn import geometry, layers
from jaxcnn.layers import initializers
from jaxcnn.layers.options import OptionArguments
from jaxcnn.models.network import Network
from jaxcnn.ops.arrays import choice

# convolutions in each of the five blocks, by depth: the paper's configurations A, B, D and E
BLOCKS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
POOLS = {"max": layers.MaxPool, "average": layers.AvgPool}


class VGG(Network):
    """Five blocks of 3x3 convolutions, then three dense layers.

    Each block has a 2x2 pool at its end.

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      depth: number of layers with weights: 11, 13, 16 or 19.
      image_size: height and width of the images, at least 32.
      batch_norm: whether batch normalization follows every convolution.
      widths: maps of the blocks.
      hidden: width of the two dense layers.
      pool: `"max"` or `"average"`.
      grid: size to which the last maps are averaged, so that images may have any size; 7x7 in torchvision. None keeps
        their size.
      dropout: share of units dropped after each hidden dense layer.
      rngs: random streams, `params` and `dropout`. Kernels of convolutions start He normal by fan-out, those of dense
        layers normal with standard deviation 0.01, biases at 0, as in torchvision. The paper instead started its deep
        networks from the trained network A.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if the depth is unknown, or the image is too small for five pools.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_features: int = 3,
        *,
        depth: int = 16,
        image_size: tuple[int, int] = (224, 224),
        batch_norm: bool = False,
        widths: tuple[int, ...] = (64, 128, 256, 512, 512),
        hidden: int = 4096,
        pool: Literal["max", "average"] = "max",
        grid: tuple[int, int] | None = None,
        dropout: float = 0.5,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        if depth not in BLOCKS:
            raise ValueError(f"`depth` must be one of {', '.join(map(str, BLOCKS))}; got {depth}.")
        choice("pool", pool, tuple(POOLS))
        height, width = geometry.per_axis(image_size, 2, "image_size", minimum=32)
        features, blocks = in_features, []
        for count, maps in zip(BLOCKS[depth], geometry.per_axis(widths, 5, "widths"), strict=True):
            units = []
            for _ in range(count):
                units.append(layers.ConvUnit(features, maps, 3, batch_norm=batch_norm, rngs=rngs, options=self.options))
                features = maps
            blocks.append(nnx.List(units))
        self.blocks = nnx.List(blocks)
        self.pool = POOLS[pool](2, options=self.options)
        linear = functools.partial(
            layers.Linear, kernel_init=initializers.normal(0.01), rngs=rngs, options=self.options
        )
        self.grid = None if grid is None else geometry.per_axis(grid, 2, "grid")
        self.last_shape = rows, columns = self.grid or (height // 32, width // 32)
        self.dense1 = linear(rows * columns * features, hidden)
        self.dense2 = linear(hidden, hidden)
        self.head = linear(hidden, num_classes)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.activation = layers.Activation("relu", rule=self.rule)
        self.input_shape = (*((height, width) if self.grid is None else (None, None)), in_features)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        for number, block in enumerate(self.blocks, start=1):
            *units, last = block
            for place, unit in enumerate(units, start=1):
                yield f"conv{number}_{place}", (x := unit(x))
            maps, x = last.and_pool(x, self.pool)
            yield f"conv{number}_{len(block)}", maps
            yield f"pool{number}", x
        if self.grid is not None:
            yield "grid", (x := self.average_to_grid(x, self.grid))
        x = self.flatten_maps(x)
        yield "dense1", (x := self.dropout(self.activation(self.dense1(x))))
        yield "dense2", (x := self.dropout(self.activation(self.dense2(x))))
        yield "head", self.head(x)
