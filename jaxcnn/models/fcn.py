"""The fully convolutional network of Long, Shelhamer & Darrell 2015.

The paper is "Fully convolutional networks for semantic segmentation".
"""

import functools
from collections.abc import Iterator
from typing import Any, Literal, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxcnn import geometry, layers, ops
from jaxcnn.layers import initializers
from jaxcnn.layers.conv import KERNEL_INIT
from jaxcnn.layers.options import OptionArguments
from jaxcnn.models.network import Network

STRIDES = (8, 16, 32)


class FCN(Network):
    """A VGG network whose dense layers are convolutions, with skips.

    The outputs are logits of the classes of each pixel. Five blocks of 3x3 convolutions and pools, a 7x7 and two 1x1
    convolutions give a score for each class at 1/32 of the resolution. A transposed convolution doubles it, and the
    scores that 1x1 convolutions compute from earlier pools are added, first at 1/16, then at 1/8 of the resolution. The
    sum is enlarged by bilinear interpolation.

    Pictures may have any size: a pool reads also the last row and column of an odd size, and the enlarged maps are cut
    to the size of those that they are added to. The paper instead pads the picture by 100 pixels.

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      stride: the resolution up to which skips are added: 8 (FCN-8s), 16 or 32, without skips.
      widths: maps of the five blocks.
      depths: convolutions of the five blocks.
      hidden: maps of the 7x7 and the first 1x1 convolution.
      batch_norm: whether batch normalization follows every convolution of the blocks.
      dropout: share of values dropped after each of the two.
      rngs: random streams, `params` and `dropout`. Kernels of the blocks start He normal by fan-out, those of the next
        two layers LeCun normal, those of the scores at 0, transposed convolutions as bilinear interpolation. The paper
        starts the blocks from trained weights of VGG. As there, the last enlargement is not trained.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if `stride` is unknown, or `widths` or `depths` has not five entries.
    """

    def __init__(
        self,
        num_classes: int = 21,
        in_features: int = 3,
        *,
        stride: Literal[8, 16, 32] = 8,
        widths: tuple[int, ...] = (64, 128, 256, 512, 512),
        depths: tuple[int, ...] = (2, 2, 3, 3, 3),
        hidden: int = 4096,
        batch_norm: bool = False,
        dropout: float = 0.5,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        if stride not in STRIDES:
            raise ValueError(f"`stride` must be one of {', '.join(map(str, STRIDES))}; got {stride!r}.")
        widths, depths = geometry.per_axis(widths, 5, "widths", axis="block"), geometry.per_axis(depths, 5, "depths")
        features, blocks = in_features, []
        for maps, count in zip(widths, depths, strict=True):
            units = []
            for _ in range(count):
                units.append(layers.ConvUnit(features, maps, 3, batch_norm=batch_norm, rngs=rngs, options=self.options))
                features = maps
            blocks.append(nnx.List(units))
        self.blocks = nnx.List(blocks)
        self.pool = layers.MaxPool(2, padding="SAME", options=self.options)
        self.conv6 = layers.Conv(features, hidden, (7, 7), rngs=rngs, options=self.options)
        self.conv7 = layers.Conv(hidden, hidden, (1, 1), rngs=rngs, options=self.options)
        score = functools.partial(
            layers.Conv, kernel_init=initializers.constant(0.0), rngs=rngs, options=self.options, kernel_size=(1, 1)
        )
        self.head = score(hidden, num_classes)
        skips = widths[3:1:-1][: STRIDES[::-1].index(stride)]  # of pool4 and pool3
        self.scores = nnx.List([score(maps, num_classes) for maps in skips])
        self.enlarge = nnx.List([self._doubling(num_classes, rngs) for _ in skips])
        self.stride = stride
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.activation = layers.Activation("relu", rule=self.rule)
        self.input_shape = (None, None, in_features)

    def _doubling(self, classes: int, rngs: nnx.Rngs) -> layers.ConvTranspose:
        given: dict[str, Any] = {"use_bias": False, "kernel_init": initializers.bilinear(2), "options": self.options}
        return layers.ConvTranspose(classes, classes, (4, 4), 2, padding=1, rngs=rngs, **given)

    def head_layers(self) -> tuple[Any, ...]:
        """Returns the convolutions that give the scores."""
        return (self.head, *self.scores)

    def replace_head(self, num_classes: int, *, rngs: nnx.Rngs, kernel_init: nnx.Initializer = KERNEL_INIT) -> None:
        """Replaces the scores by new ones for other classes.

        The transposed convolutions between them start as bilinear interpolation again; the other layers stay.

        Args:
          num_classes: number of classes.
          rngs: random streams; `params` is used.
          kernel_init: initializer of the kernels; by default LeCun's normal (variance 1 / fan-in). Biases start at 0.

        Raises:
          ValueError: if the number is not positive.
        """
        super().replace_head(num_classes, rngs=rngs, kernel_init=kernel_init)
        for place in range(len(self.enlarge)):
            self.enlarge[place] = self._doubling(num_classes, rngs)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations; `head` is `(N, H, W, num_classes)`.
        """
        size, pools = x.shape[1:3], []
        for number, block in enumerate(self.blocks, start=1):
            *units, last = block
            for place, unit in enumerate(units, start=1):
                yield f"conv{number}_{place}", (x := unit(x))
            maps, x = last.and_pool(x, self.pool)
            yield f"conv{number}_{len(block)}", maps
            yield f"pool{number}", x
            pools.append(x)
        yield "conv6", (x := self.dropout(self.activation(self.conv6(x))))
        yield "conv7", (x := self.dropout(self.activation(self.conv7(x))))
        yield "score5", (x := self.head(x))
        for number, score, enlarge in zip((4, 3), self.scores, self.enlarge, strict=False):
            skip = score(pools[number - 1])
            yield f"score{number}", (x := cut(enlarge(x), skip.shape[1:3]) + skip)
        yield "head", cut(enlarged(x, self.stride, rule=self.rule), size)


def cut(maps: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """Cuts `(N, H, W, C)` to the first rows and columns."""
    return maps[:, : size[0], : size[1]]


def enlarged(maps: jax.Array, factor: int, rule: Literal["hand", "autodiff"] = "hand") -> jax.Array:
    """Enlarges maps by bilinear interpolation, with zeros around them.

    It is a transposed convolution of every map by itself, first along the rows, then along the columns.

    Args:
      maps: `(N, H, W, C)`.
      factor: how much larger the result is, an even number.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(N, factor H, factor W, C)`.
    """
    count, height, width, channels = maps.shape
    taps = jnp.asarray(np.asarray(initializers.bilinear_taps(factor)), maps.dtype)
    single = jnp.moveaxis(maps, -1, 1).reshape(count * channels, height, width, 1)
    for axis in (0, 1):
        window = [1, 1, 1, 1]
        window[axis], steps, pads = len(taps), [1, 1], [0, 0]
        steps[axis], pads[axis] = factor, factor // 2
        kernel = taps.reshape(window)
        single = ops.conv_transpose(single, kernel, strides=tuple(steps), padding=pads, rule=rule)
    large = single.reshape(count, channels, factor * height, factor * width)
    return jnp.moveaxis(large, 1, -1)
