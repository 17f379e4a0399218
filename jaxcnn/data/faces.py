"""Faces and other pictures, which come with scikit-image."""

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.digits import SPLITS

_PARTS = {"train": slice(0, 60), "validation": slice(60, 80), "test": slice(80, 100)}  # of each of the two kinds
_EACH = 100


def read_faces(split: str) -> Dataset:
    """Reads a split of 100 faces and 100 other pictures.

    The pictures are 25x25 and gray, a part of Labeled Faces in the Wild (Huang et al. 2007), `skimage.data.lfw_subset`.
    The splits have 60, 20 and 20 % of them.

    Raises:
      ModuleNotFoundError: if scikit-image is not installed.
    """
    assert tuple(_PARTS) == SPLITS
    try:
        from skimage.data import lfw_subset
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'faces needs scikit-image, which has them: `pip install "jaxcnn[pictures]"`.', name="skimage"
        ) from None
    pictures = np.rint(255 * lfw_subset()).astype(np.uint8)[..., None]
    order = np.random.RandomState(2007).permutation(_EACH)[_PARTS[split]]  # a frozen stream: the split never changes
    images = np.concatenate([pictures[_EACH + order], pictures[order]])
    labels = np.repeat(np.array([0, 1], np.int32), len(order))
    return Dataset(images, labels, ("other", "face"), "faces", split, task="binary")
