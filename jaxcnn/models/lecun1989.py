"""The zip-code network (LeCun et al. 1989).

The paper is "Backpropagation applied to handwritten zip code recognition".
"""

from collections.abc import Iterator
from typing import Any, Literal, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcnn import layers
from jaxcnn.layers import initializers
from jaxcnn.layers.initializers import filled
from jaxcnn.layers.options import OptionArguments
from jaxcnn.models.network import Network, flattened
from jaxcnn.ops.arrays import along_last, choice

# each map of H2 sees 8 of the 12 maps of H1; karpathy's reproduction has these three choices, four maps each
CONNECTIONS = tuple(row for row in ((*range(8),), (*range(4, 12),), (*range(4), *range(8, 12))) for _ in range(4))


# uniform in +-2.4 / sqrt(fan-in); the paper divides by the fan-in, its reproduction by the root
FAN_IN_UNIFORM = initializers.variance_scaling(2.4**2 / 3, "fan_in", "uniform")


class LeCun1989(Network):
    """The zip-code network of 1989, with 9,760 parameters.

    It is trained end to end.

    ::

        16x16x1 -> h1 8x8x12 -> h2 4x4x12 -> h3 30 -> 10,          5x5 kernels, stride 2, no pooling

    The units of a map share weights, but each has its own bias. The border around images and maps is -1, the value of
    the background. All units, also the outputs, have the scaled hyperbolic tangent. Targets are +-1 and the loss is the
    mean squared error (`loss="mean_squared_error"` in training).

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      activation: any name of `layers.Activation`.
      output: `"activated"`, as in 1989; or `"linear"`, to train with the cross-entropy.
      rngs: random streams; `params` is used. Kernels start uniform in +-2.4 / sqrt(fan-in), biases at 0.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if an option is unknown.

    Source: the paper, and for details that it omits https://github.com/karpathy/lecun1989-repro.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_features: int = 1,
        *,
        activation: str = "scaled_tanh",
        output: Literal["activated", "linear"] = "activated",
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        choice("output", output, ("activated", "linear"))
        drawn: dict[str, Any] = {"kernel_init": FAN_IN_UNIFORM, "rngs": rngs, "options": self.options}
        bare: dict[str, Any] = {"padding": "VALID", "use_bias": False, **drawn}
        self.h1 = layers.Conv(in_features, 12, (5, 5), 2, **bare)
        self.h1_bias = nnx.Param(filled((8, 8, 12), 0.0, self.options.param_dtype))
        self.h2 = layers.TableConv(12, CONNECTIONS, (5, 5), 2, **bare)
        self.h2_bias = nnx.Param(filled((4, 4, 12), 0.0, self.options.param_dtype))
        self.h3 = layers.Linear(4 * 4 * 12, 30, **drawn)
        self.head = layers.Linear(30, num_classes, **drawn)
        self.activation = layers.Activation(activation, rule=self.rule)
        self.output = output
        self.input_shape = (16, 16, in_features)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        x = self.h1(_bordered(x))
        yield "h1", (x := self.activation(x + along_last(self.h1_bias[...].astype(x.dtype), x)))
        x = self.h2(_bordered(x))
        yield "h2", (x := self.activation(x + along_last(self.h2_bias[...].astype(x.dtype), x)))
        yield "h3", (x := self.activation(self.h3(flattened(x))))
        x = self.head(x)
        yield "head", self.activation(x) if self.output == "activated" else x


def _bordered(x: jax.Array) -> jax.Array:
    return jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=-1)
