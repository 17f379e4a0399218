"""Checks whether maps ignore the weights.

It compares those of a network with those of randomized copies.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import geometry, models
from jaxcnn.inspect.attribution.class_maps import grad_cam
from jaxcnn.inspect.attribution.gradients import (
    by_cell,
    deconvnet,
    gradient,
    guided_backprop,
    integrated_gradients,
    smooth_grad,
)
from jaxcnn.inspect.functions import Model, name_of
from jaxcnn.inspect.scores import expect_some, expected
from jaxcnn.ops.arrays import choice

Method = Callable[[Model, Any, Any], Any]


def edges(model: Model, images: ArrayLike, targets: ArrayLike | None = None) -> np.ndarray:
    """Computes the image's edges, which do not depend on the network.

    Args:
      model: ignored.
      images: `(N, H, W, C)`.
      targets: ignored.

    Returns:
      `(N, H, W)`, the length of the mean channel's gradient over space.
    """
    del model, targets
    return np.hypot(*np.gradient(np.asarray(images).mean(-1), axis=(1, 2)))


METHODS: Mapping[str, Method] = {
    "gradient": gradient,
    "SmoothGrad": lambda model, images, targets: smooth_grad(model, images, targets, samples=8),
    "integrated gradients": lambda model, images, targets: integrated_gradients(model, images, targets, steps=16),
    "guided backprop": guided_backprop,
    "deconvnet": deconvnet,
    "Grad-CAM": grad_cam,
    "edges": edges,
}


class Randomization(NamedTuple):
    """The similarity of a network's maps to its randomized copies' maps.

    Args:
      layers: `"none"`, then the lowest layer of each group, from the head down.
      order: as in `randomization_check`.
      rank: for each method, `(layers,)` mean Spearman correlations of the magnitudes of the maps.
      ssim: for each method, `(layers,)` mean structural similarities of these magnitudes.
      maps: for each method, `(layers, H, W)` magnitudes for the first image.
    """

    layers: tuple[str, ...]
    order: str
    rank: dict[str, np.ndarray]
    ssim: dict[str, np.ndarray]
    maps: dict[str, np.ndarray]

    def ignoring(self, threshold: float = 0.5) -> tuple[str, ...]:
        """Lists the methods that ignore the weights.

        Args:
          threshold: a method ignores the weights if its last rank correlation is above this.

        Returns:
          The names of the methods.
        """
        return tuple(name for name, row in self.rank.items() if row[1:].min() > threshold)


def randomization_check(
    model: nnx.Module,
    images: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    methods: Mapping[str, Method] | None = None,
    order: Literal["cascading", "independent"] = "cascading",
    groups: int = 6,
    seed: int = 0,
) -> Randomization:
    """Compares maps of a network and of its randomized copies.

    The layers of the copies are randomized. A map that explains what the network learned must change when the weights
    are destroyed. A layer is randomized by a shuffle of the values of each of its parameters, which keeps their
    distribution.

    Args:
      model: the network; it stays unchanged.
      images: scaled inputs of the network, `(N, H, W, C)`.
      targets: classes to explain; by default those that the unchanged network predicts.
      methods: by name, functions of network, images and targets that return maps `(N, h, w)` or `(N, h, w, C)`; by
        default those of this package that apply, and the edges of the images, which ignore the network.
      order: `"cascading"`, all layers from the head down to a group; `"independent"`, only one group of layers.
      groups: largest number of groups of neighboring layers.
      seed: seed of the shuffles.

    Returns:
      The similarities of the maps.

    Raises:
      TypeError: if the network is not a Flax NNX module.
      ValueError: if the images are not pictures, or an option is unknown.

    Source: Adebayo et al. 2018, "Sanity checks for saliency maps".
    """
    choice("order", order, ("cascading", "independent"))
    geometry.integer(groups, "groups")
    geometry.integer(seed, "seed", minimum=0)
    if not isinstance(model, nnx.Module):
        raise TypeError(f"`model` must be a Flax NNX module, whose layers are known; got {name_of(model)}.")
    _, x, classes = expected(model, images, targets)
    if x.ndim != 4:
        raise ValueError(f"`images` must be pictures, (N, H, W, C); got shape {x.shape}.")
    expect_some(x)
    methods = _applicable(model, x, classes) if methods is None else methods
    names = [row.name for row in models.summary(model, (1, *x.shape[1:])).rows if row.parameters][::-1]
    parts = [part for part in np.array_split(np.array(names, object), min(groups, len(names))) if len(part)]
    random = np.random.default_rng(seed)
    graph, state = nnx.split(nnx.clone(model, variables=False))
    twins, changed = [model], state
    for part in parts:
        changed = _shuffled(state if order == "independent" else changed, list(part), random)
        twins.append(nnx.merge(graph, changed))
    rank, ssim, maps = {}, {}, {}
    for name, method in methods.items():
        magnitudes = [_magnitudes(method(twin, x, classes), x.shape[1:3]) for twin in twins]
        rank[name] = np.array([np.mean(list(map(_rank_correlation, magnitudes[0], other))) for other in magnitudes])
        ssim[name] = np.array([np.mean(list(map(structural_similarity, magnitudes[0], other))) for other in magnitudes])
        maps[name] = np.stack([each[0] for each in magnitudes])
    lowest = (part[-1].removesuffix(".conv").removesuffix(".norm") for part in parts)
    return Randomization(("none", *lowest), order, rank, ssim, maps)


def _applicable(model: nnx.Module, images: jax.Array, classes: np.ndarray) -> dict[str, Method]:
    """The methods that accept the network."""
    applicable = {}
    for name, method in METHODS.items():
        try:
            method(model, images, classes)
        except ValueError:
            continue
        applicable[name] = method
    return applicable


def _shuffled(state: nnx.State, names: list[str], random: np.random.Generator) -> nnx.State:
    """A copy in which the parameters of these layers are shuffled.

    The values of each parameter are shuffled among themselves.
    """
    flat = dict(nnx.to_flat_state(state))
    for path, variable in flat.items():
        inside = any("/".join(map(str, path)).startswith(f"{name}/") for name in names)
        if inside and isinstance(variable, nnx.Param):
            before = variable[...]
            values = random.permutation(np.asarray(before).reshape(-1)).reshape(before.shape)
            # placed as it was, so that what was compiled for the network serves its twins
            after = jax.device_put(values, before.sharding) if before.committed else jnp.asarray(values)
            flat[path] = variable.replace(after)
    return nnx.from_flat_state(flat)


def _magnitudes(maps: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Magnitudes `(N, H, W)`; the largest of each map is 1."""
    magnitudes = np.asarray(by_cell(maps) if np.ndim(maps) == 4 else np.abs(maps), np.float64)
    down, right = map(_stretch, magnitudes.shape[1:], shape)
    magnitudes = down @ magnitudes @ right.T
    return magnitudes / np.maximum(magnitudes.max((1, 2), keepdims=True), np.finfo(np.float32).tiny)


def _stretch(size: int, wanted: int) -> np.ndarray:
    """The matrix `(wanted, size)` that stretches an axis by linear interpolation.

    It interpolates between the centers of the cells.
    """
    places = (np.arange(wanted) + 0.5) * size / wanted - 0.5
    return np.stack([np.interp(places, np.arange(size), row) for row in np.eye(size)], -1)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation; 0 if a map is constant."""
    from scipy.stats import spearmanr

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    correlation: Any = spearmanr(a.reshape(-1), b.reshape(-1))
    return float(correlation.statistic)


def structural_similarity(a: np.ndarray, b: np.ndarray, window: int = 7) -> float:
    """Computes the mean structural similarity of two maps.

    Their values are from 0 to 1.

    Args:
      a: `(H, W)`.
      b: a map of the same shape.
      window: side of the square over which means and variances are computed; odd. Smaller maps have a smaller one.

    Returns:
      The similarity; 1 for equal maps.

    Equal to scikit-image's `structural_similarity`, which would be one more package to install, with ten of its own.

    Source: Wang et al. 2004, equation 13, with a uniform window and sample variances.
    """
    from scipy.ndimage import uniform_filter

    window = min(window, *(side - 1 + side % 2 for side in a.shape))

    def mean(values: np.ndarray) -> np.ndarray:
        down, right = (slice(window // 2, side - window // 2) for side in a.shape)
        return uniform_filter(values, window)[down, right]

    sample = window**2 / max(window**2 - 1, 1)
    of_a, of_b = mean(a), mean(b)
    spread_a, spread_b = sample * (mean(a * a) - of_a**2), sample * (mean(b * b) - of_b**2)
    shared = sample * (mean(a * b) - of_a * of_b)
    small, smaller = 0.01**2, 0.03**2
    alike = (2 * of_a * of_b + small) * (2 * shared + smaller)
    return float((alike / ((of_a**2 + of_b**2 + small) * (spread_a + spread_b + smaller))).mean())
