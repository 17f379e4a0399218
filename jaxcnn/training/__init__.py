"""Configuration, steps, the loop, and checkpoints."""

from jaxcnn.training.config import TrainConfig
from jaxcnn.training.loop import TrainResult, evaluate, fit, print_epoch
from jaxcnn.training.metrics import Evaluation, NonFiniteError
from jaxcnn.training.step import TrainState, predict

__all__ = [
    "Evaluation",
    "NonFiniteError",
    "TrainConfig",
    "TrainResult",
    "TrainState",
    "evaluate",
    "fit",
    "predict",
    "print_epoch",
]
