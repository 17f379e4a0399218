"""Features: the activations of a stage, one row per image."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxcnn import geometry, training
from jaxcnn.data import Augmentation, Scaling, Stream
from jaxcnn.inspect.functions import name_of
from jaxcnn.inspect.stages import names_stages, stages_of
from jaxcnn.training.checks import check_units

Pool = Literal["mean", "max", "flatten"]


def features(
    model: nnx.Module,
    images: np.ndarray | Stream,
    at: str,
    *,
    scaling: Scaling,
    pool: Pool = "mean",
    batch_size: int = 256,
    augmentation: Augmentation | None = None,
    observer: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Computes a stage's activations for every image, in evaluation mode.

    They are computed in batches.

    Args:
      model: a network that names its stages.
      images: `(N, *shape)`, in the form of the training data.
      at: name of the stage.
      scaling: the scaling with which the network was trained.
      pool: reduction of maps: their `"mean"` or `"max"` over space, or all their cells, `"flatten"`.
      batch_size: images per call.
      augmentation: that of the training, which determines the size of the pictures.
      observer: a function that is called after every batch, with the number of its images.

    Returns:
      `(N, D)` float32.

    Raises:
      ValueError: if there is no such stage, `pool` is unknown, or the images have another shape than the network's
        or are in other units.
    """
    if pool not in get_args(Pool):
        raise ValueError(f"`pool` must be one of {', '.join(get_args(Pool))}; got {pool!r}.")
    size = min(geometry.integer(batch_size, "batch_size"), max(1, len(images)))
    first = np.zeros((1, *images.shape[1:]), images.dtype)
    seen = first if augmentation is None else augmentation.center(first)
    if not names_stages(model):
        raise ValueError(f"`model` must name its stages, as those of `jaxcnn.models` do; {name_of(model)} does not.")
    there = stages_of(model, scaling(seen))
    if at not in there:
        raise ValueError(f"`at` must be a stage of {type(model).__name__}: {', '.join(there)}; got {at!r}.")
    shape = jax.eval_shape(lambda maps: _pooled(maps, pool), there[at]).shape
    check_units(images, scaling)
    batches = training.in_batches(images, size)
    rows = []
    for some in training.answers_to(model, batches, scaling, augmentation=augmentation, answer=_stage(at, pool)):
        rows.append(some)
        if observer is not None:
            observer(len(some))
    return np.concatenate(rows) if rows else np.zeros((0, shape[-1]), np.float32)


@lru_cache(maxsize=64)
def _stage(at: str, pool: Pool) -> Callable[[Any, jax.Array], jax.Array]:
    return lambda model, inputs: _pooled(model(inputs, capture=True)[1][at], pool).astype(jnp.float32)


def _pooled(maps: jax.Array, pool: Pool) -> jax.Array:
    """`(N, *space, C)` as `(N, D)`."""
    if pool == "flatten" or maps.ndim == 2:
        return maps.reshape(maps.shape[0], -1)
    space = tuple(range(1, maps.ndim - 1))
    return maps.mean(space) if pool == "mean" else maps.max(space)
