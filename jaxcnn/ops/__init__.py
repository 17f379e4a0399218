"""Pure functions on arrays, each with its hand-written gradient."""

import warnings as _warnings
from typing import Any as _Any

from jaxcnn.ops import filters, native
from jaxcnn.ops.activations import scaled_tanh, sigmoid, softmax, tanh
from jaxcnn.ops.boxes import box_iou, giou_loss, non_maximum_suppression
from jaxcnn.ops.conv import conv, conv_general_dilated
from jaxcnn.ops.conv.relatives import conv_transpose, depthwise_conv, locally_connected, separable_conv
from jaxcnn.ops.dice import dice_loss
from jaxcnn.ops.dropout import dropout
from jaxcnn.ops.flatten import flatten
from jaxcnn.ops.linear import linear
from jaxcnn.ops.losses import binary_cross_entropy, mean_squared_error, softmax_cross_entropy
from jaxcnn.ops.norm.batch import batch_norm, batch_norm_relu
from jaxcnn.ops.norm.lrn import local_response_norm
from jaxcnn.ops.pool.any_layout import reduce_window_max
from jaxcnn.ops.pool.field import adaptive_avg_pool, adaptive_max_pool, blur_pool, global_avg_pool, global_max_pool
from jaxcnn.ops.pool.max import max_pool
from jaxcnn.ops.pool.rectified import conv_relu_pool, relu_max_pool
from jaxcnn.ops.pool.sums import avg_pool, lp_pool, subsample
from jaxcnn.ops.pool.unpool import max_pool_with_switches, max_unpool
from jaxcnn.ops.rectifiers import leaky_relu, prelu, relu
from jaxcnn.ops.residual import bottleneck_block, residual_block
from jaxcnn.ops.squared_losses import half_squared_error, huber_loss
from jaxcnn.ops.steps import signum, unit_step

__all__ = [
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "avg_pool",
    "batch_norm",
    "batch_norm_relu",
    "binary_cross_entropy",
    "blur_pool",
    "bottleneck_block",
    "box_iou",
    "conv",
    "conv_general_dilated",
    "conv_relu_pool",
    "conv_transpose",
    "depthwise_conv",
    "dice_loss",
    "dropout",
    "filters",
    "flatten",
    "giou_loss",
    "global_avg_pool",
    "global_max_pool",
    "half_squared_error",
    "huber_loss",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "locally_connected",
    "lp_pool",
    "max_pool",
    "max_pool_with_switches",
    "max_unpool",
    "mean_squared_error",
    "native",
    "non_maximum_suppression",
    "prelu",
    "reduce_window_max",
    "relu",
    "relu_max_pool",
    "residual_block",
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


def __getattr__(name: str) -> _Any:
    if name == "onednn":  # for one release
        _warnings.warn("jaxcnn.ops.onednn is now called jaxcnn.ops.native.", DeprecationWarning, stacklevel=2)
        return native
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
