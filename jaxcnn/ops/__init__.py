"""Pure functions on arrays, each with its hand-written gradient."""

from jaxcnn.ops.activations import relu, tanh
from jaxcnn.ops.conv import conv, conv_general_dilated
from jaxcnn.ops.losses import softmax_cross_entropy
from jaxcnn.ops.pool import avg_pool, max_pool

__all__ = [
    "avg_pool",
    "conv",
    "conv_general_dilated",
    "max_pool",
    "relu",
    "softmax_cross_entropy",
    "tanh",
]
