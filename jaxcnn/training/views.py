"""The views of a picture over which an evaluation averages."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from jaxcnn.training.objective import at_least_float32
from jaxcnn.training.tasks.task import Task

Views = Literal["one", "flip", "flip_shift"]


def check_views(views: str, task: Task | None = None) -> None:
    """Checks that views are known, and possible for a task.

    Raises:
      ValueError: if they are not.
    """
    if views not in get_args(Views):
        raise ValueError(f"`views` must be one of {', '.join(get_args(Views))}; got {views!r}.")
    if task is not None and task.of_pixels and views == "flip_shift":
        raise ValueError(f"`views` must be one or flip for the task {task.name!r}; got {views!r}.")


def mean_logits(network: Callable[[Any], jax.Array], images: jax.Array, views: Views, task: Task) -> jax.Array:
    """Computes the mean of a network's outputs over views.

    Outputs for pixels of a mirror image are mirrored back.
    """
    outputs = [at_least_float32(network(image)) for image in _views(images, views)]
    if task.of_pixels and views == "flip":
        outputs[1] = outputs[1][:, :, ::-1]
    return jnp.stack(outputs).mean(0)


def _views(images: jax.Array, views: Views) -> list[jax.Array]:
    if views == "one":
        return [images]
    if images.ndim != 4:
        raise ValueError(f"`views` {views!r} needs pictures, (N, H, W, C); got shape {images.shape}.")
    seen = [images]
    if views == "flip_shift":
        height, width = images.shape[1:3]
        wide = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
        seen += [wide[:, at : at + height, at : at + width] for at in (0, 2)]
    return seen + [image[:, :, ::-1] for image in seen]
