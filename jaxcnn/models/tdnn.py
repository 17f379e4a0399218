"""Time-delay networks: convolution in one axis, time."""

import functools
from collections.abc import Iterator
from typing import Any, Literal, Unpack

import jax
from flax import nnx

from jaxcnn import geometry, layers
from jaxcnn.layers.conv import KERNEL_INIT
from jaxcnn.layers.initializers import filled
from jaxcnn.layers.options import OptionArguments
from jaxcnn.models.network import Network
from jaxcnn.ops.arrays import along_last, choice


class TDNN(Network):
    """The phoneme network of Waibel et al. 1989.

    ::

        15 frames x 16 -> hidden1 13 x 8 (3 frames) -> hidden2 9 x classes (5 frames) -> sum over time -> classes

    The score of a class is the sum of its unit's activations over time, times one trained weight, plus one bias. With
    `pool="average"` it is their mean, so that it does not grow with the length of the sound.

    Args:
      num_classes: number of classes, three (B, D, G) in the paper.
      in_features: coefficients of a frame, 16 in the paper.
      units: units of the first hidden layer.
      activation: any name of `layers.Activation`; the sigmoid in the paper.
      pool: `"sum"` over time, as in the paper, or `"average"`.
      rngs: random streams; `params` is used. Kernels start normal with variance 1 / fan-in, biases at 0.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if `activation` or `pool` is unknown.

    Source: "Phoneme recognition using time-delay neural networks", IEEE Trans. ASSP 37, figure 3.
    """

    def __init__(
        self,
        num_classes: int = 3,
        in_features: int = 16,
        *,
        units: int = 8,
        activation: str = "sigmoid",
        pool: Literal["sum", "average"] = "sum",
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        self.pool = choice("pool", pool, ("sum", "average"))
        conv = functools.partial(layers.Conv, padding="VALID", rngs=rngs, options=self.options)
        self.hidden1 = conv(in_features, units, 3)
        self.hidden2 = conv(units, num_classes, 5)
        self.weight = nnx.Param(filled(num_classes, 1.0, self.options.param_dtype))
        self.bias = nnx.Param(filled(num_classes, 0.0, self.options.param_dtype))
        self.activation = layers.Activation(activation, rule=self.rule)
        self.input_shape = (None, in_features)

    def head_layers(self) -> tuple[Any, ...]:
        """Returns the layer with one unit for each class."""
        return (self.hidden2,)

    def replace_head(self, num_classes: int, *, rngs: nnx.Rngs, kernel_init: nnx.Initializer = KERNEL_INIT) -> None:
        """Replaces units, weights and biases for other classes.

        The first hidden layer stays.

        Args:
          num_classes: number of classes.
          rngs: random streams; `params` is used.
          kernel_init: initializer of the kernel; by default LeCun's normal (variance 1 / fan-in).

        Raises:
          ValueError: if the number is not positive.
        """
        super().replace_head(num_classes, rngs=rngs, kernel_init=kernel_init)
        self.weight = nnx.Param(filled(num_classes, 1.0, self.weight.dtype))
        self.bias = nnx.Param(filled(num_classes, 0.0, self.bias.dtype))

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        yield "hidden1", (x := self.activation(self.hidden1(x)))
        yield "hidden2", (x := self.activation(self.hidden2(x)))
        x = self.average_maps(x, total=self.pool == "sum")
        weight, bias = (along_last(p[...].astype(x.dtype), x) for p in (self.weight, self.bias))
        yield "head", x * weight + bias


class WideTDNN(Network):
    """A modern time-delay network of dilated convolutions.

    It has batch normalization, ReLU and a mean over time. Each layer reads three frames at the distance of its
    dilation, as in Peddinti et al. 2015. A unit of the last layer depends on 15 frames.

    Args:
      num_classes: number of classes.
      in_features: coefficients of a frame.
      widths: units of each layer.
      dilations: spacing of the three frames, for each layer.
      dropout: share of units dropped before the output.
      rngs: random streams, `params` and `dropout`. Kernels start He normal, biases at 0.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if the numbers of widths and dilations differ, or one is not positive.

    Source: "A time delay neural network architecture for efficient modeling of long temporal contexts".
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_features: int = 40,
        *,
        widths: tuple[int, ...] = (64, 64, 64),
        dilations: tuple[int, ...] = (1, 2, 4),
        dropout: float = 0.2,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        widths, dilations = geometry.sizes(widths, "widths"), geometry.sizes(dilations, "dilations")
        if len(widths) != len(dilations):
            raise ValueError(f"`dilations` must have one entry per width, here {len(widths)}; got {dilations}.")
        self.convs = nnx.List(
            layers.Conv(i, o, 3, kernel_dilation=d, use_bias=False, rngs=rngs, options=self.options)
            for i, o, d in zip((in_features, *widths[:-1]), widths, dilations, strict=True)
        )
        self.norms = nnx.List(layers.BatchNorm(width, rngs=rngs, options=self.options) for width in widths)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.head = layers.Linear(widths[-1], num_classes, rngs=rngs, options=self.options)
        self.activation = layers.Activation("relu", rule=self.rule)
        self.input_shape = (None, in_features)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True), start=1):
            yield f"conv{number}", (x := layers.normalize_and_activate(conv(x), norm, self.activation))
        yield "mean", (x := self.average_maps(x))
        yield "head", self.head(self.dropout(x))
