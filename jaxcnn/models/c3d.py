"""C3D, for video (Tran et al. 2015).

The paper is "Learning spatiotemporal features with 3D convolutional networks".
"""

import functools
from collections.abc import Iterator
from typing import Unpack

import jax
from flax import nnx

from jaxcnn import geometry, layers
from jaxcnn.layers.options import OptionArguments
from jaxcnn.models.network import Network

COUNTS = (1, 1, 2, 2, 2)  # convolutions in each stage


class C3D(Network):
    """Eight 3x3x3 convolutions, five pools, three dense layers.

    They slide over time, height and width. The first pool does not reduce time. The last maps of a clip of 16x112x112
    have 1x4x4 cells; odd sizes are rounded up.

    Args:
      num_classes: number of classes.
      in_features: channels of the frames.
      clip_shape: frames, height and width.
      widths: maps of the five stages.
      hidden: width of the two dense layers.
      dropout: share of units dropped after each dense layer.
      rngs: random streams, `params` and `dropout`. The paper does not state its initialization; kernels start He
        normal by fan-out, biases at 0.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.
    """

    def __init__(
        self,
        num_classes: int = 487,
        in_features: int = 3,
        *,
        clip_shape: tuple[int, int, int] = (16, 112, 112),
        widths: tuple[int, ...] = (64, 128, 256, 512, 512),
        hidden: int = 4096,
        dropout: float = 0.5,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        size = geometry.per_axis(clip_shape, 3, "clip_shape")
        unit = functools.partial(layers.ConvUnit, batch_norm=False, padding=1, rngs=rngs, options=self.options)
        self.input_shape = (*size, in_features)
        features, stages, pools = in_features, [], []
        for number, (count, width) in enumerate(zip(COUNTS, geometry.per_axis(widths, 5, "widths"), strict=True)):
            units = []
            for _ in range(count):
                units.append(unit(features, width, (3, 3, 3)))
                features = width
            stages.append(nnx.List(units))
            window = (2, 2, 2) if number else (1, 2, 2)
            pools.append(layers.MaxPool(window, padding="SAME", options=self.options))
            size = geometry.output_shape(size, window, strides=window, padding="SAME")
        self.blocks, self.pools = nnx.List(stages), nnx.List(pools)
        self.last_shape = size
        self.dense1 = layers.Linear(size[0] * size[1] * size[2] * features, hidden, rngs=rngs, options=self.options)
        self.dense2 = layers.Linear(hidden, hidden, rngs=rngs, options=self.options)
        self.head = layers.Linear(hidden, num_classes, rngs=rngs, options=self.options)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.activation = layers.Activation("relu", rule=self.rule)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        for number, (block, pool) in enumerate(zip(self.blocks, self.pools, strict=True), start=1):
            *units, last = block
            for place, unit in enumerate(units, start=1):
                yield f"conv{number}_{place}", (x := unit(x))
            maps, x = last.and_pool(x, pool)
            yield f"conv{number}_{len(block)}", maps
            yield f"pool{number}", x
        x = self.flatten_maps(x)
        yield "dense1", (x := self.dropout(self.activation(self.dense1(x))))
        yield "dense2", (x := self.dropout(self.activation(self.dense2(x))))
        yield "head", self.head(x)
