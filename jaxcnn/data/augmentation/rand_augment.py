"""RandAugment: a few of fourteen operations (Cubuk et al. 2020).

All have the same magnitude.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.data.augmentation import colors
from jaxcnn.data.augmentation.examples import Examples, column
from jaxcnn.data.augmentation.warps import affine_places, matrices, warp, warp_masks

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "contrast",
    "saturation",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)


def rand_augment(examples: Examples, operations: int, magnitude: float) -> Examples:
    """Applies `operations` of the fourteen to each example, in turn.

    They are drawn with repetition. Magnitude 10 is torchvision's strongest: shear 0.3, translation by 150/331 of the
    side, rotation by 30 degrees, brightness, contrast, saturation and sharpness 0.1 or 1.9, 4 bits, every value
    inverted.
    """
    share, images, masks = magnitude / 10, examples.images, examples.masks

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        which_key, sign_key = jax.random.split(key)
        signs = jax.random.rademacher(sign_key, (operations,), jnp.float32)
        return jax.random.randint(which_key, (operations,), 0, len(OPERATIONS), jnp.int32), signs

    which, signs = jax.vmap(draw)(examples.keys)
    for place in range(operations):
        images = lax.optimization_barrier(images)  # or XLA computes one operation again inside the next
        drawn, signed = which[:, place], share * signs[:, place]
        images = apply(images, drawn, signed, share, examples.fill)
        if masks is not None:
            masks = warp_masks(masks, *source_places(drawn, signed, *masks.shape[1:]))
    return examples._replace(images=images, masks=masks)


def source_places(which: jax.Array, signed: jax.Array, height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Computes the source of each new pixel.

    Operations on colors move none. The arguments are those of `apply`.
    """

    def where(name: str, value: jax.Array) -> jax.Array:
        return jnp.where(which == OPERATIONS.index(name), value, 0)

    matrix = matrices(
        where("rotate", math.radians(30) * signed), where("shear_x", 0.3 * signed), where("shear_y", 0.3 * signed)
    )
    reach = jnp.round(jnp.array([[height, width]], jnp.float32) * signed[:, None] * (150 / 331))
    move = jnp.stack([where("translate_y", reach[:, 0]), where("translate_x", reach[:, 1])], -1)
    return affine_places(matrix, move, height, width)


def apply(images: jax.Array, which: jax.Array, signed: jax.Array, share: float, fill: jax.Array) -> jax.Array:
    """Applies one operation to each picture.

    All operations are computed for every picture, since a batch has one program.

    Args:
      images: `(B, H, W, C)`.
      which: `(B,)` int32, numbers in `OPERATIONS`.
      signed: `(B,)`, the magnitude from -1 to 1, for operations with a sign.
      share: the magnitude from 0 to 1, for the others.
      fill: `(C,)`.

    Returns:
      `(B, H, W, C)`.
    """
    factor = 1 + 0.9 * signed
    results = {
        "brightness": colors.brightness(images, factor),
        "contrast": colors.contrast(images, factor),
        "saturation": colors.saturation(images, factor),
        "sharpness": colors.sharpness(images, factor),
        "posterize": colors.posterize(images, 8 - round(4 * share)),
        "solarize": colors.solarize(images, 255 * (1 - share)),
        "autocontrast": colors.autocontrast(images),
    }
    warped = warp(images, *source_places(which, signed, *images.shape[1:3]), fill)
    # the two that look up stay apart from the rest, or XLA's CPU backend merges all into one slow loop
    warped, results["equalize"] = lax.optimization_barrier((warped, colors.equalize(images)))
    first, last = OPERATIONS.index("shear_x"), OPERATIONS.index("rotate")
    changed = jnp.where(column((first <= which) & (which <= last)), warped, images)
    for name, result in results.items():
        changed = jnp.where(column(which == OPERATIONS.index(name)), result, changed)
    return changed
