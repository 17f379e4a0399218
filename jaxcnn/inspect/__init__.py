"""What a trained network holds and does."""

from jaxcnn.inspect.matrices import convolution_matrix, im2col, pool_matrix
from jaxcnn.inspect.report import write_report

__all__ = [
    "convolution_matrix",
    "im2col",
    "pool_matrix",
    "write_report",
]
