"""Maps of where a network sees a class.

They are Grad-CAM, and class activation maps, which it generalizes.
"""

from typing import Any

import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn.inspect.functions import Model, Program, name_of, names_stages, with_names
from jaxcnn.inspect.scores import expect_channel_axis, expected, logits_of
from jaxcnn.inspect.stage_gradients import (
    expect_stage,
    full_name,
    last_maps,
    last_operation,
    shapes_of,
    stage_and_gradient,
    stage_of,
    stage_shapes,
)

# With maps A_k over n cells and the score S of a class, Grad-CAM weighs the maps by their mean gradients,
#
#     a_k = 1/n sum_q dS / dA_k(q),      L(q) = max(sum_k a_k A_k(q), 0).
#
# Where S = sum_k w_k mean_q A_k(q) + b, a mean over space and one dense layer, dS / dA_k(q) = w_k / n. Then also
# a_k = w_k / n, and n L is the positive part of the class activation map, sum_k w_k A_k(q).


def grad_cam(
    model: Model,
    images: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    at: str | None = None,
    channel_axis: int = -1,
) -> np.ndarray:
    """Computes where a stage's maps are evidence for a class.

    Args:
      model: a network, or any function of images.
      images: scaled inputs of the network, `(N, *spatial, C)` or in the layout of the function.
      targets: a class, or `(N,)` classes; by default the predicted ones.
      at: name of the stage; by default the last one with spatial maps that is not a pool. For a function, a name as in
        `activations`, or the end of one; by default the last convolution or ReLU with spatial maps.
      channel_axis: the channel axis of the stage, 1 if channels are first.

    Returns:
      `(N, *cells)`, with the resolution of the stage; never negative.

    Raises:
      ValueError: if there is no such stage or axis, or the stage has no spatial maps; and as in `gradient`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import inspect
      >>> def network(images):
      ...   with jax.named_scope("edges"):
      ...     maps = jax.nn.relu(jax.lax.conv(images, jnp.ones((4, 3, 3, 3)), (1, 1), "VALID"))
      ...   return maps.mean((2, 3))
      >>> inspect.grad_cam(network, jnp.ones((2, 3, 8, 8)), at="edges", channel_axis=1).shape
      (2, 6, 6)

    Source: Selvaraju et al. 2017, equations 1 and 2.
    """
    model = with_names(model)
    apart, x, classes = expected(model, images, targets)
    shapes = shapes_of(apart, model, x)
    last = last_operation if isinstance(apart[0], Program) else last_maps
    at = last(shapes, x.ndim) if at is None else full_name(shapes, at)
    shape = expect_stage(shapes, at)
    if len(shape) != x.ndim or x.ndim < 3:
        raise ValueError(f"`at` must be a stage with maps over space; got {at!r} of shape {shape}.")
    channels = expect_channel_axis(channel_axis, x.ndim)
    maps, slopes = map(np.asarray, stage_and_gradient(*apart, x, classes, at))
    weights = slopes.mean(tuple(axis for axis in range(1, x.ndim) if axis != channels), keepdims=True)
    return np.maximum((weights * maps).sum(channels), 0)


def class_activation_map(model: nnx.Module, images: ArrayLike, targets: ArrayLike | None = None) -> np.ndarray:
    """Computes each cell's share of the score of a class.

    Args:
      model: a network that ends with a mean over space and at most one dense layer.
      images: scaled inputs of the network, `(N, *spatial, C)`.
      targets: a class, or `(N,)` classes; by default the predicted ones.

    Returns:
      `(N, *cells)`, signed; its mean over space, plus the bias of the head, is the logit.

    Raises:
      TypeError: if the network is a plain function; `grad_cam` accepts functions.
      ValueError: if the network does not end with a mean over space and at most one dense layer.

    Source: Zhou et al. 2016.
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(f"`model` must be a Flax NNX module, whose head is known; got {name_of(model)}.")
    if not names_stages(model):
        raise ValueError(f"`model` must name its stages, as those of `jaxcnn.models` do; {name_of(model)} does not.")
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
