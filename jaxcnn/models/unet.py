"""The U-Net of Ronneberger, Fischer & Brox 2015.

The paper is "U-Net: convolutional networks for biomedical image segmentation".
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Literal, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcnn import geometry, layers
from jaxcnn.layers import initializers
from jaxcnn.layers.options import OptionArguments
from jaxcnn.models.network import Network
from jaxcnn.ops.arrays import choice

_HE = initializers.variance_scaling(2.0, "fan_in", "normal")
# an output of a transposed convolution with a window as large as its stride reads one tap, a quarter of the window
_HE_OF_ONE_TAP = initializers.variance_scaling(8.0, "fan_in", "normal")


class UNet(Network):
    """A contracting and an expanding path, joined at each resolution.

    The outputs are logits of the classes of each pixel. Each level of the contracting path has two 3x3 convolutions
    and a 2x2 max-pool. Each level of the expanding path has a transposed 2x2 convolution, which doubles the
    resolution, and two 3x3 convolutions, which also read the maps of the same level on the way down.

    Pictures may have any size with `padding="SAME"`: a pool reads also the last row and column of an odd size, and the
    enlarged maps are cut to the size of those that they join.

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      widths: maps of the levels, from the first to the lowest.
      padding: `"SAME"`, or `"VALID"` as in the paper. There each convolution loses a border, so that 572x572 pixels
        give the classes of the middle 388x388; the size before each pool must be even.
      batch_norm: whether batch normalization follows every 3x3 convolution; the paper has none.
      dropout: share of values dropped at the end of the contracting path. The paper does not state it.
      rngs: random streams, `params` and `dropout`. Kernels start normal with variance 2 / inputs of a unit, as in the
        paper, biases at 0.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if `padding` is unknown, or there are fewer than two levels.
    """

    def __init__(
        self,
        num_classes: int = 2,
        in_features: int = 1,
        *,
        widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
        padding: Literal["SAME", "VALID"] = "SAME",
        batch_norm: bool = False,
        dropout: float = 0.5,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        choice("padding", padding, ("SAME", "VALID"))
        if not isinstance(widths, Sequence) or len(widths) < 2:
            raise ValueError(f"`widths` must have one number for each of at least two levels; got {widths!r}.")
        widths = geometry.per_axis(widths, len(widths), "widths", axis="level")
        unit = functools.partial(
            layers.ConvUnit,
            kernel_size=3,
            padding=padding,
            batch_norm=batch_norm,
            kernel_init=_HE,
            rngs=rngs,
            options=self.options,
        )
        self.down = nnx.List(
            [
                nnx.List([unit(before, maps), unit(maps, maps)])
                for before, maps in zip((in_features, *widths), widths, strict=False)
            ]
        )
        upward = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nnx.List(
            [
                layers.ConvTranspose(
                    below, maps, (2, 2), 2, kernel_init=_HE_OF_ONE_TAP, rngs=rngs, options=self.options
                )
                for below, maps in upward
            ]
        )
        self.up = nnx.List([nnx.List([unit(2 * maps, maps), unit(maps, maps)]) for _, maps in upward])
        self.head = layers.Conv(widths[0], num_classes, (1, 1), kernel_init=_HE, rngs=rngs, options=self.options)
        whole = padding == "SAME"
        self.pool = layers.MaxPool(2, padding=padding, strict=not whole, options=self.options)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.input_shape = (None, None, in_features)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations; `head` is `(N, H, W, num_classes)`.
        """
        joined = []
        *levels, lowest = self.down
        for number, (first, second) in enumerate(levels, start=1):
            yield f"down{number}_1", (x := first(x))
            maps, x = second.and_pool(x, self.pool)
            yield f"down{number}_2", maps
            yield f"pool{number}", x
            joined.append(maps)
        for place, unit in enumerate(lowest, start=1):
            yield f"down{len(self.down)}_{place}", (x := unit(x))
        x = self.dropout(x)
        for number, enlarge, units in zip(range(len(levels), 0, -1), self.enlarge, self.up, strict=True):
            yield f"enlarge{number}", (x := enlarge(x))
            x = together(joined.pop(), x)
            for place, unit in enumerate(units, start=1):
                yield f"up{number}_{place}", (x := unit(x))
        yield "head", self.head(x)


def together(maps: jax.Array, enlarged: jax.Array) -> jax.Array:
    """Puts maps of one level side by side.

    The larger are cut to the size of the smaller: enlarged maps, which may have a row and a column more, at the end;
    maps of the way down, where convolutions on the way lost a border, to their middle.

    Args:
      maps: `(N, H, W, C)`, of the way down.
      enlarged: `(N, H', W', C')`.

    Returns:
      `(N, min(H, H'), min(W, W'), C + C')`.
    """
    height, width = (min(pair) for pair in zip(maps.shape[1:3], enlarged.shape[1:3], strict=True))
    top, left = (maps.shape[1] - height) // 2, (maps.shape[2] - width) // 2
    middle = maps[:, top : top + height, left : left + width]
    return jnp.concatenate([middle, enlarged[:, :height, :width]], -1)
