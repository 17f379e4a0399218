"""Residual blocks as pure functions of arrays.

They have units of convolution and normalization, and the shortcut.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn.ops.arrays import along_last, choice, floating
from jaxcnn.ops.conv import conv
from jaxcnn.ops.norm.batch import batch_norm, batch_norm_relu
from jaxcnn.ops.pool.sums import subsample
from jaxcnn.ops.rectifiers import relu
from jaxcnn.ops.rule import Rule

# A block is y = max(F(x) + S(x), 0): a branch F of units, and a shortcut S that is the identity, or zeros and a
# decimation (A), or a projection (B, C). With e = [y > 0] dL/dy the rule is the sum of the two ways,
#
#     dx = F'(x)^T e + S'(x)^T e,
#
# of which the second is e itself where S is the identity: errors reach the block before undiminished, whatever the
# branch does. F'(x)^T goes unit by unit through the rules of `conv` and `batch_norm_relu`. The last normalization, the
# sum and the ReLU are one operation with one rule.

Shortcut = Literal["identity", "A", "B", "none"]


class Unit(NamedTuple):
    """A convolution and the normalization, or the bias, that follows it."""

    kernel: ArrayLike  # (*window, I, O)
    scale: ArrayLike | None = None  # (O); None leaves the normalization out
    bias: ArrayLike | None = None  # (O)


Statistics = tuple[jax.Array, jax.Array] | None  # mean and variance, `(O)` each; None without normalization


def residual_block(
    inputs: ArrayLike,
    units: Sequence[tuple[Any, ...]],
    *,
    projection: tuple[Any, ...] | None = None,
    shortcut: Shortcut = "identity",
    strides: int = 1,
    stride_on: int = 0,
    statistics: Sequence[Statistics] | None = None,
    epsilon: float = 1e-5,
    axis_name: str | tuple[str, ...] | None = None,
    activate: bool = True,
    rule: Rule = "hand",
) -> tuple[jax.Array, list[Statistics]]:
    """Adds a few units' output to the input, and rectifies.

    Args:
      inputs: `(N, *spatial, C)`.
      units: a tuple `(kernel, scale, bias)` for each unit. With `scale` None the unit is not normalized, and only adds
        its bias, if there is one. A ReLU follows each unit; after the last unit it follows the sum. Kernels are padded
        by half their size on each side.
      projection: the unit of shortcut B. For shortcut C, pass it also where the shape does not change.
      shortcut: `"identity"`; `"A"`, the input decimated, with channels of zeros added on both sides; `"B"`, the
        projection; `"none"`, for a plain network.
      strides: steps of the block.
      stride_on: the number of the unit that has the strides.
      statistics: for inference, the mean and variance of each unit's normalization, then of the projection's; by
        default those of the batch.
      epsilon: as in `batch_norm`.
      axis_name: as in `batch_norm`.
      activate: whether to rectify the sum.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(N, *output, O)`; and the statistics that were used, in the order of `statistics`.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if shapes disagree, there is no unit, or an option is unknown.

    Example:
      With zero weights a block is the identity on inputs that are not negative, and so is its gradient:

      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x, zeros = jnp.array([[[1.0], [2.0], [3.0]]]), jnp.zeros((3, 1, 1))
      >>> block = lambda x: ops.residual_block(x, [(zeros,), (zeros,)])[0]
      >>> block(x).ravel().tolist()
      [1.0, 2.0, 3.0]
      >>> jax.grad(lambda x: block(x)[0, 1, 0])(x).ravel().tolist()
      [0.0, 1.0, 0.0]

    Source: He, Zhang, Ren & Sun 2016, "Deep residual learning for image recognition", sections 3.2 and 4.1.
    """
    (x,) = floating(inputs=inputs)
    choice("shortcut", shortcut, ("identity", "A", "B", "none"))
    if not units:
        raise ValueError("`units` must have at least one entry; got none.")
    if (projection is not None) != (shortcut == "B"):
        raise ValueError(f"`projection` must be given with shortcut 'B', and with no other shortcut; got {shortcut!r}.")
    branch = [Unit(*unit) for unit in units]
    every = [*branch, Unit(*projection)] if projection is not None else branch
    known = [None] * len(every) if statistics is None else list(statistics)
    if len(known) != len(every):
        raise ValueError(f"`statistics` must have an entry for each of {len(every)} units; got {len(known)}.")
    options: dict[str, Any] = {"epsilon": epsilon, "axis_name": axis_name, "rule": rule}
    of_projection: list[Statistics] = []
    past, used, last = None if shortcut == "none" else x, [], len(branch) - 1
    if shortcut == "A":
        past = pad_shortcut(x, jnp.shape(branch[-1].kernel)[-1], strides, rule=rule)
    if projection is not None:
        past, *of_projection = _apply(every[-1], x, None, strides, False, known[-1], **options)
    for place, unit in enumerate(branch):
        beside, step = past if place == last else None, strides if place == stride_on else 1
        x, of_unit = _apply(unit, x, beside, step, activate or place < last, known[place], **options)
        used.append(of_unit)
    return x, [*used, *of_projection]


def bottleneck_block(
    inputs: ArrayLike, units: Sequence[tuple[Any, ...]], **options: Any
) -> tuple[jax.Array, list[Statistics]]:
    """A residual block of 1x1, 3x3 and 1x1 units.

    The first reduces to few channels, the last goes back to many.

    Args:
      inputs: `(N, *spatial, C)`.
      units: three, as in `residual_block`; the windows of the first and the last have one cell.
      **options: those of `residual_block`; `stride_on` is 0, the first unit, as in the paper, or 1 as in torchvision.

    Returns:
      As `residual_block`.

    Raises:
      TypeError: as `residual_block`.
      ValueError: as `residual_block`, or if there are not three units with such windows.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> narrow, middle, wide = jnp.zeros((1, 1, 8, 2)), jnp.zeros((3, 3, 2, 2)), jnp.zeros((1, 1, 2, 8))
      >>> outputs, _ = ops.bottleneck_block(jnp.ones((1, 4, 4, 8)), [(narrow,), (middle,), (wide,)])
      >>> outputs.shape, bool((outputs == 1).all())
      ((1, 4, 4, 8), True)

    Source: He, Zhang, Ren & Sun 2016, "Deep residual learning for image recognition", figure 5.
    """
    windows = [jnp.shape(Unit(*unit).kernel)[:-2] for unit in units]
    if len(windows) != 3 or {*windows[0], *windows[-1]} != {1}:
        raise ValueError(f"`units` must be three, of which the first and the last have one tap; got windows {windows}.")
    return residual_block(inputs, units, **options)


def pad_shortcut(inputs: jax.Array, outputs: int, strides: int, *, rule: Rule = "hand") -> jax.Array:
    """Computes shortcut A: the input decimated, with channels of zeros.

    They are on both sides, `outputs` channels in total.

    Raises:
      ValueError: if `outputs` is less than the number of channels.
    """
    extra = outputs - inputs.shape[-1]
    if extra < 0:
        raise ValueError(f"`shortcut` 'A' can only add channels; got {inputs.shape[-1]} before and {outputs} after.")
    x = subsample(inputs, strides, rule=rule)
    return jnp.pad(x, [*[(0, 0)] * (x.ndim - 1), (extra // 2, extra - extra // 2)])


def _apply(
    unit: Unit,
    x: jax.Array,
    past: jax.Array | None,
    strides: int,
    activate: bool,
    statistics: Statistics,
    *,
    epsilon: float,
    axis_name: str | tuple[str, ...] | None,
    rule: Rule,
) -> tuple[jax.Array, Statistics]:
    """Convolves, normalizes, adds the shortcut and rectifies.

    It returns also the statistics that were used.
    """
    window = jnp.shape(unit.kernel)[:-2]
    x = conv(x, unit.kernel, strides=strides, padding=[((k - 1) // 2, k // 2) for k in window], rule=rule)
    if past is not None and past.shape != x.shape:
        raise ValueError(f"the shortcut must have the shape of the units' outputs, {x.shape}; got {past.shape}.")
    if unit.scale is None:
        x = x if unit.bias is None else x + along_last(jnp.asarray(unit.bias), x)
        x = x if past is None else x + past
        return relu(x, rule=rule) if activate else x, None
    bias = jnp.zeros_like(unit.scale) if unit.bias is None else unit.bias
    given = {} if statistics is None else {"mean": statistics[0], "variance": statistics[1]}
    options: dict[str, Any] = {"epsilon": epsilon, "axis_name": axis_name, "rule": rule, **given}
    if activate:
        y, mean, variance = batch_norm_relu(x, unit.scale, bias, past, **options)
    else:
        y, mean, variance = batch_norm(x, unit.scale, bias, **options)
        y = y if past is None else y + past
    return y, (mean, variance)
