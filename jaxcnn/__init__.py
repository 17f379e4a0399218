"""Convolutional networks in JAX with hand-written, proven and fast gradients."""

from importlib.metadata import version as _version

from jaxcnn import check, data, export, geometry, inspect, layers, models, ops, training, weights
from jaxcnn.by_hand import by_hand

__version__ = _version("jaxcnn")

__all__ = [
    "by_hand",
    "check",
    "data",
    "export",
    "geometry",
    "inspect",
    "layers",
    "models",
    "ops",
    "training",
    "weights",
]
