"""Residual networks (He, Zhang, Ren & Sun 2016).

The paper is "Deep residual learning for image recognition".
"""

from collections.abc import Iterator
from typing import Any, Literal, Unpack

import jax
from flax import nnx

from jaxcnn import geometry, layers
from jaxcnn.layers.options import OptionArguments
from jaxcnn.layers.residual import Shortcut
from jaxcnn.models.network import Network
from jaxcnn.ops.arrays import choice

# blocks in each stage, and whether they are bottlenecks, by depth: table 1
IMAGENET = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


class _Residual(Network):
    """A stem, stages of blocks, one mean, one dense layer.

    The mean is over space.
    """

    def _build(
        self,
        counts: tuple[int, ...],
        widths: tuple[int, ...],
        *,
        in_features: int,
        num_classes: int,
        version: Literal[1, 2],
        block_options: dict[str, Any],
        rngs: nnx.Rngs,
    ) -> None:
        if version not in (1, 2):
            raise ValueError(f"`version` must be 1 or 2; got {version!r}.")
        block = layers.ResidualBlock if version == 1 else layers.PreActivationBlock
        features, stages = in_features, []
        for number, (count, width) in enumerate(zip(counts, widths, strict=True)):
            blocks = []
            for place in range(count):
                strides = 2 if number and not place else 1
                blocks.append(block(features, width, strides, rngs=rngs, options=self.options, **block_options))
                features = blocks[-1].out_features
            stages.append(nnx.List(blocks))
        self.blocks = nnx.List(stages)
        self.final_norm = nnx.data(
            layers.BatchNorm(features, rngs=rngs, options=self.options) if version == 2 else None
        )
        self.activation = layers.Activation("relu", rule=self.rule)
        self.head = layers.Linear(features, num_classes, rngs=rngs, options=self.options)

    def _after_stem(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        for number, stage in enumerate(self.blocks, start=2):
            for place, block in enumerate(stage, start=1):
                yield f"conv{number}_{place}", (x := block(x))
        if self.final_norm is not None:
            yield "final", (x := layers.normalize_and_activate(x, self.final_norm, self.activation))
        yield "mean", (x := self.average_maps(x))
        yield "head", self.head(x)


class ResNet(_Residual):
    """The networks for ImageNet, with 18 to 152 layers.

    They have 18, 34, 50, 101 or 152 layers, and plain counterparts.

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      depth: number of layers with weights.
      shortcut: `"A"`, `"B"` or `"C"`, as in section 4.1 of the paper; or `"none"` for the plain network.
      version: 1, or 2 for pre-activation (He et al. 2016, "Identity mappings").
      stride_on: the convolution of a bottleneck that has the strides: `"first"` (1x1, as in the paper) or `"middle"`
        (3x3, as in torchvision, 0.5 % better for 5 % more operations).
      zero_last: whether the last scale of a block starts at 0 (Goyal et al. 2017).
      padding: padding of windows with strides: `"symmetric"`; or `"same"` as in Flax's example, which pads an even size
        only at the end.
      widths: widths of the four stages.
      rngs: random streams; `params` is used. Kernels start He normal by fan-out, as in torchvision. The momentum of the
        running statistics is 0.9, epsilon 1e-5.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if an option is unknown.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_features: int = 3,
        *,
        depth: int = 50,
        shortcut: Shortcut = "B",
        version: Literal[1, 2] = 1,
        stride_on: Literal["first", "middle"] = "middle",
        zero_last: bool = False,
        padding: Literal["symmetric", "same"] = "symmetric",
        widths: tuple[int, ...] = (64, 128, 256, 512),
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        if depth not in IMAGENET:
            raise ValueError(f"`depth` must be one of {', '.join(map(str, IMAGENET))}; got {depth}.")
        counts, bottleneck = IMAGENET[depth]
        widths = geometry.per_axis(widths, 4, "widths")
        # in version 2 the first block normalizes by itself
        stem: dict[str, Any] = {"batch_norm": version == 1, "activation": "relu" if version == 1 else None}
        self.conv1 = layers.ConvUnit(in_features, widths[0], 7, 2, rngs=rngs, options=self.options, **stem)
        choice("padding", padding, ("symmetric", "same"))
        if (version, padding) == (2, "same"):
            raise ValueError("`padding` must be 'symmetric' in version 2; got 'same'.")
        self.pool1 = layers.MaxPool(3, 2, padding=1 if padding == "symmetric" else "SAME", options=self.options)
        self._build(
            counts,
            widths,
            in_features=widths[0],
            num_classes=num_classes,
            version=version,
            block_options={
                "bottleneck": bottleneck,
                "shortcut": shortcut,
                "stride_on": stride_on,
                "zero_last": zero_last,
                **({"padding": "SAME"} if padding == "same" else {}),
            },
            rngs=rngs,
        )
        self.input_shape = (None, None, in_features)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        conv1, x = self.conv1.and_pool(x, self.pool1)
        yield "conv1", conv1
        yield "pool1", x
        yield from self._after_stem(x)


class CifarResNet(_Residual):
    """The networks for CIFAR, with 6 n + 2 layers.

    They have for instance 20, 32, 44, 56 or 110 layers, and plain counterparts.

    ::

        32x32x3 -> 3x3, 16 -> n blocks of 16 -> n of 32, 16x16 -> n of 64, 8x8 -> mean -> classes

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      depth: number of layers with weights, 6 n + 2.
      shortcut: `"A"` as in section 4.2 of the paper, `"B"`, `"C"`, or `"none"` for the plain network.
      version: 1, or 2 for pre-activation.
      zero_last: whether the last scale of a block starts at 0.
      widths: widths of the three stages.
      rngs: random streams; `params` is used. Kernels start He normal by fan-out. The momentum of the running statistics
        is 0.9, epsilon 1e-5.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if the depth is not 6 n + 2, or an option is unknown.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_features: int = 3,
        *,
        depth: int = 20,
        shortcut: Shortcut = "A",
        version: Literal[1, 2] = 1,
        zero_last: bool = False,
        widths: tuple[int, ...] = (16, 32, 64),
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"`depth` must be 6 n + 2, as 20 or 56; got {depth}.")
        widths = geometry.per_axis(widths, 3, "widths")
        stem: dict[str, Any] = {"batch_norm": version == 1, "activation": "relu" if version == 1 else None}
        self.conv1 = layers.ConvUnit(in_features, widths[0], 3, rngs=rngs, options=self.options, **stem)
        self._build(
            ((depth - 2) // 6,) * 3,
            widths,
            in_features=widths[0],
            num_classes=num_classes,
            version=version,
            block_options={"shortcut": shortcut, "zero_last": zero_last},
            rngs=rngs,
        )
        self.input_shape = (None, None, in_features)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        yield "conv1", (x := self.conv1(x))
        yield from self._after_stem(x)
