"""Reads and writes weights, and opens published ones by name.

The files are those of other libraries, and our own.
"""

from jaxcnn.weights.accuracy import Accuracy, accuracy_on
from jaxcnn.weights.by_name import pretrained
from jaxcnn.weights.comparison import Comparison, StageDifference, compare
from jaxcnn.weights.folders import save_pretrained
from jaxcnn.weights.loading import Report, load
from jaxcnn.weights.opening import open_model
from jaxcnn.weights.published import PRETRAINED, Published
from jaxcnn.weights.runs import run_config
from jaxcnn.weights.saving import save, to_torch
from jaxcnn.weights.schemes import SCHEMES
from jaxcnn.weights.twins import parity

__all__ = [
    "Accuracy",
    "Comparison",
    "PRETRAINED",
    "Published",
    "Report",
    "SCHEMES",
    "StageDifference",
    "accuracy_on",
    "compare",
    "load",
    "open_model",
    "parity",
    "pretrained",
    "run_config",
    "save",
    "save_pretrained",
    "to_torch",
]
