"""LeNet-5 as in 1998: connection table, trainable subsampling, radial basis functions."""

from collections.abc import Iterator
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxcnn import layers, ops
from jaxcnn.layers.conv import KERNEL_INIT
from jaxcnn.layers.initializers import filled
from jaxcnn.layers.options import Option, OptionArguments
from jaxcnn.models.lecun1989 import FAN_IN_UNIFORM
from jaxcnn.models.network import Network
from jaxcnn.ops.arrays import along_last

# table I of the paper: the maps of S2 that each of the 16 maps of C3 sees
CONNECTIONS = (
    *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),
    *((i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6) for i in range(6)),
    *((i, i + 1, (i + 3) % 6, (i + 4) % 6) for i in range(3)),
    tuple(range(6)),
)

# ten digits, 7 wide and 12 high: the targets of F6, as the paper's figure 3 has them for all of ASCII
_GLYPHS = """
..###.. ...##.. .#####. ####### ....##. ####### ..####. ####### .#####. ..###..
.##.##. ..###.. ##...## ####### ...###. ####### .##.... ####### ##...## .##.##.
##...## .####.. ##...## ....##. ..####. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## ...##.. .##.##. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## ..####. ##..##. ######. ##.###. ....##. .##.##. ##...##
##...## ...##.. ....##. ....### ##..##. .###### ###..## ....##. ..###.. ##...##
##...## ...##.. ...##.. .....## ####### .....## ##...## ...##.. .##.##. ##..###
##...## ...##.. ..##... .....## ####### .....## ##...## ...##.. ##...## .###.##
##...## ...##.. .##.... .....## ....##. .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... ##...## ....##. ##...## ##...## ..##... ##...## .....##
.##.##. .###### ####### ###.### ....##. ###.### .##.##. .##.... ##...## ....##.
..###.. .###### ####### .#####. ....##. .#####. ..###.. .##.... .#####. .####..
"""


def glyphs() -> np.ndarray:
    """Returns the ten bitmaps, `(10, 84)`.

    Ink is +1, the background -1.
    """
    rows = np.array([[list(digit) for digit in line.split()] for line in _GLYPHS.split("\n") if line])
    return np.where(rows == "#", 1.0, -1.0).transpose(1, 0, 2).reshape(10, 84)


def _check_classes(num_classes: int) -> None:
    if num_classes > 10:
        raise ValueError(f"`num_classes` must be at most 10, the number of bitmaps; got {num_classes}.")


class TrainableSubsample(nnx.Module):
    """Sums 2x2 cells, with a trained coefficient and bias.

    The sum is multiplied by the one, the other is added; each map has one of each.
    """

    rule = Option()

    def __init__(self, num_features: int, *, options: layers.Options):
        self.coefficient = nnx.Param(filled(num_features, 0.25, options.param_dtype))
        self.bias = nnx.Param(filled(num_features, 0.0, options.param_dtype))
        self.options = options

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Subsamples each map to half its height and width.

        From `(N, H, W, C)` it makes `(N, H / 2, W / 2, C)`.
        """
        x = 4 * ops.avg_pool(inputs, 2, rule=self.rule)
        coefficient, bias = (along_last(p[...].astype(x.dtype), x) for p in (self.coefficient, self.bias))
        return x * coefficient + bias


class LeNet5Of1998(Network):
    """LeNet-5 with all details of the paper: 60,000 trained parameters.

    ::

        28x28x1 with a border, 32x32 -> c1 28x28x6 -> s2 14x14x6 -> c3 10x10x16 -> s4 5x5x16 -> c5 120 -> f6 84 -> 10

    The scaled hyperbolic tangent follows every layer up to f6. The outputs are radial basis functions, the squared
    distances of f6 to ten fixed bitmaps of 7x12. The logits are the negative distances, so that the cross-entropy is
    the paper's discriminative criterion (equation 9) without its constant term.

    Args:
      num_classes: number of classes, at most 10, since there are ten bitmaps.
      in_features: channels of the images.
      rngs: random streams; `params` is used. Kernels start uniform in +-2.4 / sqrt(fan-in), biases at 0.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if there are more than ten classes.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_features: int = 1,
        *,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        _check_classes(num_classes)
        drawn: dict[str, Any] = {"kernel_init": FAN_IN_UNIFORM, "rngs": rngs, "options": self.options}
        self.c1 = layers.Conv(in_features, 6, (5, 5), padding=2, **drawn)
        self.s2 = TrainableSubsample(6, options=self.options)
        self.c3 = layers.TableConv(6, CONNECTIONS, (5, 5), padding="VALID", **drawn)
        self.s4 = TrainableSubsample(16, options=self.options)
        self.c5 = layers.Linear(5 * 5 * 16, 120, **drawn)
        self.f6 = layers.Linear(120, 84, **drawn)
        self.num_classes = num_classes
        self.activation = layers.Activation("scaled_tanh", rule=self.rule)
        self.input_shape = (28, 28, in_features)

    def head_layers(self) -> tuple[Any, ...]:
        """Returns no layer, because the bitmaps are fixed."""
        return ()

    def replace_head(self, num_classes: int, *, rngs: nnx.Rngs, kernel_init: nnx.Initializer = KERNEL_INIT) -> None:
        """Uses the first `num_classes` bitmaps for the classes; no parameter changes.

        Args:
          num_classes: number of classes, at most 10.
          rngs: not used.
          kernel_init: not used.
        """
        _check_classes(num_classes)
        super().replace_head(num_classes, rngs=rngs, kernel_init=kernel_init)
        self.num_classes = num_classes

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        for name in ("c1", "s2", "c3", "s4"):
            yield name, (x := self.activation(getattr(self, name)(x)))
        x = self.flatten_maps(x)
        for name in ("c5", "f6"):
            yield name, (x := self.activation(getattr(self, name)(x)))
        x = x[..., None, :]
        distances = jnp.square(x - along_last(jnp.asarray(glyphs()[: self.num_classes], x.dtype), x))
        yield "head", -distances.sum(-1)
