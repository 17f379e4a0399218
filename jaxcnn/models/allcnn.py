"""The all convolutional networks (Springenberg et al. 2015).

The authors are Springenberg, Dosovitskiy, Brox & Riedmiller, the paper is "Striving for simplicity".
"""

import functools
from collections.abc import Iterator
from typing import Any, Literal, Unpack

import jax
from flax import nnx

from jaxcnn import layers
from jaxcnn.layers.options import OptionArguments
from jaxcnn.models.network import Network
from jaxcnn.ops.arrays import choice

# table 1: the kernels of a stage, before its pool
KERNELS = {"A": (5,), "B": (5, 1), "C": (3, 3)}


class AllCNN(Network):
    """A network of only convolutions, or its counterparts with pooling.

    The paper compares it to them. Two stages of convolutions each end with a reduction to half the size. Convolutions
    of 3x3, 1x1 and 1x1 and the mean over space follow. The reductions are those of table 2 of the paper:

    - `"base"`: a 3x3 max-pool of stride 2;
    - `"strided"`: no pool; the last convolution of the stage has stride 2;
    - `"convpool"`: one more 3x3 convolution, then the max-pool;
    - `"all"`: a 3x3 convolution of stride 2 that replaces the max-pool.

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      base: convolutions of a stage: `"A"`, 5x5; `"B"`, 5x5 and 1x1; `"C"`, two of 3x3.
      variant: the reduction.
      widths: maps of the two stages.
      input_dropout: share of the values of the image dropped.
      dropout: share of values dropped after each reduction.
      rngs: random streams, `params` and `dropout`. The paper does not state its initialization; kernels start He
        normal by fan-out, biases at 0. The first 3x3 convolution after the stages is not padded: 8x8 becomes 6x6.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if `base` or `variant` is unknown.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_features: int = 3,
        *,
        base: Literal["A", "B", "C"] = "C",
        variant: Literal["base", "strided", "convpool", "all"] = "all",
        widths: tuple[int, int] = (96, 192),
        input_dropout: float = 0.2,
        dropout: float = 0.5,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        choice("base", base, tuple(KERNELS))
        choice("variant", variant, ("base", "strided", "convpool", "all"))
        unit = functools.partial(layers.ConvUnit, batch_norm=False, rngs=rngs, options=self.options)
        features, stages = in_features, []
        for width in widths:
            kernels = list(KERNELS[base])
            kernels += [3] if variant in ("convpool", "all") else []
            strides = [1] * len(kernels)
            if variant in ("strided", "all"):
                strides[-1] = 2
            units = []
            for kernel, stride in zip(kernels, strides, strict=True):
                units.append(unit(features, width, kernel, stride, padding="SAME"))
                features = width
            stages.append(nnx.List(units))
        self.blocks = nnx.List(stages)
        pooled = variant in ("base", "convpool")
        self.pool = nnx.data(layers.MaxPool(3, 2, padding="SAME", options=self.options) if pooled else None)
        self.conv3 = unit(features, features, 3, padding="VALID")
        self.conv4 = unit(features, features, 1)
        self.conv5 = unit(features, num_classes, 1)
        self.input_dropout = nnx.Dropout(input_dropout, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.input_shape = (None, None, in_features)

    def head_layers(self) -> tuple[Any, ...]:
        """Returns the convolution whose maps are the classes."""
        return (self.conv5.conv,)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        x = self.input_dropout(x)
        for number, block in enumerate(self.blocks, start=1):
            for place, unit in enumerate(block, start=1):
                yield f"conv{number}_{place}", (x := unit(x))
            if self.pool is not None:
                yield f"pool{number}", (x := self.pool(x))
            x = self.dropout(x)
        yield "conv3", (x := self.conv3(x))
        yield "conv4", (x := self.conv4(x))
        yield "conv5", (x := self.conv5(x))
        yield "head", self.average_maps(x)
