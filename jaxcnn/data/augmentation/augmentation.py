"""A configuration's augmentations as one pure function of key, epoch and example."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxcnn.data.augmentation.examples import Examples
from jaxcnn.data.augmentation.names import Change, parse

_parsed = functools.lru_cache(maxsize=64)(parse)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of training pictures, as named in a configuration."""

    specs: tuple[str, ...] = ()
    """Names out of `AUGMENTATIONS`, with values as in `pad_crop=4`, applied in this order; mixtures come last."""
    fill: tuple[float, ...] = (0.0,)
    """What lies outside a picture, in bytes, one entry or one for each channel; the data's mean is a good choice."""

    def __post_init__(self):
        """Checks every name and value.

        Raises:
          ValueError: if an augmentation is unknown, a value is out of range, or a mixture is not last.
        """
        if isinstance(self.specs, str):
            raise ValueError(f"`specs` must be a sequence of augmentations; got '{self.specs}'.")
        object.__setattr__(self, "specs", tuple(self.specs))
        object.__setattr__(self, "fill", tuple(map(float, self.fill)))
        if not self.fill or not all(0 <= value <= 255 for value in self.fill):
            raise ValueError(f"`fill` must hold values from 0 to 255; got {self.fill}.")
        _parsed(self.specs)

    def __call__(
        self, key: jax.Array, epoch: ArrayLike, ids: ArrayLike, images: ArrayLike, targets: ArrayLike
    ) -> tuple[jax.Array, jax.Array]:
        """Changes a batch; what happens to an example depends on `key`, `epoch`, its number and its neighbour alone.

        Args:
          key: the typed key of the step.
          epoch: int32 scalar, counted from 0.
          ids: `(B,)` int32, the numbers of the examples in their split.
          images: `(B, H, W, C)` uint8, or float32 in the same units; without `specs`, of any shape.
          targets: `(B, classes)` float32.

        Returns:
          Images in float32 and in the units of bytes, of shape `(B, *resized((H, W, C)))`, and targets.

        Raises:
          ValueError: if an augmentation does not suit such pictures.
        """
        images, targets = jnp.asarray(images), jnp.asarray(targets)
        if not self.specs:  # words and sounds pass as they are
            return (images.astype(jnp.float32) if images.dtype == jnp.uint8 else images), targets
        self.resized(images.shape[1:])
        fill = jnp.broadcast_to(jnp.array(self.fill, jnp.float32), images.shape[-1:])
        ids = jnp.asarray(ids, jnp.int32)
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(ids)
        # other generators draw for a whole vmapped batch from its first key
        keys = jax.random.wrap_key_data(jax.random.key_data(keys)[:, :2], impl="threefry2x32")
        given = Examples(keys, jnp.asarray(epoch, jnp.int32), ids, images.astype(jnp.float32), targets, fill)
        changed = given
        for number, change in enumerate(self._changes):
            own = jax.vmap(lambda key, number=number: jax.random.fold_in(key, number))(keys)
            # without the barrier XLA computes one change again for every pixel that the next one looks up
            changed = change(changed._replace(keys=own, images=lax.optimization_barrier(changed.images)))
        return changed.images, changed.targets

    def center(self, images):
        """What evaluation sees: the middle of the pictures, in the size that training sees.

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
        """`(H, W, C)` that the network is fed.

        Args:
          shape: `(H, W, C)` of the data set; without `specs`, any shape.

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

    @property
    def _changes(self) -> tuple[Change, ...]:
        return _parsed(self.specs)
