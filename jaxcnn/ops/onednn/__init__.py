"""Convolution on CPU by oneDNN, where that is installed and built."""

from jaxcnn.ops.onednn.backend import available, build, reason
from jaxcnn.ops.onednn.conv import conv

__all__ = ["available", "build", "conv", "reason"]
