"""The images that excite a unit most.

They are found among examples, or made by gradient ascent.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.inspect.scores import Apart, taken_apart
from jaxcnn.inspect.stage_gradients import expect_stage, features_at, stage_of, stage_shapes


class Exciting(NamedTuple):
    """The examples that excite a unit most, the strongest first.

    Args:
      indices: `(count,)` numbers of the examples.
      values: `(count,)` values of the unit.
      cells: `(count, spatial axes of the stage)`, the position of the maximum in the map.
      boxes: `(count, spatial axes, 2)`, the first and last cell of the image on which the value depends.
    """

    indices: np.ndarray
    values: np.ndarray
    cells: np.ndarray
    boxes: np.ndarray


@overload
def most_exciting(
    model: nnx.Module, images: np.ndarray, at: str, units: int, count: int = 9, *, batch_size: int = 64
) -> Exciting: ...


@overload
def most_exciting(
    model: nnx.Module, images: np.ndarray, at: str, units: Sequence[int], count: int = 9, *, batch_size: int = 64
) -> list[Exciting]: ...


def most_exciting(
    model: nnx.Module, images: np.ndarray, at: str, units: int | Sequence[int], count: int = 9, *, batch_size: int = 64
) -> Exciting | list[Exciting]:
    """Finds the examples that excite units most.

    It also finds the part of each that a unit reads.

    Args:
      model: a network that names its stages.
      images: scaled inputs of the network, `(N, *spatial, C)`.
      at: name of the stage.
      units: a channel of the stage, or several; the value of a map is its maximum.
      count: number of examples.
      batch_size: images per call.

    Returns:
      The examples; a list of them for several units.

    Raises:
      ValueError: if there is no such stage or unit, or `count` is not from 1 to N.

    Source: Zeiler & Fergus 2014, figure 2; Girshick et al. 2014, figure 3.
    """
    channels = expect_stage(stage_shapes(model, images[:1]), at)[-1]
    asked = [units] if isinstance(units, int | np.integer) else list(units)
    for unit in asked:
        _expect_unit(unit, channels)
    if not 1 <= geometry.integer(count, "count") <= len(images):
        raise ValueError(f"`count` must be from 1 to {len(images)}, the number of images; got {count}.")
    stage = features_at(model, images, [at], batch_size)[at]
    exciting = strongest(model, images, at, asked, stage, count)
    return exciting[0] if isinstance(units, int | np.integer) else exciting


def strongest(
    model: nnx.Module, images: np.ndarray, at: str, units: Sequence[int], stage: np.ndarray, count: int
) -> list[Exciting]:
    """Does the same with the activations of the stage, `(N, *stage)`."""
    apart = taken_apart(model)
    return [_examples(apart, images, at, unit, stage[..., unit], count) for unit in units]


def _examples(apart: Apart, images: np.ndarray, at: str, unit: int, maps: np.ndarray, count: int) -> Exciting:
    flat = maps.reshape(len(maps), -1)
    indices = np.argsort(-flat.max(1), kind="stable")[:count]
    places = flat[indices].argmax(1)
    cells = np.stack(np.unravel_index(places, maps.shape[1:]), -1) if maps.ndim > 1 else np.zeros((count, 0), int)
    slopes = _place_gradient(*apart, images[indices], at, unit, places)
    return Exciting(indices, flat[indices, places], cells, _boxes(np.asarray(slopes)))


def _boxes(slopes: np.ndarray) -> np.ndarray:
    """First and last cell with a gradient, by axis.

    These are the ends where there is none.
    """
    seen = np.asarray(slopes.any(-1))
    boxes = np.zeros((len(seen), seen.ndim - 1, 2), int)
    for axis in range(1, seen.ndim):
        hit = np.asarray(seen.any(tuple(other for other in range(1, seen.ndim) if other != axis)))
        hit[~hit.any(1)] = True
        boxes[:, axis - 1] = np.stack([hit.argmax(1), hit.shape[1] - 1 - hit[:, ::-1].argmax(1)], -1)
    return boxes


def _expect_unit(unit: int, channels: int) -> None:
    if not 0 <= unit < channels:
        raise ValueError(f"`units` must be from 0 to {channels - 1}; got {unit}.")


@partial(jax.jit, static_argnums=(0, 3))
def _place_gradient(graph: Any, state: nnx.State, images: Any, at: str, unit: ArrayLike, places: ArrayLike) -> Any:
    def total(images: jax.Array) -> jax.Array:
        maps = stage_of(graph, state, images, at)
        flat = maps.reshape(len(maps), -1, maps.shape[-1])
        return flat[jnp.arange(len(flat)), jnp.asarray(places), jnp.asarray(unit)].sum()

    return jax.grad(total)(images)


def maximize(
    model: nnx.Module,
    units: ArrayLike,
    shape: tuple[int, ...],
    *,
    at: str = "head",
    steps: int = 200,
    rate: float = 0.05,
    jitter: int = 2,
    decay: float = 0.01,
    smoothing: float = 0.5,
    bounds: tuple[ArrayLike, ArrayLike] = (-2.0, 2.0),
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Makes images that excite units, by gradient ascent from noise.

    In each step the image is shifted at random by a few cells, moved along its gradient, scaled toward 0 and smoothed.
    This removes patterns of single cells.

    Args:
      model: a network that names its stages.
      units: `(U,)` channels of the stage.
      shape: shape of one image, `(H, W, C)`.
      at: name of the stage; `"head"` has the logits of the classes. The value of a map is its mean.
      steps: number of steps.
      rate: length of a step per cell, as a share of the range of `bounds`.
      jitter: largest shift along each axis, in cells, with wrap-around; 0 for none.
      decay: share by which the image is scaled toward 0 in a step.
      smoothing: standard deviation of the blur after each step, in cells; 0 for none.
      bounds: smallest and largest value, in the scale of the network's inputs; they broadcast to the image.
      seed: seed of the noise and the shifts.

    Returns:
      The images `(U, *shape)`, and the values of the units for them, `(U,)`.

    Raises:
      ValueError: if there is no such stage or unit, or the shape is not that of a picture.

    Source: Erhan et al. 2009; Simonyan et al. 2014, section 2; jitter, Mordvintsev et al. 2015.
    """
    if len(shape) != 3:
        raise ValueError(f"`shape` must be a picture's, (H, W, C); got {shape}.")
    for name, count in {"steps": steps, "jitter": jitter, "seed": seed}.items():
        geometry.integer(count, name, minimum=0)
    asked = np.atleast_1d(np.asarray(units))
    dtype = np.float32
    channels = expect_stage(stage_shapes(model, np.zeros((1, *shape), dtype)), at)[-1]
    for unit in asked.tolist():
        _expect_unit(unit, channels)
    graph, state = taken_apart(model)
    low, high = (np.array(bound, dtype, ndmin=4) for bound in bounds)  # JAX's rank promotion may be set to refuse
    random = np.random.default_rng(seed)
    noise = random.standard_normal((len(asked), *shape)).astype(dtype)
    images = (low + high) / 2 + 0.05 * (high - low) * noise
    blurs = [_blur(size, smoothing, dtype) for size in shape[:2]]
    for shift in random.integers(-jitter, jitter + 1, (steps, 2)):
        ascended = _ascend(
            graph, state, images, at, asked, shift, rate * (high - low), dtype(1 - decay), blurs, low, high
        )
        images = np.asarray(ascended)
    return images, np.asarray(_unit_values(graph, state, images, at, asked))


def _blur(size: int, deviation: float, dtype: Any) -> np.ndarray:
    """The matrix that blurs an axis of this size.

    Its rows sum to 1.
    """
    places = np.arange(size)
    weights = np.exp(-((places[:, None] - places) ** 2) / (2 * max(deviation, 1e-3) ** 2))
    return (weights / weights.sum(1, keepdims=True)).astype(dtype)


@partial(jax.jit, static_argnums=(0, 3))
def _unit_values(graph: Any, state: nnx.State, images: jax.Array, at: str, units: ArrayLike) -> jax.Array:
    maps = stage_of(graph, state, images, at)
    means = maps.reshape(len(maps), -1, maps.shape[-1]).mean(1)
    return jnp.take_along_axis(means, jnp.asarray(units)[:, None], 1)[:, 0]


@partial(jax.jit, static_argnums=(0, 3))
def _ascend(graph, state, images, at, units, shift, length, kept, blurs, low, high):
    moved = jnp.roll(images, shift, (1, 2))
    slope = jax.grad(lambda x: _unit_values(graph, state, x, at, units).sum())(moved)
    size = jnp.sqrt(jnp.mean(slope**2, (1, 2, 3), keepdims=True))
    moved = kept * (moved + length * slope / jnp.maximum(size, 1e-12))
    down, right = blurs
    moved = jnp.einsum("hH,nHWc,wW->nhwc", down, moved, right)
    return jnp.roll(jnp.clip(moved, low, high), -shift, (1, 2))
