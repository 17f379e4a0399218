"""Exports networks for other programs, optionally smaller and simpler."""

from jaxcnn.export.fold import fold_batch_norm
from jaxcnn.export.inference import Final, Weights
from jaxcnn.export.quantize import quantize
from jaxcnn.export.recipe import recipe
from jaxcnn.export.report import Exported
from jaxcnn.export.to_onnx import onnx
from jaxcnn.export.to_stablehlo import stablehlo

__all__ = [
    "Exported",
    "Final",
    "Weights",
    "fold_batch_norm",
    "onnx",
    "quantize",
    "recipe",
    "stablehlo",
]
