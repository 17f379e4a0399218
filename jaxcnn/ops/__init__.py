"""Pure functions on arrays, each with its hand-written gradient."""

from jaxcnn.ops import filters, onednn
from jaxcnn.ops.activations import (
    dropout,
    leaky_relu,
    prelu,
    relu,
    scaled_tanh,
    sigmoid,
    signum,
    softmax,
    tanh,
    unit_step,
)
from jaxcnn.ops.conv import conv, conv_general_dilated
from jaxcnn.ops.field_pool import adaptive_avg_pool, adaptive_max_pool, blur_pool, global_avg_pool, global_max_pool
from jaxcnn.ops.local import conv_transpose, depthwise_conv, locally_connected, separable_conv
from jaxcnn.ops.losses import binary_cross_entropy, mean_squared_error, softmax_cross_entropy
from jaxcnn.ops.lrn import local_response_norm
from jaxcnn.ops.norm import batch_norm, batch_norm_relu
from jaxcnn.ops.pool import avg_pool, lp_pool, subsample
from jaxcnn.ops.stage import conv_relu_pool, relu_max_pool
from jaxcnn.ops.switches import max_pool
from jaxcnn.ops.unpool import max_pool_with_switches, max_unpool

__all__ = [
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "avg_pool",
    "batch_norm",
    "batch_norm_relu",
    "binary_cross_entropy",
    "blur_pool",
    "conv",
    "conv_general_dilated",
    "conv_relu_pool",
    "conv_transpose",
    "depthwise_conv",
    "dropout",
    "filters",
    "global_avg_pool",
    "global_max_pool",
    "leaky_relu",
    "local_response_norm",
    "locally_connected",
    "lp_pool",
    "max_pool",
    "max_pool_with_switches",
    "max_unpool",
    "mean_squared_error",
    "onednn",
    "prelu",
    "relu",
    "relu_max_pool",
    "scaled_tanh",
    "separable_conv",
    "sigmoid",
    "signum",
    "softmax",
    "softmax_cross_entropy",
    "subsample",
    "tanh",
    "unit_step",
]
