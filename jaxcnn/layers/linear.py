"""The fully connected layer."""

from typing import Any

from flax import nnx

from jaxcnn.layers.conv import BIAS_INIT, KERNEL_INIT


class Linear(nnx.Linear):
    """A fully connected layer: `flax.nnx.Linear`, built without a compilation for every shape.

    Args:
      in_features: input units I.
      out_features: output units O.
      kernel_init: initializer of the kernel; by default LeCun's normal (variance 1 / fan-in).
      bias_init: initializer of the bias; by default zeros.
      **options: further arguments of `flax.nnx.Linear`; of them, `rngs` must be given.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxcnn import layers
      >>> layers.Linear(400, 120, rngs=nnx.Rngs(0))(jnp.ones((8, 400))).shape
      (8, 120)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_init: nnx.Initializer = KERNEL_INIT,
        bias_init: nnx.Initializer = BIAS_INIT,
        **options: Any,
    ):
        super().__init__(in_features, out_features, kernel_init=kernel_init, bias_init=bias_init, **options)
