"""Analyzes what a trained network has learned.

It shows its activations, receptive fields, attributions, features and mistakes.
"""

from importlib import import_module as _import_module

from jaxcnn.inspect.arithmetic.classic_filters import Filtered, apply_filters, classic_filters, sample_picture
from jaxcnn.inspect.arithmetic.counts import Cost, Shared, costs, shared_counts
from jaxcnn.inspect.arithmetic.matrices import convolution_matrix, im2col, pool_matrix
from jaxcnn.inspect.arithmetic.sliding_window import Slide, slide
from jaxcnn.inspect.attribution.class_maps import class_activation_map, grad_cam
from jaxcnn.inspect.attribution.gradients import (
    by_cell,
    completeness,
    deconvnet,
    gradient,
    guided_backprop,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from jaxcnn.inspect.attribution.occlusion import occlusion, spread_windows
from jaxcnn.inspect.attribution.randomization import Randomization, randomization_check
from jaxcnn.inspect.attribution.relu_rules import with_rules
from jaxcnn.inspect.detection.average_precision import AveragePrecision, Truth, average_precision
from jaxcnn.inspect.detection.find import Found, ScoreMap, find, scan
from jaxcnn.inspect.detection.pyramid import Level, pyramid
from jaxcnn.inspect.diagnostics.calibration import Calibration, calibration, misclassified
from jaxcnn.inspect.diagnostics.class_report import ClassReport, class_report
from jaxcnn.inspect.diagnostics.pixel_report import PixelReport, pixel_report
from jaxcnn.inspect.diagnostics.shifts import ShiftCurve, shift_consistency, shift_curve, shifted
from jaxcnn.inspect.pages.image_page import write_image_page
from jaxcnn.inspect.pages.report import write_report
from jaxcnn.inspect.representations.extraction import Pool, features
from jaxcnn.inspect.representations.maximization import Exciting, maximize, most_exciting
from jaxcnn.inspect.representations.probes import PCA, Neighbors, Probe, neighbors, pca, probe
from jaxcnn.inspect.stages import (
    EffectiveField,
    activations,
    effective_fields,
    first_kernel,
    receptive_fields,
    stages_of,
)

__all__ = [
    "AveragePrecision",
    "Calibration",
    "ClassReport",
    "Cost",
    "EffectiveField",
    "Exciting",
    "Filtered",
    "Found",
    "Level",
    "Neighbors",
    "PCA",
    "PixelReport",
    "Pool",
    "Probe",
    "Randomization",
    "ScoreMap",
    "Shared",
    "ShiftCurve",
    "Slide",
    "Truth",
    "activations",
    "apply_filters",
    "average_precision",
    "by_cell",
    "calibration",
    "class_activation_map",
    "class_report",
    "classic_filters",
    "completeness",
    "convolution_matrix",
    "costs",
    "deconvnet",
    "effective_fields",
    "features",
    "find",
    "first_kernel",
    "grad_cam",
    "gradient",
    "guided_backprop",
    "im2col",
    "integrated_gradients",
    "maximize",
    "misclassified",
    "most_exciting",
    "neighbors",
    "occlusion",
    "pca",
    "pixel_report",
    "pool_matrix",
    "probe",
    "pyramid",
    "randomization_check",
    "receptive_fields",
    "saliency",
    "sample_picture",
    "scan",
    "shared_counts",
    "shift_consistency",
    "shift_curve",
    "shifted",
    "slide",
    "smooth_grad",
    "spread_windows",
    "stages_of",
    "with_rules",
    "write_image_page",
    "write_report",
]


def __getattr__(name: str) -> object:
    """Imports `plots`, which needs matplotlib, at its first use."""
    if name == "plots":
        return _import_module("jaxcnn.inspect.plots")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
