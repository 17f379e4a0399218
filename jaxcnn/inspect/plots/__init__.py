"""Figures of what a network computes and has learned; each function returns a matplotlib figure."""

from jaxcnn.inspect.plots.confusion import confusion_matrix
from jaxcnn.inspect.plots.filters import filters
from jaxcnn.inspect.plots.learning import learning_curves
from jaxcnn.inspect.plots.maps import feature_maps
from jaxcnn.inspect.plots.pictures import augmented, labelled_images
from jaxcnn.inspect.plots.style import Animation, save

__all__ = [
    "Animation",
    "augmented",
    "confusion_matrix",
    "feature_maps",
    "filters",
    "labelled_images",
    "learning_curves",
    "save",
]
