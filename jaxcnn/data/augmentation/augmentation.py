"""The augmentations of a configuration, as one pure function.

Its arguments are key, epoch and example.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxcnn.data.augmentation.examples import Examples
from jaxcnn.data.augmentation.names import Change, parse

_BYTES = 255.0
_parsed = functools.lru_cache(maxsize=64)(parse)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of training pictures, as named in a configuration.

    Args:
      specs: names from `AUGMENTATIONS`, with values as in `pad_crop=4`, applied in this order; mixtures come last.
      fill: the value outside a picture, one for all channels or one per channel.
      unit: the value of white: 255 for bytes, 1 for floats from 0 to 1.

    Raises:
      ValueError: if an augmentation is unknown, a value is out of range, or a mixture is not last.
    """

    specs: tuple[str, ...] = ()
    """Names from `AUGMENTATIONS`, with values as in `pad_crop=4`, applied in this order; mixtures come last."""
    fill: tuple[float, ...] = (0.0,)
    """The value outside a picture, one for all channels or one per channel; the mean of the data is a good choice."""
    unit: float = 255.0
    """The value of white: 255 for bytes, 1 for floats from 0 to 1."""

    def __post_init__(self):
        """Checks every name and value.

        Raises:
          ValueError: if an augmentation is unknown, a value is out of range, or a mixture is not last.
        """
        if isinstance(self.specs, str):
            raise ValueError(f"`specs` must be a sequence of augmentations; got '{self.specs}'.")
        object.__setattr__(self, "specs", tuple(self.specs))
        object.__setattr__(self, "fill", tuple(map(float, self.fill)))
        if not 0 < self.unit < math.inf:
            raise ValueError(f"`unit` must be positive and finite; got {self.unit}.")
        low, top = (0, self.unit) if self.unit == _BYTES else (-math.inf, math.inf)
        if not self.fill or not all(low <= value <= top and math.isfinite(value) for value in self.fill):
            rule = "from 0 to 255" if self.unit == _BYTES else "that are finite"
            raise ValueError(f"`fill` must hold values {rule}; got {self.fill}.")
        _parsed(self.specs)

    def __call__(
        self, key: jax.Array, epoch: ArrayLike, ids: ArrayLike, images: ArrayLike, targets: ArrayLike
    ) -> tuple[jax.Array, jax.Array]:
        """Changes a batch at random.

        The result for an example depends only on `key`, `epoch`, its number and, for mixtures, its neighbor.

        Args:
          key: the typed key of the step.
          epoch: int32 scalar, counted from 0.
          ids: `(B,)` int32, the numbers of the examples in their split.
          images: `(B, H, W, C)` uint8, or floats where `unit` is white; without `specs`, any shape.
          targets: `(B, classes)` float32; or masks, `(B, H, W)` integers, a class for each pixel.

        Returns:
          The images, `(B, *resized((H, W, C)))` in float32 with the same value of white; and the targets. Pixels of
          masks move with those of the pictures; where a picture is filled or hidden they are 255, and do not count.

        Raises:
          ValueError: if an augmentation does not suit such pictures or targets.
        """
        images, targets = jnp.asarray(images), jnp.asarray(targets)
        if not self.specs:  # words and sounds pass as they are
            return (images.astype(jnp.float32) if images.dtype == jnp.uint8 else images), targets
        self.resized(images.shape[1:])
        masks = targets if targets.ndim == 3 else None
        if masks is not None:
            self.check_masks()
            targets = jnp.zeros((len(images), 0), jnp.float32)
        fill = jnp.broadcast_to(jnp.array(self.fill, jnp.float32), images.shape[-1:])
        ids = jnp.asarray(ids, jnp.int32)
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(ids)
        # other generators draw for a whole vmapped batch from its first key
        keys = jax.random.wrap_key_data(jax.random.key_data(keys)[:, :2], impl="threefry2x32")
        scale = _BYTES / self.unit if any(change.of_colors for change in self._changes) else 1.0
        pictures = images.astype(jnp.float32) if scale == 1 else images.astype(jnp.float32) * scale
        given = Examples(keys, jnp.asarray(epoch, jnp.int32), ids, pictures, targets, fill * scale, masks)
        changed = given
        for number, change in enumerate(self._changes):
            own = jax.vmap(lambda key, number=number: jax.random.fold_in(key, number))(keys)
            # without the barrier XLA computes one change again for every pixel that the next one looks up
            changed = change(changed._replace(keys=own, images=lax.optimization_barrier(changed.images)))
        told = changed.targets if changed.masks is None else changed.masks
        return (changed.images if scale == 1 else changed.images / scale), told

    def center(self, images):
        """Cuts out the middle of the pictures, for evaluation.

        The size is that of training.

        Args:
          images: `(..., H, W, C)`, a NumPy or JAX array.

        Returns:
          `(..., *resized((H, W, C)))`, of the same dtype.

        Raises:
          ValueError: if an augmentation does not suit such pictures.
        """
        if not self.specs:
            return images
        height, width = images.shape[-3:-1]
        new_height, new_width, _ = self.resized(images.shape[-3:])
        top, left = (height - new_height) // 2, (width - new_width) // 2
        return images[..., top : top + new_height, left : left + new_width, :]

    def resized(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Computes the shape of one network input.

        Args:
          shape: `(H, W, C)` of the data set; without `specs`, any shape.

        Returns:
          `(H, W, C)` after the augmentations.

        Raises:
          ValueError: if an augmentation does not suit such pictures.
        """
        if not self.specs:
            return shape
        if len(shape) != 3:
            raise ValueError(f"an augmentation needs pictures (H, W, C); got examples of shape {tuple(shape)}.")
        if len(self.fill) not in (1, shape[2]):
            raise ValueError(f"`fill` must have 1 entry, or one for each of the {shape[2]} channels; got {self.fill}.")
        size = (shape[0], shape[1], shape[2])
        for change in self._changes:
            size = change.resized(size)
        return size

    def check_masks(self) -> None:
        """Checks that every pixel keeps a class of its own.

        Raises:
          ValueError: if an augmentation blends pixels of several pictures.
        """
        for change in self._changes:
            if change.blends:
                raise ValueError(f"`{change.spec}` blends pixels of two classes, and is not for segmentation.")

    def check_range(self, images: Any) -> None:
        """Checks that pictures have values from 0 to `unit`.

        Only changes of color need that.

        Args:
          images: `(N, H, W, C)`, all pictures of a data set; bytes always pass.

        Raises:
          ValueError: if a value is out of this range, and an augmentation changes colors.
        """
        change = next((change for change in self._changes if change.of_colors), None)
        if change is None or images.dtype == np.uint8 or not len(images):
            return
        low, top = float(images.min()), float(images.max())
        if not 0 <= low <= top <= self.unit:
            raise ValueError(
                f"`{change.spec}` needs bytes, or pictures from 0 to {self.unit:g}; got {low:.3g} to {top:.3g}."
            )

    @property
    def _changes(self) -> tuple[Change, ...]:
        return _parsed(self.specs)
