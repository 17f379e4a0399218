"""Compares two implementations of a network stage by stage."""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import models


class StageDifference(NamedTuple):
    """The difference of one stage from the reference.

    Args:
      stage: name of the stage.
      shape: shape of our activations.
      absolute: the largest difference.
      relative: the largest difference divided by the largest value of the reference.
      parts: whether the relative difference is above the tolerance.
    """

    stage: str
    shape: tuple[int, ...]
    absolute: float
    relative: float
    parts: bool


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The stages that both implementations have, in our order.

    They print as a table.

    Args:
      rows: the difference of each stage.
      tolerance: the largest relative difference allowed.
    """

    rows: tuple[StageDifference, ...]
    tolerance: float

    @property
    def first(self) -> str | None:
        """The first stage whose difference is above the tolerance, or None."""
        return next((row.stage for row in self.rows if row.parts), None)

    def __str__(self) -> str:
        wide = max(len("stage"), *(len(row.stage) for row in self.rows))
        shapes = max(len("shape"), *(len(str(row.shape)) for row in self.rows))
        lines = [f"{'stage':{wide}s}  {'shape':{shapes}s}  {'absolute':>9s}  {'relative':>9s}"]
        for row in self.rows:
            mark = "  parts" + (" first" if row.stage == self.first else "") if row.parts else ""
            lines.append(
                f"{row.stage:{wide}s}  {str(row.shape):{shapes}s}  {row.absolute:9.2e}  {row.relative:9.2e}{mark}"
            )
        verdict = f"the first to part is {self.first}" if self.first else "none parts"
        return "\n".join([*lines, f"relative tolerance {self.tolerance:g}: {verdict}"])


def compare(
    model: models.Network,
    reference_activations: Mapping[str, ArrayLike],
    *,
    channels_first: bool = False,
    tolerance: float = 1e-4,
) -> Comparison:
    """Compares a network's stages with those of another implementation.

    Both get the same images.

    Args:
      model: the network; it is used in evaluation mode and stays unchanged.
      reference_activations: the images as `"images"`, and the activations that the other implementation computed from
        them, by the names of our stages; missing stages are skipped.
      channels_first: whether images and activations are `(N, C, *spatial)`, as in PyTorch.
      tolerance: the largest difference allowed, as a share of the largest value of the reference.

    Returns:
      The differences by stage; another shape or a NaN is always above the tolerance.

    Raises:
      ValueError: if the images are missing, there is nothing to compare, or a name is not that of a stage.
    """
    reference = {name: _channels_last(np.asarray(x), channels_first) for name, x in reference_activations.items()}
    images = reference.pop("images", None)
    if images is None or not reference:
        given = ", ".join(reference) or "nothing else"
        raise ValueError(f"`reference_activations` must hold 'images' and stages; got {given}.")
    copy = nnx.clone(model)
    copy.eval()
    graph, state = nnx.split(copy)
    order: list[str] = []  # a dictionary out of `jit` is sorted by name

    @jax.jit
    def run(state: nnx.State, x: jax.Array) -> dict[str, jax.Array]:
        _, stages = nnx.merge(graph, state)(x, capture=True)
        order.extend(stages)
        return stages

    ours = run(state, images)
    unknown = sorted(set(reference) - set(ours))
    if unknown:
        raise ValueError(f"`reference_activations` must name stages, {', '.join(order)}; got {', '.join(unknown)}.")
    rows = [_row(name, np.asarray(ours[name]), reference[name], tolerance) for name in order if name in reference]
    return Comparison(tuple(rows), tolerance)


def _row(stage: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> StageDifference:
    if ours.shape != theirs.shape:
        return StageDifference(stage, ours.shape, math.inf, math.inf, True)
    theirs = theirs.astype(np.float64)
    absolute = float(np.max(np.abs(ours.astype(np.float64) - theirs), initial=0.0))
    largest = float(np.max(np.abs(theirs), initial=0.0))
    relative = absolute / largest if largest else (math.inf if absolute else 0.0)
    return StageDifference(stage, ours.shape, absolute, relative, not relative <= tolerance)


def _channels_last(x: np.ndarray, channels_first: bool) -> np.ndarray:
    return np.moveaxis(x, 1, -1) if channels_first and x.ndim > 2 else x
