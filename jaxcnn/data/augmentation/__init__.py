"""Random changes of training pictures, on the device: keyed, pure, one example at a time."""

from jaxcnn.data.augmentation.augmentation import Augmentation
from jaxcnn.data.augmentation.names import AUGMENTATIONS

__all__ = ["AUGMENTATIONS", "Augmentation"]
