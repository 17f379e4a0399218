"""Convolutional networks in JAX whose every gradient is written by hand, proven, and fast."""

from importlib.metadata import version as _version

from jaxcnn import check, data, export, geometry, inspect, layers, models, ops, training, weights

__version__ = _version("jaxcnn")

__all__ = [
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
