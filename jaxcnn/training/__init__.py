"""Configuration, steps, the loop, and run folders."""

from jaxcnn.training.config import TrainConfig
from jaxcnn.training.loop import TrainResult, evaluate, fit, print_epoch
from jaxcnn.training.metrics import Evaluation, NonFiniteError, read_log, write_atomically
from jaxcnn.training.run_folder import read_description, restore_model
from jaxcnn.training.step import predict

__all__ = [
    "Evaluation",
    "NonFiniteError",
    "TrainConfig",
    "TrainResult",
    "evaluate",
    "fit",
    "predict",
    "print_epoch",
    "read_description",
    "read_log",
    "restore_model",
    "write_atomically",
]
