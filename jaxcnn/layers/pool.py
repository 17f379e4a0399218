"""Pooling as Flax NNX modules, without parameters.

Activation and pooling also exist as one operation.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import geometry, ops
from jaxcnn.layers.activation import Activation
from jaxcnn.layers.options import Option, Options, chosen
from jaxcnn.layers.static import frozen
from jaxcnn.ops.choices import method_named
from jaxcnn.ops.pool.switches import METHODS, Method
from jaxcnn.ops.rule import Rule


class _Pool(nnx.Module):
    window_shape: int | tuple[int, ...]
    strides: int | tuple[int, ...] | None
    padding: geometry.Padding
    window_dilation: int | tuple[int, ...]
    ceil_mode: bool
    strict: bool

    @property
    def sliding(self) -> dict[str, Any]:
        """Returns the arguments of the op that describe the window."""
        names = ("window_shape", "strides", "padding", "window_dilation", "ceil_mode", "strict")
        return {name: getattr(self, name) for name in names}

    def window(self, input_shape: Sequence[int]) -> geometry.Window:
        """Returns the window over an input of these spatial sizes.

        Args:
          input_shape: spatial sizes of the input.

        Returns:
          The window, resolved to integers.
        """
        return geometry.pool_window((1, *input_shape, 1), **self.sliding)


class MaxPool(_Pool):
    """Takes the largest value of every window.

    Args:
      window_shape: size of the window, one for all axes or one per axis.
      strides: steps of the window; None means the window's shape.
      padding: as in `ops.conv`; cells of the padding never win.
      window_dilation: spacing of the window's taps.
      ceil_mode: as in `ops.max_pool`.
      strict: refuse strides that leave trailing cells unread.
      rule: `"hand"` or `"autodiff"`.
      method: as in `ops.max_pool`.
      options: `rule` and `method` at once, instead of single ones.
    """

    rule, method = Option(), Option(METHODS)

    def __init__(
        self,
        window_shape: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        *,
        padding: geometry.Padding = "VALID",
        window_dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
        strict: bool = False,
        rule: Rule = "hand",
        method: Method = "auto",
        options: Options | None = None,
    ):
        self.window_shape, self.strides = frozen(window_shape), frozen(strides)
        self.padding, self.window_dilation = frozen(padding), frozen(window_dilation)
        self.ceil_mode, self.strict = ceil_mode, strict
        self.options = chosen(options, rule=rule, method=method_named(method, METHODS))

    def __call__(self, inputs: ArrayLike) -> jax.Array:
        """Pools.

        Args:
          inputs: `(N, *spatial, C)`.

        Returns:
          `(N, *output, C)`.
        """
        return ops.max_pool(inputs, **self.sliding, rule=self.rule, method=self.method)


class AvgPool(_Pool):
    """Takes the mean of every window.

    Args:
      window_shape: size of the window, one for all axes or one per axis.
      strides: steps of the window; None means the window's shape.
      padding: as in `ops.conv`.
      window_dilation: spacing of the window's taps.
      ceil_mode: as in `ops.avg_pool`.
      strict: refuse strides that leave trailing cells unread.
      count_include_pad: divide by the size of the window; if False, by its number of cells outside the padding.
      divisor: a divisor that replaces this count, not 0.
      rule: `"hand"` or `"autodiff"`.
      options: the rule, as a network passes it on.
    """

    rule = Option()

    def __init__(
        self,
        window_shape: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        *,
        padding: geometry.Padding = "VALID",
        window_dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
        strict: bool = False,
        count_include_pad: bool = True,
        divisor: float | None = None,
        rule: Rule = "hand",
        options: Options | None = None,
    ):
        self.window_shape, self.strides = frozen(window_shape), frozen(strides)
        self.padding, self.window_dilation = frozen(padding), frozen(window_dilation)
        self.ceil_mode, self.strict = ceil_mode, strict
        self.count_include_pad, self.divisor = count_include_pad, divisor
        self.options = chosen(options, rule=rule)

    def __call__(self, inputs: ArrayLike) -> jax.Array:
        """Pools.

        Args:
          inputs: `(N, *spatial, C)`.

        Returns:
          `(N, *output, C)`.
        """
        means = {"count_include_pad": self.count_include_pad, "divisor": self.divisor}
        return ops.avg_pool(inputs, **self.sliding, **means, rule=self.rule)


def activate_and_pool(
    inputs: ArrayLike, activation: Activation | None, pool: MaxPool | AvgPool
) -> tuple[jax.Array, jax.Array]:
    """Activates, then pools, as one operation where possible.

    It is possible where the two can be fused. ReLU and max-pool are one operation, which keeps only pooled arrays for
    the gradient. The activations are then not computed unless they are used. With `activation.fuse` False there are two
    operations.

    Args:
      inputs: `(N, *spatial, C)`.
      activation: the activation; None for none.
      pool: the pool.

    Returns:
      The activations, `(N, *spatial, C)`, and the pooled activations, `(N, *output, C)`.
    """
    activations = jnp.asarray(inputs) if activation is None else activation(inputs)
    if activation is None or not isinstance(pool, MaxPool) or not activation.fuse:
        return activations, pool(activations)
    if (activation.name, activation.rule, pool.rule) != ("relu", "hand", "hand"):
        return activations, pool(activations)
    return activations, ops.relu_max_pool(inputs, **pool.sliding, method=pool.method)
