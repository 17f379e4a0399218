"""BN-Inception: Ioffe & Szegedy 2015, "Batch normalization: accelerating deep network training"."""

from collections.abc import Iterator
from typing import Literal, Unpack

import jax
from flax import nnx

from jaxcnn import layers
from jaxcnn.layers.options import OptionArguments
from jaxcnn.models.network import Network

# figure 5: 1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3, pool, projection, stride; 0 where there is none
BLOCKS: dict[str, tuple[int, int, int, int, int, Literal["max", "average"], int, int]] = {
    "3a": (64, 64, 64, 64, 96, "average", 32, 1),
    "3b": (64, 64, 96, 64, 96, "average", 64, 1),
    "3c": (0, 128, 160, 64, 96, "max", 0, 2),
    "4a": (224, 64, 96, 96, 128, "average", 128, 1),
    "4b": (192, 96, 128, 96, 128, "average", 128, 1),
    "4c": (160, 128, 160, 128, 160, "average", 128, 1),
    "4d": (96, 128, 192, 160, 192, "average", 128, 1),
    "4e": (0, 128, 192, 192, 256, "max", 0, 2),
    "5a": (352, 192, 320, 160, 224, "average", 128, 1),
    "5b": (352, 192, 320, 192, 224, "max", 128, 1),
}


class BNInception(Network):
    """GoogLeNet with batch normalization.

    It has two 3x3 convolutions for each 5x5, and strides inside the blocks. The widths are those of figure 5 of the
    paper. In the blocks 4c to 4e the figure's output sizes are not the sums of its widths; here the blocks have the
    sums, 608, 608 and 1056 maps.

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      dropout: share of features dropped before the output; 0 in the paper.
      rngs: random streams, `params` and `dropout`. The paper does not state its initialization; kernels start He
        normal by fan-out. The momentum of the running statistics is 0.9, epsilon 1e-5.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_features: int = 3,
        *,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        self.conv1 = layers.ConvUnit(in_features, 64, 7, 2, rngs=rngs, options=self.options)
        self.conv2_reduce = layers.ConvUnit(64, 64, 1, rngs=rngs, options=self.options)
        self.conv2 = layers.ConvUnit(64, 192, 3, rngs=rngs, options=self.options)
        features, blocks = 192, {}
        for name, (one, reduce3, three, reduce, double, pool, projection, strides) in BLOCKS.items():
            branches = [[(1, one)]] if one else []
            branches += [[(1, reduce3), (3, three)], [(1, reduce), (3, double), (3, double)]]
            blocks[name] = layers.Inception(
                features, branches, pool=pool, projection=projection, strides=strides, rngs=rngs, options=self.options
            )
            features = blocks[name].out_features
        self.blocks = nnx.Dict(blocks)
        self.pool = layers.MaxPool(3, 2, padding="SAME", options=self.options)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.head = layers.Linear(features, num_classes, rngs=rngs, options=self.options)
        self.input_shape = (None, None, in_features)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        conv1, x = self.conv1.and_pool(x, self.pool)
        yield "conv1", conv1
        yield "pool1", x
        conv2, x = self.conv2.and_pool(self.conv2_reduce(x), self.pool)
        yield "conv2", conv2
        yield "pool2", x
        for name in BLOCKS:
            yield f"inception{name}", (x := self.blocks[name](x))
        yield "mean", (x := self.average_maps(x))
        yield "head", self.head(self.dropout(x))
