"""What a trained network holds and does."""

from jaxcnn.inspect.counts import Cost, Shared, costs, shared_counts
from jaxcnn.inspect.filtering import Filtered, apply_filters, classic_filters, sample_picture
from jaxcnn.inspect.image_page import write_image_page
from jaxcnn.inspect.matrices import convolution_matrix, im2col, pool_matrix
from jaxcnn.inspect.report import write_report
from jaxcnn.inspect.sliding import Slide, slide
from jaxcnn.inspect.stages import EffectiveField, activations, effective_fields, first_kernel, receptive_fields

__all__ = [
    "Cost",
    "EffectiveField",
    "Filtered",
    "Shared",
    "Slide",
    "activations",
    "apply_filters",
    "classic_filters",
    "convolution_matrix",
    "costs",
    "effective_fields",
    "first_kernel",
    "im2col",
    "pool_matrix",
    "receptive_fields",
    "sample_picture",
    "shared_counts",
    "slide",
    "write_image_page",
    "write_report",
]
