"""The fully connected baseline: no weight sharing, no locality, no pooling."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxcnn import geometry, layers
from jaxcnn.models.network import Network, flattened, numbers_of
from jaxcnn.ops.rule import Rule


class MLP(Network):
    """Dense layers on the flattened image, by default 784-300-100-10 as in LeCun et al. 1998, figure 9.

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      image_size: height and width of the images.
      hidden: widths of the hidden layers; without hidden layers this is logistic regression.
      activation: any name of `layers.Activation`.
      dtype: dtype of the computation; by default that of the parameters.
      param_dtype: dtype of the parameters.
      rule: `"hand"` or `"autodiff"`, for the gradient of the activation.
      rngs: random streams; `params` is used. Kernels start normal with variance 1 / fan-in, biases at 0.

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
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rule: Rule = "hand",
        rngs: nnx.Rngs,
    ):
        self.image_size = height, width = geometry.per_axis(image_size, 2, "image_size")
        self.input_shape = (height, width, in_features)
        widths = (height * width * in_features, *geometry.sizes(hidden, "hidden"))
        numbers = numbers_of(dtype, param_dtype, rngs)
        self.dense = nnx.List(layers.Linear(i, o, **numbers) for i, o in zip(widths[:-1], widths[1:], strict=True))
        self.head = layers.Linear(widths[-1], num_classes, **numbers)
        self.activation = layers.Activation(activation, rule=rule)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        x = flattened(x)
        for number, layer in enumerate(self.dense, start=1):
            yield f"dense{number}", (x := self.activation(layer(x)))
        yield "head", self.head(x)
