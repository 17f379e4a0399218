"""The digits that come with scikit-learn."""

import hashlib
from functools import lru_cache

import numpy as np

from jaxcnn.data.dataset import Dataset

DIGITS = tuple("0123456789")
SPLITS = ("train", "validation", "test")
_DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def read_digits(split: str) -> Dataset:
    """Reads scikit-learn's 1,797 digits, in the form of MNIST.

    They are 8x8 there, and split 80/10/10.
    """
    images, labels = _upscaled_digits()
    order = np.random.RandomState(1989).permutation(len(labels))  # a frozen stream: the split never changes
    edges = [0, round(0.8 * len(order)), round(0.9 * len(order)), len(order)]
    position = SPLITS.index(split)
    chosen = order[edges[position] : edges[position + 1]]
    return Dataset(images[chosen], labels[chosen], DIGITS, "digits", split)


@lru_cache(maxsize=1)
def _upscaled_digits() -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image
    from sklearn.datasets import load_digits

    raw, labels = load_digits(return_X_y=True)
    small = raw.reshape(-1, 8, 8).astype(np.uint8)
    checksum = hashlib.sha256(small.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    if checksum != _DIGITS_SHA256:
        raise ValueError(f"scikit-learn's digits must have SHA-256 {_DIGITS_SHA256}; got {checksum}.")
    images = np.stack([_upscale(Image.fromarray(image.astype(np.float32) * (255 / 16))) for image in small])
    return images[..., None], labels.astype(np.int32)


def _upscale(image) -> np.ndarray:
    """Converts digits to the form of MNIST.

    A digit is in a box of 20x20, centered in 28x28 cells.
    """
    from PIL import Image

    box = np.asarray(image.resize((20, 20), Image.Resampling.BICUBIC))
    return np.pad(np.clip(np.rint(box), 0, 255).astype(np.uint8), 4)
