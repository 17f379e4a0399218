"""The fully connected baseline: no weight sharing, no locality, no pooling."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jaxcnn import geometry
from jaxcnn.models.lenet import ACTIVATIONS
from jaxcnn.ops.arrays import choice
from jaxcnn.ops.conv import Rule


class MLP(nnx.Module):
    """Dense layers on the flattened image, by default 784-300-100-10 as in LeCun et al. 1998, table I.

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      image_size: height and width of the images.
      hidden: widths of the hidden layers.
      activation: `"relu"` or `"tanh"`.
      dtype: dtype of the computation; by default that of the parameters.
      param_dtype: dtype of the parameters.
      rule: `"hand"` or `"autodiff"`, for the activation's gradient.
      rngs: random streams, of which `params` is used. Kernels start normal with variance 1 / fan-in, biases at 0.

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
        activation: Literal["relu", "tanh"] = "relu",
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rule: Rule = "hand",
        rngs: nnx.Rngs,
    ):
        choice("rule", rule, ("hand", "autodiff"))
        height, width = geometry.per_axis(image_size, 2, "image_size")
        choice("activation", activation, tuple(ACTIVATIONS))
        self.image_shape = (height, width, in_features)
        widths = (height * width * in_features, *geometry.sizes(hidden, "hidden"))
        numbers = {"dtype": dtype or param_dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.dense = nnx.List(nnx.Linear(i, o, **numbers) for i, o in zip(widths[:-1], widths[1:], strict=True))
        self.head = nnx.Linear(widths[-1], num_classes, **numbers)
        self.activation = activation
        self.rule: Rule = rule

    def __call__(self, images: ArrayLike, *, capture: bool = False):
        """Classifies images; arguments and result as in `LeNet5`, with images `(N, *image_size, in_features)`."""
        geometry.expect_images(jnp.shape(images), self.image_shape, "MLP")
        stages: dict[str, jax.Array] = {}
        x = jnp.reshape(images, (jnp.shape(images)[0], -1))
        for number, layer in enumerate(self.dense, start=1):
            x = stages[f"dense{number}"] = ACTIVATIONS[self.activation](layer(x), rule=self.rule)
        logits = stages["head"] = self.head(x)
        return (logits, stages) if capture else logits
