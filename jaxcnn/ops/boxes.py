"""Boxes: their overlap, a loss of their overlap, non-maximum suppression.

A box is `(x1, y1, x2, y2)`: x counts columns and y counts rows, both from the upper left corner of the picture. They
are the edges of pixels: pixel (row, column) lies between x = column and column + 1, and between y = row and row + 1. So
a whole picture of H x W pixels is the box `(0, 0, W, H)`, and its area is W H.
"""

import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.ops import arrays
from jaxcnn.ops.rule import custom_vjp
from jaxcnn.ops.sharding import match_cotangent, varying_like

# Two boxes a and b have the areas A and B; I is the area of their intersection, U = A + B - I that of their union, and
# C that of the smallest box that holds both. IoU = I / U, and the loss of GIoU is
#
#     L = 1 - I / U + (C - U) / C.
#
# With dU = dA + dB - dI,
#
#     d(I / U) = (1 / U + I / U^2) dI - I / U^2 (dA + dB),
#     dL       = (1 / C - 1 / U - I / U^2) dI + (I / U^2 - 1 / C) (dA + dB) + U / C^2 dC.
#
# Each area is a width times a height. The width of I is min(x2, x2') - max(x1, x1'), so x2 of a moves I by the height
# of I if it is the smaller one, and x1 moves it by minus that height if it is the larger one; C has maximum and minimum
# exchanged; A is moved by either. At a tie each box takes half. Where boxes do not overlap, or only touch, I is 0 and
# so is its gradient. A quotient with a divisor of 0 is 0: two points have IoU 0 and loss 1.


def _over(numerator: jax.Array, divisor: jax.Array) -> jax.Array:
    return jnp.where(divisor == 0, 0, numerator / jnp.where(divisor == 0, 1, divisor))


def _sides(box: jax.Array) -> jax.Array:
    return box[..., 2:] - box[..., :2]


def _inner(a: jax.Array, b: jax.Array) -> jax.Array:
    """Computes the sides of the intersection; 0 without one."""
    sides = jnp.minimum(a[..., 2:], b[..., 2:]) - jnp.maximum(a[..., :2], b[..., :2])
    return jnp.where((sides > 0).all(-1, keepdims=True), sides, 0)


def _outer(a: jax.Array, b: jax.Array) -> jax.Array:
    """Computes the sides of the smallest box around both."""
    return jnp.maximum(a[..., 2:], b[..., 2:]) - jnp.minimum(a[..., :2], b[..., :2])


def _area(sides: jax.Array) -> jax.Array:
    return sides[..., 0] * sides[..., 1]


def _areas(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Those of intersection and union."""
    inner = _area(_inner(a, b))
    return inner, _area(_sides(a)) + _area(_sides(b)) - inner


def _pull(a: jax.Array, b: jax.Array, of_inner: jax.Array, of_own: jax.Array, of_outer: jax.Array | None):
    """Computes the gradients of both boxes from those of areas.

    The areas are I; A and B, which have one gradient; and C, if it has one.
    """
    of_inner, of_own = of_inner[..., None], of_own[..., None]
    inner = of_inner * _inner(a, b)[..., ::-1]  # a width is moved by a height
    outer = None if of_outer is None else of_outer[..., None] * _outer(a, b)[..., ::-1]

    def gradient(own: jax.Array, other: jax.Array) -> jax.Array:
        sides = of_own * _sides(own)[..., ::-1]
        low = inner * _wins(other[..., :2], own[..., :2]) + sides
        high = inner * _wins(own[..., 2:], other[..., 2:]) + sides
        if outer is not None:
            low += outer * _wins(own[..., :2], other[..., :2])
            high += outer * _wins(other[..., 2:], own[..., 2:])
        whole = jnp.concatenate([-low, high], -1)
        shared = tuple(axis for axis, size in enumerate(own.shape) if size != whole.shape[axis])
        return match_cotangent(jnp.sum(whole, shared, keepdims=True), own)

    return gradient(a, b), gradient(b, a)


def _wins(smaller: jax.Array, larger: jax.Array) -> jax.Array:
    """Returns 1 where the first is smaller, 1/2 at a tie."""
    return jnp.where(smaller == larger, 0.5, (smaller < larger).astype(larger.dtype)).astype(larger.dtype)


def _plain_iou(a: jax.Array, b: jax.Array) -> jax.Array:
    return _over(*_areas(a, b))


_iou = custom_vjp()(_plain_iou)


def _iou_bwd(boxes: tuple[jax.Array, jax.Array], error: jax.Array):
    inner, union = _areas(*boxes)
    of_own = -_over(_over(inner, union), union)
    return _pull(*boxes, error * (_over(jnp.ones_like(union), union) - of_own), error * of_own, None)


_iou.defvjp(lambda a, b: (_iou(a, b), (a, b)), _iou_bwd)


def _plain_giou(a: jax.Array, b: jax.Array) -> jax.Array:
    inner, union = _areas(a, b)
    outer = _area(_outer(a, b))
    return 1 - _over(inner, union) + _over(outer - union, outer)


_giou = custom_vjp()(_plain_giou)


def _giou_bwd(boxes: tuple[jax.Array, jax.Array], error: jax.Array):
    inner, union = _areas(*boxes)
    outer = _area(_outer(*boxes))
    one = jnp.ones_like(union)
    of_own = _over(_over(inner, union), union) - _over(one, outer)
    of_outer = _over(_over(union, outer), outer)
    return _pull(*boxes, -error * (of_own + _over(one, union)), error * of_own, error * of_outer)


_giou.defvjp(lambda a, b: (_giou(a, b), (a, b)), _giou_bwd)


def box_iou(first: ArrayLike, second: ArrayLike, *, rule: Literal["hand", "autodiff"] = "hand") -> jax.Array:
    """Intersection over union of every box with every other.

    It is 0 for boxes that do not overlap, and 1 for equal boxes.

    Args:
      first: `(*batch, N, 4)`, boxes `(x1, y1, x2, y2)` in edges of pixels, with x1 <= x2 and y1 <= y2: x counts
        columns, y counts rows, and a picture of H x W pixels is the box `(0, 0, W, H)`.
      second: `(*batch, M, 4)`, of the same dtype.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.

    Returns:
      `(*batch, N, M)`, from 0 to 1; two boxes without area have 0. 16-bit floats are computed in float32.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if the last axis does not have 4 entries, or the batches differ.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> first = jnp.array([[0.0, 0.0, 2.0, 2.0]])
      >>> second = jnp.array([[0.0, 0.0, 2.0, 2.0], [-1.0, 1.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0]])
      >>> [round(value, 3) for value in ops.box_iou(first, second)[0].tolist()]
      [1.0, 0.333, 0.0]
      >>> gradient = jax.grad(lambda box: ops.box_iou(box, second[1:2]).sum())(first)
      >>> [round(value, 3) for value in gradient[0, :2].tolist()]  # a smaller x1 raises it, and so does a larger y1
      [-0.111, 0.111]
    """
    function = _iou if arrays.choice("rule", rule, ("hand", "autodiff")) == "hand" else _plain_iou
    first, second = arrays.floating(first=first, second=second)
    if first.ndim < 2 or first.shape[-1] != 4 or second.shape[-1:] != (4,) or first.shape[:-2] != second.shape[:-2]:
        raise ValueError(
            f"`first` and `second` must be (*batch, N, 4) and (*batch, M, 4); got {first.shape} and {second.shape}."
        )
    wide = arrays.wider(first.dtype, jnp.float32)
    return function(first[..., :, None, :].astype(wide), second[..., None, :, :].astype(wide)).astype(first.dtype)


def giou_loss(predictions: ArrayLike, targets: ArrayLike, *, rule: Literal["hand", "autodiff"] = "hand") -> jax.Array:
    """The loss of generalized intersection over union, per box.

    It is `1 - I / U + (C - U) / C`, with the areas I of the intersection, U of the union, and C of the smallest box
    that holds both. Unlike `1 - box_iou`, it has a gradient where boxes do not overlap.

    Args:
      predictions: `(*batch, 4)`, boxes as in `box_iou`.
      targets: an array of the same shape and dtype.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(*batch)` losses, from 0 for equal boxes to 2 for boxes far apart, in the dtype of `predictions`; 16-bit floats
      are computed in float32.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if the shapes differ, or the last axis does not have 4 entries.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> target = jnp.array([0.0, 0.0, 2.0, 2.0])
      >>> apart = jnp.array([3.0, 1.0, 5.0, 3.0])
      >>> ops.giou_loss(target, target).item(), round(ops.giou_loss(apart, target).item(), 3)
      (0.0, 1.467)
      >>> [round(value, 3) for value in jax.grad(ops.giou_loss)(apart, target).tolist()]  # x1 and y1 must fall
      [0.133, 0.133, -0.027, 0.044]

    Source: Rezatofighi et al. 2019, "Generalized intersection over union".
    """
    function = _giou if arrays.choice("rule", rule, ("hand", "autodiff")) == "hand" else _plain_giou
    predictions, targets = arrays.floating(predictions=predictions, targets=targets)
    if predictions.shape != targets.shape or predictions.shape[-1:] != (4,):
        raise ValueError(
            f"`predictions` and `targets` must both be (*batch, 4); got {predictions.shape} and {targets.shape}."
        )
    wide = arrays.wider(predictions.dtype, jnp.float32)
    return function(predictions.astype(wide), targets.astype(wide)).astype(predictions.dtype)


def non_maximum_suppression(
    boxes: ArrayLike,
    scores: ArrayLike,
    classes: ArrayLike | None = None,
    *,
    threshold: float = 0.5,
    most: int = 100,
) -> jax.Array:
    """Selects the best of overlapping boxes, one after the other.

    The box with the highest score is selected, and all boxes that overlap it by more than the threshold are removed;
    then the best of the others, and so on. It has no gradient. It works under `jit`, because the number of results is
    fixed.

    Args:
      boxes: `(*batch, N, 4)`, as in `box_iou`.
      scores: `(*batch, N)`; of equal scores the first counts as higher. A score of -inf marks a box that is not there.
      classes: `(*batch, N)` integers; if given, a box removes only boxes of its own class.
      threshold: the largest intersection over union of two selected boxes, from 0 to 1.
      most: number of boxes to select.

    Returns:
      `(*batch, most)` int32, the places of the selected boxes by falling score; -1 where there are no more.

    Raises:
      TypeError: if `boxes` or `scores` is not real floating, or `classes` are not integers.
      ValueError: if shapes disagree, an option is out of range, or a box or score is NaN. Under `jit`, where values are
        not known, a box with a NaN is never selected.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> boxes = jnp.array([[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
      >>> ops.non_maximum_suppression(boxes, jnp.array([0.8, 0.9, 0.3]), most=4).tolist()
      [1, 2, -1, -1]
    """
    (boxes,), (scores,) = arrays.floating(boxes=boxes), arrays.floating(scores=scores)
    if boxes.ndim < 2 or boxes.shape != (*scores.shape, 4):
        raise ValueError(
            f"`boxes` and `scores` must be (*batch, N, 4) and (*batch, N); got {boxes.shape} and {scores.shape}."
        )
    most = geometry.integer(most, "most")
    if not 0 <= threshold <= 1:
        raise ValueError(f"`threshold` must be from 0 to 1; got {threshold!r}.")
    for name, array in (("boxes", boxes), ("scores", scores)):
        wrong = 0 if isinstance(array, Tracer) else int(np.isnan(np.asarray(array, np.float32)).sum())
        if wrong:
            raise ValueError(f"`{name}` must not be NaN; got {wrong} of them.")
    groups = jnp.zeros(scores.shape, jnp.int32) if classes is None else jnp.asarray(classes)
    if not jnp.issubdtype(groups.dtype, jnp.integer):
        raise TypeError(f"`classes` must be integers; got {groups.dtype}.")
    if groups.shape != scores.shape:
        raise ValueError(f"`classes` must have the shape of `scores`, {scores.shape}; got {groups.shape}.")
    batch, count = scores.shape[:-1], scores.shape[-1]
    if not count or not math.prod(batch):
        return jnp.full((*batch, most), -1, jnp.int32)
    wide = arrays.wider(boxes.dtype, jnp.float32)
    flat = boxes.astype(wide).reshape(-1, count, 4), scores.astype(wide).reshape(-1, count), groups.reshape(-1, count)
    return _suppressed(*flat, jnp.asarray(threshold, wide), most).reshape(*batch, most)


@functools.partial(jax.jit, static_argnums=4)
def _suppressed(boxes: jax.Array, scores: jax.Array, classes: jax.Array, threshold: jax.Array, most: int) -> jax.Array:
    """The selected places `(B, most)` of boxes `(B, N, 4)`."""

    def one(boxes: jax.Array, scores: jax.Array, classes: jax.Array) -> jax.Array:
        def select(left: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            best = jnp.argmax(left).astype(jnp.int32)  # the first of equal ones
            there = left[best] > -jnp.inf
            near = (_plain_iou(boxes[best][None], boxes) > threshold) & (classes == classes[best])
            gone = near | (jnp.arange(len(left)) == best)
            return jnp.where(there & gone, -jnp.inf, left), jnp.where(there, best, -1)

        known = ~(jnp.isnan(boxes).any(-1) | jnp.isnan(scores))
        left = varying_like(jnp.where(known, scores, -jnp.inf), boxes, classes)
        return lax.scan(select, left, None, length=most)[1]

    return jax.vmap(one)(boxes, scores, classes)
