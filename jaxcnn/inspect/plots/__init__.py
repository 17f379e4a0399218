"""Figures of what a network computes and has learned.

Each function returns a matplotlib figure.
"""

from jaxcnn.inspect.plots import style
from jaxcnn.inspect.plots.arithmetic.architecture import architecture
from jaxcnn.inspect.plots.arithmetic.classic_filters import correlation_and_convolution, filtered_pictures
from jaxcnn.inspect.plots.arithmetic.counts import costs, shared_counts
from jaxcnn.inspect.plots.arithmetic.matrices import convolution_as_matrix, pool_as_matrix
from jaxcnn.inspect.plots.arithmetic.receptive_fields import effective_fields, receptive_fields
from jaxcnn.inspect.plots.arithmetic.sliding_window import sliding_animation, sliding_steps, sliding_window
from jaxcnn.inspect.plots.attribution.attributions import attributions, randomization_curves, randomization_maps
from jaxcnn.inspect.plots.detection.found import found_boxes, score_maps
from jaxcnn.inspect.plots.diagnostics.calibration import calibration
from jaxcnn.inspect.plots.diagnostics.confusion import confusion_matrix
from jaxcnn.inspect.plots.diagnostics.learning_curves import compared_curves, learning_curves
from jaxcnn.inspect.plots.diagnostics.rate_range import rate_range
from jaxcnn.inspect.plots.diagnostics.segmentations import segmentations
from jaxcnn.inspect.plots.diagnostics.settings import parallel_settings
from jaxcnn.inspect.plots.diagnostics.shifts import shift_consistencies, shift_curves, shifted_pictures
from jaxcnn.inspect.plots.diagnostics.values import predicted_values
from jaxcnn.inspect.plots.examples import augmented, labeled_images, prediction
from jaxcnn.inspect.plots.pixels import pixels
from jaxcnn.inspect.plots.representations.feature_maps import feature_maps
from jaxcnn.inspect.plots.representations.filters import filters
from jaxcnn.inspect.plots.representations.maximization import maximized, most_exciting
from jaxcnn.inspect.plots.representations.similarity import components, neighbors
from jaxcnn.inspect.plots.saving import Animation, save

__all__ = [
    "Animation",
    "architecture",
    "attributions",
    "augmented",
    "calibration",
    "compared_curves",
    "components",
    "confusion_matrix",
    "convolution_as_matrix",
    "correlation_and_convolution",
    "costs",
    "effective_fields",
    "feature_maps",
    "filtered_pictures",
    "filters",
    "found_boxes",
    "labeled_images",
    "learning_curves",
    "maximized",
    "most_exciting",
    "neighbors",
    "parallel_settings",
    "pixels",
    "pool_as_matrix",
    "predicted_values",
    "prediction",
    "randomization_curves",
    "randomization_maps",
    "rate_range",
    "receptive_fields",
    "save",
    "score_maps",
    "segmentations",
    "shared_counts",
    "shift_consistencies",
    "shift_curves",
    "shifted_pictures",
    "sliding_animation",
    "sliding_steps",
    "sliding_window",
    "style",
]
