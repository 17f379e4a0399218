"""What all networks share: the check of their input, and the capture of their stages."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jaxcnn import geometry


class Network(nnx.Module):
    """A classifier that is spelled as a chain of named stages.

    A subclass sets `input_shape`, the shape of one example with `None` for any size, and writes `stages`.
    """

    input_shape: tuple[int | None, ...]
    input_dtype: DTypeLike = jnp.float32
    auxiliaries: Mapping[str, float] = {}  # stages that are logits too, in training, and the weights of their losses
    max_norms: Mapping[str, float] = {}  # parameters whose columns training keeps below an L2 norm

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
        captured = dict(self.stages(jnp.asarray(images)))
        return (captured["head"], captured) if capture else captured["head"]


def numbers_of(dtype: DTypeLike | None, param_dtype: DTypeLike, rngs: nnx.Rngs, **more: Any) -> dict[str, Any]:
    """The arguments that a network hands to all its layers; computation is in the parameters' dtype unless asked."""
    return {"dtype": param_dtype if dtype is None else dtype, "param_dtype": param_dtype, "rngs": rngs, **more}
