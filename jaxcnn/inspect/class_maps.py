"""Where a class is seen: Grad-CAM, and the class activation maps that it generalises."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn.inspect.inner import expect_stage, last_maps, stage_and_gradient, stage_of
from jaxcnn.inspect.scores import expected, logits_of, taken_apart

# With maps A_k over n cells and the score S of a class, Grad-CAM weighs the maps by their mean gradients,
#
#     a_k = 1/n sum_q dS / dA_k(q),      L(q) = max(sum_k a_k A_k(q), 0).
#
# Where S = sum_k w_k mean_q A_k(q) + b, a mean over space and one dense layer, dS / dA_k(q) = w_k / n. Then also
# a_k = w_k / n, and n L is the positive part of the class activation map, sum_k w_k A_k(q).


def grad_cam(
    model: nnx.Module, images: ArrayLike, targets: ArrayLike | None = None, *, at: str | None = None
) -> jax.Array:
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
    x, classes = expected(model, images, targets)
    at = at or last_maps(model, x)
    shape = expect_stage(model, x, at)
    if len(shape) != x.ndim:
        raise ValueError(f"`at` must be a stage with maps over space; got {at!r} of shape {shape}.")
    maps, slopes = stage_and_gradient(*taken_apart(model), x, classes, at)
    weights = slopes.mean(tuple(range(1, x.ndim - 1)), keepdims=True)
    return jnp.maximum((weights * maps).sum(-1), 0)


def class_activation_map(model: nnx.Module, images: ArrayLike, targets: ArrayLike | None = None) -> jax.Array:
    """Each cell's share in a class's score; arguments as in `grad_cam`.

    Returns:
      `(N, *cells)`, signed; its mean over space, with the head's bias, is the logit.

    Raises:
      ValueError: if the network does not end with a mean over space and at most one dense layer.

    Source: Zhou et al. 2016.
    """
    x, classes = expected(model, images, targets)
    apart = taken_apart(model)
    maps = stage_of(*apart, x, last_maps(model, x))
    logits = logits_of(*apart, x)
    head = getattr(model, "head", None)
    scores = maps
    if isinstance(head, nnx.Linear):
        kernel = head.kernel[...]
        scores = maps @ kernel.astype(maps.dtype) if kernel.shape[0] == maps.shape[-1] else None
    if scores is not None and scores.shape[-1] == logits.shape[-1]:
        bias = head.bias[...] if isinstance(head, nnx.Linear) and head.bias is not None else 0.0
        explained = np.asarray(scores.mean(tuple(range(1, x.ndim - 1))) + bias, np.float32)
        if np.allclose(explained, logits, rtol=1e-2, atol=1e-2 * float(jnp.abs(logits).max())):
            return jnp.take_along_axis(scores, classes.reshape(-1, *[1] * (x.ndim - 1)), -1)[..., 0]
    raise ValueError(
        f"`model` must end with a mean over space and one dense layer, or the mean alone; got {type(model).__name__}."
    )
