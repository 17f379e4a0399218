"""MNIST-1D, signals instead of pictures (Greydanus and Kobak 2020).

The paper is "Scaling down deep learning with MNIST-1D" (arXiv:2011.14439).
"""

import random
from functools import lru_cache

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.digits import DIGITS


def read_mnist1d(split: str) -> Dataset:
    """Generates 4,000 and 1,000 signals, with the authors' package.

    Each has 40 samples.

    Raises:
      ModuleNotFoundError: if `mnist1d` is not installed.
    """
    signals = _generated()
    suffix = {"train": "", "test": "_test"}[split]
    images, labels = signals[f"x{suffix}"], signals[f"y{suffix}"]
    return Dataset(images[..., None].astype(np.float32), labels.astype(np.int32), DIGITS, "mnist1d", split)


@lru_cache(maxsize=1)
def _generated() -> dict:
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'mnist1d needs the generator: `pip install "jaxcnn[mnist1d]"`.', name="mnist1d"
        ) from None
    before = random.getstate(), np.random.get_state()  # it seeds the global streams
    try:
        return make_dataset(get_dataset_args())
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
