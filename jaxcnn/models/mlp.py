"""The fully connected baseline: no weight sharing, no locality, no pooling."""

import functools
from collections.abc import Iterator
from typing import Unpack

import jax
from flax import nnx

from jaxcnn import geometry, layers
from jaxcnn.layers.options import OptionArguments
from jaxcnn.models.network import Network


class MLP(Network):
    """Dense layers on the flattened image.

    By default they are 784-300-100-10, as in LeCun et al. 1998, figure 9.

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      image_size: height and width of the images.
      hidden: widths of the hidden layers; without hidden layers this is logistic regression.
      activation: any name of `layers.Activation`.
      rngs: random streams; `params` is used. Kernels start normal with variance 1 / fan-in, biases at 0.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if a size is not positive, or an option is unknown.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_features: int = 1,
        *,
        image_size: tuple[int, int] = (28, 28),
        hidden: tuple[int, ...] = (300, 100),
        activation: str = "relu",
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        self.image_size = height, width = geometry.per_axis(image_size, 2, "image_size")
        self.input_shape = (height, width, in_features)
        widths = (height * width * in_features, *geometry.sizes(hidden, "hidden"))
        linear = functools.partial(layers.Linear, rngs=rngs, options=self.options)
        self.dense = nnx.List(linear(i, o) for i, o in zip(widths[:-1], widths[1:], strict=True))
        self.head = linear(widths[-1], num_classes)
        self.activation = layers.Activation(activation, rule=self.rule)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        x = self.flatten_maps(x)
        for number, layer in enumerate(self.dense, start=1):
            yield f"dense{number}", (x := self.activation(layer(x)))
        yield "head", self.head(x)
