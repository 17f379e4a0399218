"""Flax NNX modules over the ops."""

from jaxcnn.layers.conv import Conv
from jaxcnn.layers.pool import AvgPool, MaxPool

__all__ = [
    "AvgPool",
    "Conv",
    "MaxPool",
]
