"""Random changes of training pictures, computed on the device.

They are pure functions of a random key.
"""

from jaxcnn.data.augmentation.augmentation import Augmentation
from jaxcnn.data.augmentation.names import AUGMENTATIONS

__all__ = ["AUGMENTATIONS", "Augmentation"]
