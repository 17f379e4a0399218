"""Convolution, batch normalization and activation: deep networks' unit."""

from collections.abc import Sequence
from typing import Any, Unpack

import jax
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.layers import initializers
from jaxcnn.layers.activation import Activation
from jaxcnn.layers.conv import Conv
from jaxcnn.layers.norm import BatchNorm, normalize_and_activate
from jaxcnn.layers.options import OptionArguments, chosen
from jaxcnn.layers.pool import AvgPool, MaxPool, activate_and_pool

HE_NORMAL = initializers.variance_scaling(2.0, "fan_out", "normal")  # keeps the errors' variance through ReLUs


class ConvUnit(nnx.Module):
    """A convolution, then optional batch normalization and an optional activation.

    Args:
      in_features: input channels C.
      out_features: output channels O.
      kernel_size: sizes of the window; an integer is the side of a square (in `Conv` and `nnx.Conv`, an integer means
        one spatial axis).
      strides: steps of the window.
      padding: as in `ops.conv`; by default half the kernel on each side, the same for every stride.
      batch_norm: whether to normalize; the convolution then has no bias.
      activation: name of the activation, or None.
      kernel_init: initializer of the kernel; by default He's normal (variance 2 / fan-out).
      scale_init: initializer of the scale of the normalization.
      norm_options: further arguments of `BatchNorm`.
      rngs: random streams; `params` is used.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `Options`, or all as `options`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        *,
        padding: geometry.Padding | None = None,
        batch_norm: bool = True,
        activation: str | None = "relu",
        kernel_init: nnx.Initializer = HE_NORMAL,
        scale_init: nnx.Initializer | None = None,
        norm_options: dict[str, Any] | None = None,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        options = chosen(**given)
        window = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        self.conv = Conv(
            in_features,
            out_features,
            window,
            strides,
            padding=[((k - 1) // 2, k // 2) for k in window] if padding is None else padding,
            use_bias=not batch_norm,
            kernel_init=kernel_init,
            rngs=rngs,
            options=options,
        )
        further = {**({} if scale_init is None else {"scale_init": scale_init}), **(norm_options or {})}
        self.norm = nnx.data(BatchNorm(out_features, rngs=rngs, options=options, **further) if batch_norm else None)
        self.activation = nnx.data(None if activation is None else Activation(activation, rule=options.rule))
        self.out_features = out_features

    def __call__(self, inputs: ArrayLike) -> jax.Array:
        """Convolves, normalizes and activates.

        Args:
          inputs: `(N, *spatial, C)`.

        Returns:
          `(N, *output, O)`.
        """
        if self.norm is not None and self.activation is not None:
            return normalize_and_activate(self.conv(inputs), self.norm, self.activation)
        x = self._before_activation(inputs)
        return x if self.activation is None else self.activation(x)

    def and_pool(self, inputs: ArrayLike, pool: MaxPool | AvgPool) -> tuple[jax.Array, jax.Array]:
        """Convolves, normalizes, activates and pools.

        It uses less memory than separate calls, see `activate_and_pool`.

        Args:
          inputs: `(N, *spatial, C)`.
          pool: the pool.

        Returns:
          The outputs of the unit, `(N, *output, O)`, and the pooled outputs.
        """
        return activate_and_pool(self._before_activation(inputs), self.activation, pool)

    def _before_activation(self, inputs: ArrayLike) -> jax.Array:
        x = self.conv(inputs)
        return x if self.norm is None else self.norm(x)
