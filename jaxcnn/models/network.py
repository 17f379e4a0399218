"""The base class of all networks.

It checks the input and captures the stages.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jaxcnn import geometry, layers, ops
from jaxcnn.layers.conv import KERNEL_INIT
from jaxcnn.layers.initializers import filled
from jaxcnn.layers.options import Option, OptionArguments, Options, chosen
from jaxcnn.layers.with_options import unfused
from jaxcnn.models.sliding import Sliding


class Network(nnx.Module):
    """A classifier that is written as a chain of named stages.

    A subclass sets `input_shape`, the shape of one example, where None allows any size; and it defines `stages`. Its
    layers get `options`.

    Args:
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.
    """

    options = Options()  # of a subclass that does not call `__init__`
    rule = Option()
    input_shape: tuple[int | None, ...]
    input_dtype: DTypeLike = jnp.float32
    head: Any  # the last layer, where one layer gives the logits
    sliding: Sliding | None = None  # of a network that `fully_convolutional` made
    sliding_pool: layers.AvgPool | None = None  # of such a network: slides in the place of the mean

    def __init__(self, **given: Unpack[OptionArguments]):
        options = chosen(**given)
        dtype = options.param_dtype if options.dtype is None else options.dtype
        self.options = dataclasses.replace(options, dtype=dtype)

    @property
    def auxiliaries(self) -> Mapping[str, float]:
        """The stages that are logits in training, with loss weights."""
        return {}

    @property
    def max_norms(self) -> Mapping[str, float]:
        """Bounds on the L2 norms of parameters' columns, by path.

        Training keeps them.
        """
        return {}

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations, the logits last, as `head`.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        raise NotImplementedError

    def __call__(self, images: ArrayLike, *, capture: bool = False) -> Any:
        """Classifies images.

        Args:
          images: `(N, *input_shape)`.
          capture: also return the activations of every stage.

        Returns:
          Logits `(N, num_classes)`; with `capture`, the pair of the logits and a dictionary of the activations by
          stage name.

        Raises:
          ValueError: if the images have another shape than the network expects.
        """
        shape, kind = jnp.shape(images), type(self).__name__
        geometry.expect_images(shape, self.input_shape, kind)
        if self.sliding:
            self.sliding.check(shape, kind)
        network = unfused(self) if capture else self  # so that the output depends on what every stage shows
        stages = dict(network.stages(jnp.asarray(images)))
        return (stages["head"], stages) if capture else stages["head"]

    def flatten_maps(self, maps: jax.Array) -> jax.Array:
        """Flattens the maps before the dense layers.

        A network that calls this can become fully convolutional; the maps then stay as they are.

        Args:
          maps: `(N, *spatial, C)`.

        Returns:
          `(N, D)`.
        """
        return maps if self.sliding else flattened(maps)

    def average_maps(self, maps: jax.Array, *, total: bool = False) -> jax.Array:
        """Takes the mean over space.

        A network that calls this can become fully convolutional; the mean then slides.

        Args:
          maps: `(N, *spatial, C)`.
          total: take the sum instead.

        Returns:
          `(N, C)`.
        """
        if self.sliding_pool is not None:
            return self.sliding_pool(maps)
        return maps.sum(tuple(range(1, maps.ndim - 1))) if total else ops.global_avg_pool(maps, rule=self.rule)

    def average_to_grid(self, maps: jax.Array, grid: tuple[int, ...]) -> jax.Array:
        """Averages maps to a fixed size, before they are flattened.

        A fully convolutional network leaves them as they are.

        Args:
          maps: `(N, *spatial, C)`.
          grid: the size.

        Returns:
          `(N, *grid, C)`.
        """
        return maps if self.sliding else ops.adaptive_avg_pool(maps, grid, rule=self.rule)

    def head_layers(self) -> tuple[Any, ...]:
        """Returns the layers whose outputs are the classes.

        They are the last one, and those of auxiliary classifiers.
        """
        return (self.head,)

    def replace_head(self, num_classes: int, *, rngs: nnx.Rngs, kernel_init: nnx.Initializer = KERNEL_INIT) -> None:
        """Replaces the last layer by a new one for other classes.

        The other layers stay.

        Args:
          num_classes: number of classes.
          rngs: random streams; `params` is used.
          kernel_init: initializer of the kernel; by default LeCun's normal (variance 1 / fan-in). Biases start at 0.

        Raises:
          ValueError: if the number is not positive, or more than the network supports.
        """
        if num_classes < 1:
            raise ValueError(f"`num_classes` must be positive; got {num_classes}.")
        for layer in self.head_layers():
            kernel = layer.kernel[...]
            layer.kernel = nnx.Param(kernel_init(rngs.params(), (*kernel.shape[:-1], num_classes), kernel.dtype))
            if layer.bias is not None:
                layer.bias = nnx.Param(filled(num_classes, 0.0, layer.bias.dtype))
            layer.out_features = num_classes


def flattened(maps: jax.Array) -> jax.Array:
    """Flattens each example, `(N, *shape)` to `(N, D)`.

    This works also with N = 0, where `reshape` cannot infer D from -1.
    """
    return maps.reshape(maps.shape[0], math.prod(maps.shape[1:]))
