"""Model A of He, Zhang, Ren & Sun 2015.

The paper is "Delving deep into rectifiers".
"""

import functools
from collections.abc import Iterator
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcnn import geometry, layers, ops
from jaxcnn.layers import initializers
from jaxcnn.layers.options import OptionArguments
from jaxcnn.models.network import Network, flattened

_HE_FAN_IN = initializers.variance_scaling(2 / (1 + 0.25**2), "fan_in", "normal")  # equation 15, with a = 0.25


class PReLUNet(Network):
    """Nineteen layers with learned rectifiers, and a spatial pyramid.

    The pyramid is before the dense layers.

    ::

        224x224x3 -> 7x7/2, 96 -> pool -> 5 times 3x3, 256 -> pool -> 5 times 3x3, 512 -> pool -> 5 times 3x3, 512
                  -> pyramid of 7x7, 3x3, 2x2, 1x1 maxima -> 4096 -> 4096 -> classes

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      widths: maps of the four stages.
      hidden: width of the two dense layers.
      dropout: share of units dropped after each dense layer.
      rngs: random streams, `params` and `dropout`. Kernels start normal with the paper's variance, `2 / (1 + a^2)`
        divided by the fan-in; slopes start at a = 0.25, biases at 0.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Source: table 3, model A; the pyramid, He et al. 2014, "Spatial pyramid pooling".
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_features: int = 3,
        *,
        widths: tuple[int, ...] = (96, 256, 512, 512),
        hidden: int = 4096,
        dropout: float = 0.5,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        drawn: dict[str, Any] = {"kernel_init": _HE_FAN_IN, "rngs": rngs, "options": self.options}
        unit = functools.partial(layers.ConvUnit, activation=None, batch_norm=False, **drawn)
        rectifier = functools.partial(layers.PReLU, options=self.options)
        stem, *stages = geometry.per_axis(widths, 4, "widths")
        self.conv1 = unit(in_features, stem, 7, 2)
        self.slope1 = rectifier(stem)
        features, convs, rectifiers = stem, [], []
        for width in stages:
            convs.append(nnx.List(unit(i, width, 3) for i in (features, *[width] * 4)))
            rectifiers.append(nnx.List(rectifier(width) for _ in range(5)))
            features = width
        self.convs, self.rectifiers = nnx.List(convs), nnx.List(rectifiers)
        self.pool = layers.MaxPool(2, padding="SAME", options=self.options)
        self.dense = nnx.List(
            layers.Linear(i, hidden, **drawn) for i in (features * sum(n * n for n in (7, 3, 2, 1)), hidden)
        )
        self.dense_rectifiers = nnx.List(rectifier(hidden) for _ in range(2))
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.head = layers.Linear(hidden, num_classes, **drawn)
        self.input_shape = (None, None, in_features)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        yield "conv1", (x := self.slope1(self.conv1(x)))
        for number, (convs, rectifiers) in enumerate(zip(self.convs, self.rectifiers, strict=True), start=2):
            yield f"pool{number - 1}", (x := self.pool(x))
            for place, (conv, rectifier) in enumerate(zip(convs, rectifiers, strict=True), start=1):
                yield f"conv{number}_{place}", (x := rectifier(conv(x)))
        grids = [ops.adaptive_max_pool(x, (n, n), rule=self.rule) for n in (7, 3, 2, 1)]
        yield "pyramid", (x := jnp.concatenate([flattened(grid) for grid in grids], -1))
        for number, (dense, rectifier) in enumerate(zip(self.dense, self.dense_rectifiers, strict=True), start=1):
            yield f"dense{number}", (x := self.dropout(rectifier(dense(x))))
        yield "head", self.head(x)
