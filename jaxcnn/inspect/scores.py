"""A network's scores, and their gradients, in evaluation mode."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.inspect.functions import Model, Program, name_of, program_of
from jaxcnn.ops.arrays import floating
from jaxcnn.training.objective import at_least_float32

# Functions here are compiled once for each graph, which holds all that is static in a network, its rules included; the
# graph of a function is its trace.


Apart = tuple[Any, Any]


def taken_apart(model: Model, images: Any = None) -> Apart:
    """Splits a network into its static part and its variables.

    The static part is in evaluation mode; the network stays unchanged.

    Args:
      model: the network, or a function.
      images: its images, or their type; required for a function, which is traced with them.

    Returns:
      The static part, and the variables.

    Raises:
      TypeError: if `model` is a function and `images` is None, or `model` is neither a network nor a function.
      ValueError: if a function does not return logits.
    """
    if not isinstance(model, nnx.Module):
        if images is None:
            raise TypeError(f"`model` must be a Flax NNX module; got {name_of(model)}.")
        return program_of(model, images)
    twin = nnx.clone(model, variables=False)
    twin.eval()
    return nnx.split(twin)


@partial(jax.jit, static_argnums=0)
def logits_of(graph: Any, state: Any, images: jax.Array) -> jax.Array:
    """Computes the logits `(N, classes)` of a network that is split.

    Their dtype is at least float32.
    """
    logits = graph(state, images) if isinstance(graph, Program) else nnx.merge(graph, state)(images)
    return at_least_float32(logits)


def chosen(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Selects the entry of the target in each row, `(N,)`."""
    return jnp.take_along_axis(logits, targets[:, None], 1)[:, 0]


def in_batches(function: Callable[[np.ndarray], Any], images: ArrayLike, size: int = 64) -> Any:
    """Applies a compiled function to all images in batches.

    It returns one or several arrays. The last batch is filled up with zeros, whose results are cut off.
    """
    geometry.integer(size, "batch_size")
    every = np.asarray(images)
    parts = []
    for start in range(0, max(len(every), 1), size):  # of no images, one batch of filling, for the shapes
        part = every[start : start + size]
        filled = np.pad(part, [(0, size - len(part)), *[(0, 0)] * (every.ndim - 1)])
        parts.append(jax.tree.map(np.asarray, function(filled)))
    return jax.tree.map(lambda *each: np.concatenate(each)[: len(every)], *parts)


def expect_some(images: np.ndarray | jax.Array) -> None:
    """Refuses an empty batch of images, which has no mean.

    Raises:
      ValueError: if there are no images.
    """
    if not len(images):
        raise ValueError(f"`images` must hold at least one image; got shape {images.shape}.")


def expect_channel_axis(axis: int, rank: int) -> int:
    """Returns the channel axis among `rank` axes, counted from the first.

    Raises:
      ValueError: if it is the batch axis, or there is no such axis.
    """
    if axis not in range(1 - rank, rank) or axis == 0:
        raise ValueError(f"`channel_axis` must be from 1 to {rank - 1}, or from {1 - rank} to -1; got {axis}.")
    return axis % rank


def probabilities_of(logits: ArrayLike) -> np.ndarray:
    """Computes the softmax of logits."""
    from scipy.special import softmax

    return softmax(np.asarray(logits), axis=-1)


@partial(jax.jit, static_argnums=0)
def score_gradient(graph: Any, state: Any, images: jax.Array, targets: jax.Array) -> jax.Array:
    """Computes the gradient of every image's target logit.

    It has the shape of the images.
    """
    return jax.grad(lambda x: chosen(logits_of(graph, state, x), targets).sum())(images)


def expected(model: Model, images: ArrayLike, targets: ArrayLike | None) -> tuple[Apart, jax.Array, np.ndarray]:
    """Returns the split network, the images, and the classes.

    The classes are those to explain, by default the predicted ones.

    Raises:
      TypeError: if the images are not real floating, or the network is neither a module nor a function.
      ValueError: if a target is not a class, the number of targets is not that of the images, or a function does not
        return logits.
    """
    (x,) = floating(images=images)
    graph, state = apart = taken_apart(model, x)
    if targets is None:
        return apart, x, np.asarray(logits_of(graph, state, x)).argmax(-1).astype(np.int32)
    count = jax.eval_shape(partial(logits_of, graph), state, x).shape[-1]
    classes = np.asarray(targets)
    if classes.shape not in ((), (len(x),)):
        raise ValueError(f"`targets` must be one class, or one for each of {len(x)} images; got {classes.shape}.")
    if not ((0 <= classes) & (classes < count)).all():
        raise ValueError(f"`targets` must be from 0 to {count - 1}; got {classes.min()} to {classes.max()}.")
    return apart, x, np.broadcast_to(classes, len(x)).astype(np.int32)
