"""What all networks share: the check of their input, and the capture of their stages."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jaxcnn import geometry, layers
from jaxcnn.layers.conv import KERNEL_INIT


class Network(nnx.Module):
    """A classifier that is spelled as a chain of named stages.

    A subclass sets `input_shape`, the shape of one example with `None` for any size, and writes `stages`.
    """

    input_shape: tuple[int | None, ...]
    input_dtype: DTypeLike = jnp.float32
    head: Any  # the last layer, where one layer gives the logits

    @property
    def auxiliaries(self) -> Mapping[str, float]:
        """Stages that are logits too, in training, and the weights of their losses."""
        return {}

    @property
    def max_norms(self) -> Mapping[str, float]:
        """Bounds on the L2 norm of parameters' columns, kept in training."""
        return {}

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations, the logits last, as `head`."""
        raise NotImplementedError

    def __call__(self, images: ArrayLike, *, capture: bool = False) -> Any:
        """Classifies images.

        Args:
          images: `(N, *input_shape)`.
          capture: also return what every stage computed.

        Returns:
          Logits `(N, num_classes)`; with `capture`, the pair of these and the activations by stage name.

        Raises:
          ValueError: if the images have another shape than the network expects.
        """
        geometry.expect_images(jnp.shape(images), self.input_shape, type(self).__name__)
        with layers.apart() if capture else contextlib.nullcontext():
            captured = dict(self.stages(jnp.asarray(images)))
        return (captured["head"], captured) if capture else captured["head"]

    def head_layers(self) -> tuple[Any, ...]:
        """The layers whose outputs are the classes: the last one, and those of auxiliary classifiers."""
        return (self.head,)

    def replace_head(self, num_classes: int, *, rngs: nnx.Rngs, kernel_init: nnx.Initializer = KERNEL_INIT) -> None:
        """Gives the network fresh outputs for other classes; all below stays.

        Args:
          num_classes: number of classes.
          rngs: random streams, of which `params` is used.
          kernel_init: initializer; by default LeCun's normal (variance 1 / fan-in). Biases start at 0.

        Raises:
          ValueError: if the number is not positive, or more than the network can tell apart.
        """
        if num_classes < 1:
            raise ValueError(f"`num_classes` must be positive; got {num_classes}.")
        for layer in self.head_layers():
            kernel = layer.kernel[...]
            layer.kernel = nnx.Param(kernel_init(rngs.params(), (*kernel.shape[:-1], num_classes), kernel.dtype))
            if layer.bias is not None:
                layer.bias = nnx.Param(jnp.zeros(num_classes, layer.bias.dtype))
            layer.out_features = num_classes


def flattened(maps: jax.Array) -> jax.Array:
    """Each example's values in one axis, `(N, *shape)` to `(N, D)`; also of no examples, where a size of -1 is none."""
    return maps.reshape(maps.shape[0], math.prod(maps.shape[1:]))


def numbers_of(dtype: DTypeLike | None, param_dtype: DTypeLike, rngs: nnx.Rngs, **more: Any) -> dict[str, Any]:
    """The arguments that a network hands to all its layers; computation is in the parameters' dtype unless asked."""
    return {"dtype": param_dtype if dtype is None else dtype, "param_dtype": param_dtype, "rngs": rngs, **more}
