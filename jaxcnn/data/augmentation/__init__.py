"""Random changes of training pictures: pure functions of a random key, computed on the device."""

from jaxcnn.data.augmentation.augmentation import Augmentation
from jaxcnn.data.augmentation.names import AUGMENTATIONS

__all__ = ["AUGMENTATIONS", "Augmentation"]
