"""Reads and writes weights: files of other libraries, and our own."""

from jaxcnn.weights.comparison import Comparison, StageDifference, compare
from jaxcnn.weights.loading import Report, load
from jaxcnn.weights.opening import open_model
from jaxcnn.weights.runs import run_config
from jaxcnn.weights.saving import save, to_torch
from jaxcnn.weights.schemes import SCHEMES

__all__ = [
    "Comparison",
    "Report",
    "SCHEMES",
    "StageDifference",
    "compare",
    "load",
    "open_model",
    "run_config",
    "save",
    "to_torch",
]
