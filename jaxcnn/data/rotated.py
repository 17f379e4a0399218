"""Rotated digits with their angles as targets: a regression."""

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.digits import SPLITS, read_digits

REACH = 45.0  # degrees, to either side
_COPIES = 4  # of each digit, at its own angle each


def read_rotated_digits(split: str) -> Dataset:
    """Rotates each of the embedded digits by four random angles.

    The targets are the angles in degrees, counterclockwise. The angles are uniform from -45 to 45, drawn for every
    digit from a fixed seed. People slant their digits differently, so no network can predict the angle exactly.
    """
    from PIL import Image

    digits = read_digits(split)
    draw = np.random.default_rng([1958, SPLITS.index(split)])
    angles = draw.uniform(-REACH, REACH, (len(digits.labels), _COPIES)).astype(np.float32)
    turned = [
        np.asarray(Image.fromarray(image[..., 0]).rotate(float(angle), Image.Resampling.BICUBIC))
        for image, own in zip(np.asarray(digits.images), angles, strict=True)
        for angle in own
    ]
    images = np.stack(turned)[..., None]
    return Dataset(images, angles.reshape(-1, 1), ("angle",), "rotated_digits", split, task="regression")
