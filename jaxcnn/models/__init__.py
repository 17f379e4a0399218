"""The networks, one paper a file, and their registry."""

from jaxcnn.models.lenet import LeNet5
from jaxcnn.models.mlp import MLP
from jaxcnn.models.registry import MODELS, create
from jaxcnn.models.summary import LayerRow, Summary, summary

__all__ = [
    "LayerRow",
    "LeNet5",
    "MLP",
    "MODELS",
    "Summary",
    "create",
    "summary",
]
