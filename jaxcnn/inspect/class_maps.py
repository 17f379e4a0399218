"""Where a class is seen: Grad-CAM, and the class activation maps that it generalises."""

from typing import Any

import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn.inspect.inner import expect_stage, last_maps, stage_and_gradient, stage_of, stage_shapes
from jaxcnn.inspect.scores import expected, logits_of

# With maps A_k over n cells and the score S of a class, Grad-CAM weighs the maps by their mean gradients,
#
#     a_k = 1/n sum_q dS / dA_k(q),      L(q) = max(sum_k a_k A_k(q), 0).
#
# Where S = sum_k w_k mean_q A_k(q) + b, a mean over space and one dense layer, dS / dA_k(q) = w_k / n. Then also
# a_k = w_k / n, and n L is the positive part of the class activation map, sum_k w_k A_k(q).


def grad_cam(
    model: nnx.Module, images: ArrayLike, targets: ArrayLike | None = None, *, at: str | None = None
) -> np.ndarray:
    """Where the maps of a stage speak for a class.

    Args:
      model: a network that names its stages.
      images: `(N, *spatial, C)`, scaled as the network is fed.
      targets: a class, or `(N,)` classes; by default the predicted ones.
      at: name of the stage; by default the last with maps over space that is no pooling.

    Returns:
      `(N, *cells)`, as coarse as the stage, nowhere negative.

    Raises:
      ValueError: if there is no such stage, or it has no maps over space; and as in `gradient`.

    Source: Selvaraju et al. 2017, equations 1 and 2.
    """
    apart, x, classes = expected(model, images, targets)
    shapes = stage_shapes(model, x)
    at = at or last_maps(shapes, x.ndim)
    shape = expect_stage(shapes, at)
    if len(shape) != x.ndim:
        raise ValueError(f"`at` must be a stage with maps over space; got {at!r} of shape {shape}.")
    maps, slopes = map(np.asarray, stage_and_gradient(*apart, x, classes, at))
    weights = slopes.mean(tuple(range(1, x.ndim - 1)), keepdims=True)
    return np.maximum((weights * maps).sum(-1), 0)


def class_activation_map(model: nnx.Module, images: ArrayLike, targets: ArrayLike | None = None) -> np.ndarray:
    """Each cell's share in a class's score; arguments as in `grad_cam`.

    Returns:
      `(N, *cells)`, signed; its mean over space, with the head's bias, is the logit.

    Raises:
      ValueError: if the network does not end with a mean over space and at most one dense layer.

    Source: Zhou et al. 2016.
    """
    apart, x, classes = expected(model, images, targets)
    shapes = stage_shapes(model, x)
    at, head = last_maps(shapes, x.ndim), getattr(model, "head", None)
    bias: Any = 0.0
    kernel = np.eye(shapes[at][-1], dtype=np.float32)  # of a network that ends with the mean
    if isinstance(head, nnx.Linear):
        bias = 0.0 if head.bias is None else np.asarray(head.bias[...])
        kernel = np.asarray(head.kernel[...])
    if kernel.shape == (shapes[at][-1], shapes["head"][-1]):
        shares = np.asarray(stage_of(*apart, x, at)) @ kernel
        logits = np.asarray(logits_of(*apart, x))
        explained = np.asarray(shares.mean(tuple(range(1, x.ndim - 1))) + bias, np.float32)
        if np.allclose(explained, logits, rtol=1e-2, atol=1e-2 * float(np.abs(logits).max())):
            return np.take_along_axis(shares, classes.reshape(-1, *[1] * (x.ndim - 1)), -1)[..., 0]
    raise ValueError(
        f"`model` must end with a mean over space and one dense layer, or the mean alone; got {type(model).__name__}."
    )
