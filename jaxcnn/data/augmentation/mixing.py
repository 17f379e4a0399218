"""Mixtures of pairs of examples in a batch.

Both pictures and targets are mixed. Example `i` is mixed with its neighbor `i ^ 1`, so that pairs stay on one device.
Each of the two draws its own share and position. If the number of examples is odd, the last one is not mixed.
"""

import jax
import jax.numpy as jnp

from jaxcnn.data.augmentation.examples import Examples, boxes, column


def mixup(examples: Examples, alpha: float) -> Examples:
    """Takes the weighted mean with the neighbor (Zhang et al. 2018).

    The weights are from Beta(alpha, alpha).
    """
    share = _shares(examples.keys, alpha)
    images, targets = _partners(examples.images), _partners(examples.targets)
    return examples._replace(
        images=images + column(share) * (examples.images - images),
        targets=targets + share[:, None] * (examples.targets - targets),
    )


def cutmix(examples: Examples, alpha: float) -> Examples:
    """Pastes a box from the neighbor (Yun et al. 2019).

    Its share of the area is from Beta(alpha, alpha). The box has the proportions of the picture, and its center may be
    any pixel. The targets are mixed by the area of the box inside the picture; masks are pasted with the pictures.
    """
    height, width = examples.images.shape[1:3]
    size = jnp.array([height, width], jnp.int32)
    keys = jax.vmap(jax.random.split)(examples.keys)
    side = jnp.sqrt(1 - _shares(keys[:, 0], alpha))[:, None]
    extents = jnp.floor(side * size.astype(jnp.float32)[None, :]).astype(jnp.int32)
    middles = jax.vmap(lambda key: jax.random.randint(key, (2,), 0, size, jnp.int32))(keys[:, 1])
    corners, ends = middles - extents // 2, middles + extents // 2
    pasted = boxes(corners, ends, height, width)
    share = jnp.mean(pasted, (1, 2, 3), dtype=jnp.float32)[:, None]
    targets, masks = _partners(examples.targets), examples.masks
    if masks is not None:
        masks = jnp.where(pasted[..., 0], _partners(masks), masks)
    return examples._replace(
        images=jnp.where(pasted, _partners(examples.images), examples.images),
        targets=examples.targets + share * (targets - examples.targets),
        masks=masks,
    )


def _shares(keys: jax.Array, alpha: float) -> jax.Array:
    return jax.vmap(lambda key: jax.random.beta(key, alpha, alpha, (), jnp.float32))(keys)


def _partners(values: jax.Array) -> jax.Array:
    """Exchanges neighbors."""
    even = len(values) // 2 * 2
    pairs = values[:even].reshape(even // 2, 2, *values.shape[1:])
    return jnp.concatenate([pairs[:, ::-1].reshape(even, *values.shape[1:]), values[even:]])
