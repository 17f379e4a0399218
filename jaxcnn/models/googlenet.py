"""GoogLeNet: Szegedy et al. 2015, "Going deeper with convolutions"."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Unpack

import jax
from flax import nnx

from jaxcnn import layers, ops
from jaxcnn.layers.options import Option, OptionArguments
from jaxcnn.models.network import Network, flattened
from jaxcnn.ops.arrays import choice

# table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
BLOCKS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
AUXILIARY_AFTER = {"4a": "aux1", "4d": "aux2"}


class AuxiliaryHead(nnx.Module):
    """An auxiliary classifier.

    It takes the mean over a grid of 4x4, a 1x1 convolution, two dense layers with dropout.
    """

    rule = Option()

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        dropout: float,
        norm: dict[str, Any],
        rngs: nnx.Rngs,
        options: layers.Options,
    ):
        self.options = options
        self.conv = layers.ConvUnit(in_features, 128, 1, rngs=rngs, options=options, **norm)
        self.dense = layers.Linear(4 * 4 * 128, 1024, rngs=rngs, options=options)
        self.head = layers.Linear(1024, num_classes, rngs=rngs, options=options)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.activation = layers.Activation("relu", rule=options.rule)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Classifies maps `(N, H, W, C)`; returns logits."""
        x = self.conv(ops.adaptive_avg_pool(x, (4, 4), rule=self.rule))
        x = self.activation(self.dense(flattened(x)))
        return self.head(self.dropout(x))


class GoogLeNet(Network):
    """A stem, nine Inception blocks, one mean, one dense layer.

    The mean is over space. The network has 6,998,552 parameters without its auxiliary heads. In training, two auxiliary
    heads classify from the middle of the network, as stages `aux1` and `aux2`; their losses are added with the weights
    of `auxiliaries`. In evaluation they are not computed. The pool of these heads is 5x5 with stride 3 in the paper,
    from 14x14 to 4x4; here it is adaptive, for any size.

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      variant: `"paper"` or `"torchvision"`. In the second, every convolution is normalized, also in the auxiliary
        heads, with epsilon 1e-3; 3x3 convolutions replace those of 5x5; the last pool is 2x2 (6,624,904 parameters
        without auxiliary heads). Its trained weights expect images in [-1, 1].
      batch_norm: whether batch normalization follows every convolution, instead of local response normalization in the
        stem.
      auxiliary: whether there are auxiliary heads.
      dropout: share of features dropped before the output.
      auxiliary_dropout: share of features dropped in the auxiliary heads.
      rngs: random streams, `params` and `dropout`. The paper does not state its initialization; kernels start He
        normal by fan-out, biases at 0.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if `variant` is unknown.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_features: int = 3,
        *,
        variant: Literal["paper", "torchvision"] = "paper",
        batch_norm: bool = False,
        auxiliary: bool = True,
        dropout: float = 0.4,
        auxiliary_dropout: float = 0.7,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        choice("variant", variant, ("paper", "torchvision"))
        of_paper = variant == "paper"
        batch_norm = batch_norm or not of_paper
        large = 5 if of_paper else 3
        norm_options = None if of_paper else {"epsilon": 1e-3}
        norm: dict[str, Any] = {"batch_norm": batch_norm, "norm_options": norm_options}
        unit = functools.partial(layers.ConvUnit, rngs=rngs, options=self.options, **norm)
        self.conv1 = unit(in_features, 64, 7, 2)
        self.conv2_reduce = unit(64, 64, 1)
        self.conv2 = unit(64, 192, 3)
        features, blocks = 192, {}
        heads = {}
        for name, (one, reduce3, three, reduce5, five, projection) in BLOCKS.items():
            branches = [[(1, one)], [(1, reduce3), (3, three)], [(1, reduce5), (large, five)]]
            blocks[name] = layers.Inception(
                features, branches, projection=projection, rngs=rngs, options=self.options, **norm
            )
            features = blocks[name].out_features
            if auxiliary and name in AUXILIARY_AFTER:
                heads[AUXILIARY_AFTER[name]] = AuxiliaryHead(
                    features,
                    num_classes,
                    dropout=auxiliary_dropout,
                    norm=norm | {"batch_norm": not of_paper},
                    rngs=rngs,
                    options=self.options,
                )
        self.blocks = nnx.Dict(blocks)
        self.auxiliary_heads = nnx.Dict(heads)
        self.norm = nnx.data(None if batch_norm else layers.LocalResponseNorm(options=self.options))
        # torchvision rounds sizes up: one cell behind does that, and nothing where the window ends with the image
        behind = [(0, 1), (0, 1)]
        padding = "SAME" if of_paper else behind
        self.pool = layers.MaxPool(3, 2, padding=padding, options=self.options)
        self.last_pool = layers.MaxPool(3 if of_paper else 2, 2, padding=padding, options=self.options)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.head = layers.Linear(features, num_classes, rngs=rngs, options=self.options)
        self.input_shape = (None, None, in_features)

    @property
    def auxiliaries(self) -> Mapping[str, float]:
        """The weights of the losses of the auxiliary heads."""
        return dict.fromkeys(self.auxiliary_heads, 0.3)

    def head_layers(self) -> tuple[Any, ...]:
        """Returns the last layer, and those of the auxiliary heads."""
        return (self.head, *(aid.head for aid in self.auxiliary_heads.values()))

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        normalize = self.norm or (lambda x: x)
        conv1, x = self.conv1.and_pool(x, self.pool)
        yield "conv1", conv1
        yield "pool1", (x := normalize(x))
        yield "conv2", (x := normalize(self.conv2(self.conv2_reduce(x))))
        yield "pool2", (x := self.pool(x))
        for name in BLOCKS:
            x = {"4a": self.pool, "5a": self.last_pool}.get(name, lambda x: x)(x)
            yield f"inception{name}", (x := self.blocks[name](x))
            if self.auxiliary_heads and name in AUXILIARY_AFTER and not self.dropout.deterministic:
                yield AUXILIARY_AFTER[name], self.auxiliary_heads[AUXILIARY_AFTER[name]](x)
        yield "mean", (x := self.average_maps(x))
        yield "head", self.head(self.dropout(x))
