"""Figures of what a network computes and has learned; each function returns a matplotlib figure."""

from jaxcnn.inspect.plots import style
from jaxcnn.inspect.plots.architecture import architecture
from jaxcnn.inspect.plots.attributions import attributions, randomization_curves, randomization_maps
from jaxcnn.inspect.plots.confusion import confusion_matrix
from jaxcnn.inspect.plots.counts import costs, shared_counts
from jaxcnn.inspect.plots.exciting import maximized, most_exciting
from jaxcnn.inspect.plots.fields import effective_fields, receptive_fields
from jaxcnn.inspect.plots.filtering import correlation_and_convolution, filtered_pictures
from jaxcnn.inspect.plots.filters import filters
from jaxcnn.inspect.plots.learning import learning_curves
from jaxcnn.inspect.plots.likeness import components, neighbors
from jaxcnn.inspect.plots.maps import feature_maps
from jaxcnn.inspect.plots.matrices import convolution_as_matrix, pool_as_matrix
from jaxcnn.inspect.plots.pictures import augmented, labeled_images, prediction
from jaxcnn.inspect.plots.shifting import shift_consistencies, shift_curves, shifted_pictures
from jaxcnn.inspect.plots.sliding import sliding_animation, sliding_steps, sliding_window
from jaxcnn.inspect.plots.style import Animation, save
from jaxcnn.inspect.plots.trusting import calibration

__all__ = [
    "Animation",
    "architecture",
    "attributions",
    "augmented",
    "calibration",
    "components",
    "confusion_matrix",
    "convolution_as_matrix",
    "correlation_and_convolution",
    "costs",
    "effective_fields",
    "feature_maps",
    "filtered_pictures",
    "filters",
    "labeled_images",
    "learning_curves",
    "maximized",
    "most_exciting",
    "neighbors",
    "pool_as_matrix",
    "prediction",
    "randomization_curves",
    "randomization_maps",
    "receptive_fields",
    "save",
    "shared_counts",
    "shift_consistencies",
    "shift_curves",
    "shifted_pictures",
    "sliding_animation",
    "sliding_steps",
    "sliding_window",
    "style",
]
