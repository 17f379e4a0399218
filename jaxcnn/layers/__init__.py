"""Flax NNX modules over the ops."""

from jaxcnn.layers.activation import Activation, PReLU
from jaxcnn.layers.conv import Conv
from jaxcnn.layers.conv_transpose import ConvTranspose
from jaxcnn.layers.inception import Inception
from jaxcnn.layers.linear import Linear
from jaxcnn.layers.norm import BatchNorm, LocalResponseNorm, normalize_and_activate
from jaxcnn.layers.options import OptionArguments, Options
from jaxcnn.layers.pool import AvgPool, MaxPool, activate_and_pool
from jaxcnn.layers.residual import PreActivationBlock, ResidualBlock
from jaxcnn.layers.table import TableConv
from jaxcnn.layers.unit import ConvUnit

__all__ = [
    "Activation",
    "AvgPool",
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "ConvUnit",
    "Inception",
    "Linear",
    "LocalResponseNorm",
    "MaxPool",
    "OptionArguments",
    "Options",
    "PReLU",
    "PreActivationBlock",
    "ResidualBlock",
    "TableConv",
    "activate_and_pool",
    "normalize_and_activate",
]
