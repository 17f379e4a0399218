"""Convolution.

It has the public functions (`api`), the rule (`rule`), and the implementations (`select`, `lowerings`).
"""

from jaxcnn.ops.conv.api import METHODS, Method, conv, conv_general_dilated
from jaxcnn.ops.rule import Rule

__all__ = ["METHODS", "Method", "Rule", "conv", "conv_general_dilated"]
