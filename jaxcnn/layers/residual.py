"""Residual blocks: layers whose output is added to their input."""

import functools
from collections.abc import Callable
from typing import Any, Literal, Unpack

import jax
from flax import nnx

from jaxcnn import geometry
from jaxcnn.layers import initializers
from jaxcnn.layers.activation import Activation
from jaxcnn.layers.conv import Conv
from jaxcnn.layers.norm import BatchNorm, are_one, normalize_and_activate
from jaxcnn.layers.options import Option, OptionArguments, Options, chosen
from jaxcnn.layers.unit import HE_NORMAL, ConvUnit
from jaxcnn.ops.arrays import choice
from jaxcnn.ops.residual import pad_shortcut

Shortcut = Literal["A", "B", "C", "none"]
SHORTCUTS = ("A", "B", "C", "none")


class PadShortcut(nnx.Module):
    """Shortcut A: the input decimated, with channels of zeros.

    They are added on both sides; it has no parameters.
    """

    rule = Option()

    def __init__(self, in_features: int, out_features: int, strides: int, *, options: Options):
        self.extra = out_features - in_features
        self.strides = strides
        self.options = options

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Decimates and adds channels of zeros.

        From `(N, *spatial, C)` it makes `(N, *output, O)`.
        """
        return pad_shortcut(inputs, inputs.shape[-1] + self.extra, self.strides, rule=self.rule)


def make_shortcut(
    kind: Shortcut, in_features: int, out_features: int, strides: int, *, rngs: nnx.Rngs, options: Options, **unit: Any
) -> Callable[[jax.Array], jax.Array] | None:
    """Makes a block's shortcut (He et al. 2016, section 4.1).

    Args:
      kind: `"A"` (identity, zeros for new channels), `"B"` (projection where the shape changes), `"C"` (projection
        everywhere), `"none"` (no shortcut: a plain network).
      in_features: channels before the block.
      out_features: channels after the block.
      strides: steps of the block.
      rngs: random streams; `params` is used.
      options: those of all layers.
      **unit: further arguments of `ConvUnit`.

    Returns:
      A module, or None for the identity and for `"none"`.

    Raises:
      ValueError: if the kind is unknown, or `"A"` has fewer channels after the block than before it.
    """
    choice("shortcut", kind, SHORTCUTS)
    if kind == "A" and out_features < in_features:
        raise ValueError(f"`shortcut` 'A' can only add channels; got {in_features} before and {out_features} after.")
    if kind == "none" or (kind != "C" and strides == 1 and in_features == out_features):
        return None
    if kind == "A":
        return PadShortcut(in_features, out_features, strides, options=options)
    return ConvUnit(in_features, out_features, 1, strides, activation=None, rngs=rngs, options=options, **unit)


class ResidualBlock(nnx.Module):
    """Post-activation block: units, plus the shortcut, then ReLU.

    Args:
      in_features: input channels.
      features: width W of the block.
      strides: steps of the block.
      bottleneck: whether the units are 1x1, 3x3 and 1x1 with 4 W outputs, instead of two of 3x3 with W outputs.
      shortcut: `"A"` (identity, zeros for new channels), `"B"` (projection where the shape changes), `"C"` (projection
        everywhere) or `"none"` (a plain network).
      stride_on: the unit of a bottleneck that has the strides: `"first"` as in the paper, or `"middle"` (3x3) as in
        torchvision.
      zero_last: whether the scale of the last normalization starts at 0, so that the block starts as the identity.
      padding: of all units, as in `ConvUnit`.
      rngs: random streams; `params` is used.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `Options`, or all as `options`.

    Raises:
      ValueError: if an option is unknown.

    Source: He, Zhang, Ren & Sun 2016, "Deep residual learning for image recognition"; `zero_last`, Goyal et al. 2017.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        strides: int = 1,
        *,
        bottleneck: bool = False,
        shortcut: Shortcut = "B",
        stride_on: Literal["first", "middle"] = "first",
        zero_last: bool = False,
        padding: geometry.Padding | None = None,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        options = chosen(**given)
        unit: dict[str, Any] = {"padding": padding, "rngs": rngs, "options": options}
        choice("stride_on", stride_on, ("first", "middle"))
        self.out_features = 4 * features if bottleneck else features
        self.shortcut = nnx.data(make_shortcut(shortcut, in_features, self.out_features, strides, **unit))
        self.has_shortcut = shortcut != "none"
        last: dict[str, Any] = {"activation": None, **unit}
        if zero_last:
            last["scale_init"] = initializers.constant(0.0)
        if bottleneck:
            first, middle = (strides, 1) if stride_on == "first" else (1, strides)
            units = [
                ConvUnit(in_features, features, 1, first, **unit),
                ConvUnit(features, features, 3, middle, **unit),
                ConvUnit(features, self.out_features, 1, **last),
            ]
        else:
            units = [ConvUnit(in_features, features, 3, strides, **unit), ConvUnit(features, features, 3, **last)]
        self.units = nnx.List(units)
        self.activation = Activation("relu", rule=options.rule)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Computes the block.

        Args:
          inputs: `(N, H, W, C)`.

        Returns:
          `(N, H', W', O)`.
        """
        x = inputs
        *before, last = self.units
        for unit in before:
            x = unit(x)
        if last.norm is not None and are_one(last.norm, self.activation):
            return last.norm.and_relu(last.conv(x), self._past(inputs))
        x, past = last(x), self._past(inputs)
        return self.activation(x if past is None else x + past)

    def _past(self, inputs: jax.Array) -> jax.Array | None:
        if not self.has_shortcut:
            return None
        return inputs if self.shortcut is None else self.shortcut(inputs)


class PreActivationBlock(nnx.Module):
    """Pre-activation block: normalize, rectify, convolve; the sum is not rectified.

    Where the shape changes, the shortcut starts after the first activation.

    Args:
      in_features: input channels.
      features: width W of the block.
      strides: steps of the block.
      bottleneck: as in `ResidualBlock`.
      shortcut: as in `ResidualBlock`.
      stride_on: as in `ResidualBlock`.
      zero_last: must be False, since the block ends with a convolution; an argument as in `ResidualBlock`.
      rngs: random streams; `params` is used.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `Options`, or all as `options`.

    Raises:
      ValueError: if `zero_last` is True, or an option is unknown.

    Source: He, Zhang, Ren & Sun 2016, "Identity mappings in deep residual networks".
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        strides: int = 1,
        *,
        bottleneck: bool = False,
        shortcut: Shortcut = "B",
        stride_on: Literal["first", "middle"] = "middle",
        zero_last: bool = False,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        options = chosen(**given)
        choice("stride_on", stride_on, ("first", "middle"))
        if zero_last:
            raise ValueError("`zero_last` must be False in version 2, which ends with a convolution; got True.")
        self.out_features = 4 * features if bottleneck else features
        bare = functools.partial(Conv, use_bias=False, kernel_init=HE_NORMAL, rngs=rngs, options=options)
        kind = make_shortcut(shortcut, in_features, self.out_features, strides, rngs=rngs, options=options)
        if isinstance(kind, ConvUnit):  # projections are bare here: what follows normalizes
            kind = bare(in_features, self.out_features, (1, 1), strides, padding=0)
        self.shortcut = nnx.data(kind)
        self.has_shortcut = shortcut != "none"
        if bottleneck:
            first, middle = (strides, 1) if stride_on == "first" else (1, strides)
            plan = [(in_features, features, 1, first), (features, features, 3, middle)]
            plan.append((features, self.out_features, 1, 1))
        else:
            plan = [(in_features, features, 3, strides), (features, features, 3, 1)]
        self.norms = nnx.List(BatchNorm(i, rngs=rngs, options=options) for i, *_ in plan)
        self.convs = nnx.List(bare(i, o, (k, k), s, padding=k // 2) for i, o, k, s in plan)
        self.activation = Activation("relu", rule=options.rule)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Computes the block.

        Args:
          inputs: `(N, H, W, C)`.

        Returns:
          `(N, H', W', O)`.
        """
        x = first = normalize_and_activate(inputs, self.norms[0], self.activation)
        x = self.convs[0](x)
        for norm, conv in zip(list(self.norms)[1:], list(self.convs)[1:], strict=True):
            x = conv(normalize_and_activate(x, norm, self.activation))
        if not self.has_shortcut:
            return x
        return x + (inputs if self.shortcut is None else self.shortcut(first))
