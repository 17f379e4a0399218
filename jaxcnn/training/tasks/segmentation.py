"""Segmentation: one class for each pixel."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcnn import ops
from jaxcnn.data.labels import IGNORED, check_masks
from jaxcnn.training.tasks.task import Sums, Task


@dataclasses.dataclass(frozen=True)
class Segmentation(Task):
    """One class for each pixel.

    The targets are `(N, H, W)`, numbers of classes; the outputs are logits of a softmax over the classes, `(N, H, W,
    K)`. Pixels of 255 do not count, neither in the loss nor in the metrics. Predictions are numbers of classes.

    Mean IoU is the mean over the classes of the pixels that are of the class in truth and prediction, over those that
    are of it in either. A class that is in neither is left out.

    Args:
      loss: `"cross_entropy"`, the mean over the pixels of an example; `"dice"`, as `ops.dice_loss`; or
        `"cross_entropy_dice"`, their sum.
      label_smoothing: the share of every target that is spread evenly over the classes; only with `"cross_entropy"`.

    Raises:
      ValueError: if labels are smoothed for another loss.
    """

    loss: str = "cross_entropy"
    label_smoothing: float = 0.0

    name: ClassVar[str] = "segmentation"
    LOSSES: ClassVar[tuple[str, ...]] = ("cross_entropy", "dice", "cross_entropy_dice")
    METRICS: ClassVar[tuple[str, ...]] = ("mean_iou", "pixel_accuracy")
    final: ClassVar[Any] = "softmax"
    counts_mixed: ClassVar[bool] = True
    of_pixels: ClassVar[bool] = True

    def __post_init__(self):
        """Checks that labels are smoothed for the cross-entropy only."""
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ValueError(
                f"`label_smoothing` needs the loss cross_entropy; got {self.label_smoothing} with {self.loss}."
            )

    def check_targets(self, targets: np.ndarray, examples: int, title: str) -> None:
        """Checks that the targets are masks, one for each example."""
        check_masks(targets, examples, title)

    def check_outputs(self, shape: tuple[int, ...], names: Sequence[str], labels: np.ndarray, title: str) -> None:
        """Checks for logits of each pixel, and labels among the classes."""
        if len(shape) != 4 or shape[-1] != len(names):
            raise ValueError(
                f"`model` must give logits of {len(names)} classes for each pixel, (N, H, W, {len(names)}), as unet "
                f"and fcn do; got outputs of shape {shape}."
            )
        if not 2 <= len(names) <= IGNORED:
            raise ValueError(f"`classes` of {title} must be from 2 to {IGNORED}; got {len(names)}.")
        check_masks(labels, len(labels), title, len(names))

    def losses(self, outputs: jax.Array, targets: ArrayLike) -> jax.Array:
        """Computes one loss per example, over the pixels that count."""
        labels = jnp.asarray(targets).astype(jnp.int32)
        loss = jnp.zeros(outputs.shape[:1], outputs.dtype)
        if self.loss != "dice":
            options = {"label_smoothing": self.label_smoothing, "ignore_index": IGNORED}
            pixels = ops.softmax_cross_entropy(outputs, labels, **options)
            count = jnp.sum(labels != IGNORED, (1, 2))
            loss += jnp.sum(pixels, (1, 2)) / jnp.maximum(count, 1).astype(pixels.dtype)
        if self.loss != "cross_entropy":
            loss += ops.dice_loss(outputs, labels, ignore_index=IGNORED)
        return loss

    def evaluated(self) -> "Segmentation":
        """Returns the task without smoothing."""
        return dataclasses.replace(self, label_smoothing=0.0)

    def shown(self, labels: ArrayLike, classes: int) -> jax.Array:
        """Returns the masks, which move with their pictures."""
        return jnp.asarray(labels).astype(jnp.uint8)

    def counts(self, outputs: jax.Array, targets: ArrayLike) -> Sums:
        """Counts the pixels of each class: right, predicted and true."""
        counts = confusion(outputs, targets)
        return {"right": jnp.diagonal(counts), "predicted": jnp.sum(counts, 0), "true": jnp.sum(counts, 1)}

    def progress(self, counts: dict[str, Any], examples: int) -> dict[str, float]:
        """Computes mean IoU and pixel accuracy."""
        right, predicted, true = (np.asarray(counts[name], np.float64) for name in ("right", "predicted", "true"))
        return _metrics(right, predicted, true)

    def sums(self, outputs: jax.Array, targets: ArrayLike, counted: ArrayLike) -> Sums:
        """Counts the pixels by true and predicted class."""
        kept = jnp.where(jnp.asarray(counted)[:, None, None], jnp.asarray(targets).astype(jnp.int32), IGNORED)
        return {"confusion": confusion(outputs, kept)}

    def metrics(
        self, sums: dict[str, Any], outputs: np.ndarray | None, targets: np.ndarray, names: Sequence[str]
    ) -> dict[str, float]:
        """Computes the metrics from the counts of all pixels."""
        counts = np.asarray(sums["confusion"], np.float64)
        return _metrics(np.diagonal(counts), counts.sum(0), counts.sum(1))

    def answers(self, outputs: jax.Array) -> jax.Array:
        """Computes the class of each pixel, `(N, H, W)` uint8."""
        return jnp.argmax(outputs, -1).astype(jnp.uint8)


def confusion(outputs: jax.Array, targets: ArrayLike) -> jax.Array:
    """Counts pixels by true and predicted class, without ignored ones.

    Args:
      outputs: `(N, H, W, K)` logits.
      targets: `(N, H, W)` integers.

    Returns:
      `(K, K)` int32, true classes along the first axis.
    """
    classes = outputs.shape[-1]
    true, said = jnp.asarray(targets).astype(jnp.int32), jnp.argmax(outputs, -1).astype(jnp.int32)
    pairs = jnp.where(true < classes, true * classes + said, classes * classes)  # the last is dropped
    counts = jnp.zeros(classes * classes, jnp.int32).at[pairs.ravel()].add(1, mode="drop")
    return counts.reshape(classes, classes)


def ious(right: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Computes the IoU of each class from counts of pixels.

    Args:
      right: `(K,)`, pixels of the class in truth and prediction.
      predicted: `(K,)`, pixels predicted as the class.
      true: `(K,)`, pixels of the class.

    Returns:
      `(K,)` float64; NaN for a class that is in neither.
    """
    either = np.asarray(predicted + true - right, np.float64)
    return np.divide(right, either, out=np.full(either.shape, np.nan), where=either > 0)


def _metrics(right: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    if not true.sum():  # no pixel counts
        return {}
    return {
        "mean_iou": float(np.nanmean(ious(right, predicted, true))),
        "pixel_accuracy": float(right.sum() / true.sum()),
    }
