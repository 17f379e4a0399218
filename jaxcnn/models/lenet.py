"""LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998).

The paper is "Gradient-based learning applied to document recognition".
"""

from collections.abc import Iterator
from typing import Literal, Unpack

import jax
from flax import nnx

from jaxcnn import layers
from jaxcnn.layers.options import OptionArguments
from jaxcnn.models.network import Network
from jaxcnn.ops.arrays import choice

POOLS = {"max": layers.MaxPool, "average": layers.AvgPool}


class LeNet5(Network):
    """LeNet-5 in the form that courses teach, with 61,706 parameters.

    Two stages of 5x5 convolution, activation and 2x2 pooling, then three dense layers::

        28x28x1 -> conv1 28x28x6 -> pool1 14x14x6 -> conv2 10x10x16 -> pool2 5x5x16 -> 120 -> 84 -> classes

    Unlike in 1998 (`lenet5_1998`), every map of conv2 reads all six maps, pooling has no parameters, and the outputs
    are logits of a softmax instead of radial basis functions. The 28x28 digits get a border of 2 cells, for the 32x32
    cells of the paper. Without the border, images must have 32x32 cells, as in PyTorch's tutorials; the parameters are
    the same.

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      pool: `"max"`, or `"average"` as in 1998.
      activation: any name of `layers.Activation`; `"tanh"` is closest to 1998.
      border: cells added around the image; the image has the rest of the 32x32 cells.
      rngs: random streams; `params` is used. Kernels start normal with variance 1 / fan-in, biases at 0.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if `pool` or `activation` is unknown, or `border` leaves no cells for the image.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_features: int = 1,
        *,
        pool: Literal["max", "average"] = "max",
        activation: str = "relu",
        border: int = 2,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        choice("pool", pool, tuple(POOLS))
        if border not in range(16):
            raise ValueError(f"`border` must be at least 0 and less than half of 32; got {border}.")
        self.conv1 = layers.Conv(in_features, 6, (5, 5), padding=border, rngs=rngs, options=self.options)
        self.pool1 = POOLS[pool](2, options=self.options)
        self.conv2 = layers.Conv(6, 16, (5, 5), padding="VALID", rngs=rngs, options=self.options)
        self.pool2 = POOLS[pool](2, options=self.options)
        self.dense1 = layers.Linear(5 * 5 * 16, 120, rngs=rngs, options=self.options)
        self.dense2 = layers.Linear(120, 84, rngs=rngs, options=self.options)
        self.head = layers.Linear(84, num_classes, rngs=rngs, options=self.options)
        self.activation = layers.Activation(activation, rule=self.rule)
        self.input_shape = (32 - 2 * border, 32 - 2 * border, in_features)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        conv1, x = layers.activate_and_pool(self.conv1(x), self.activation, self.pool1)
        yield "conv1", conv1
        yield "pool1", x
        conv2, x = layers.activate_and_pool(self.conv2(x), self.activation, self.pool2)
        yield "conv2", conv2
        yield "pool2", x
        yield "dense1", (x := self.activation(self.dense1(self.flatten_maps(x))))
        yield "dense2", (x := self.activation(self.dense2(x)))
        yield "head", self.head(x)
