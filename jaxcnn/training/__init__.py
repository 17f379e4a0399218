"""Configuration, steps, the loop, and run folders."""

from jaxcnn.training.claim import read_description
from jaxcnn.training.compilation import keep_compiled
from jaxcnn.training.config import TrainConfig
from jaxcnn.training.evaluation import Evaluation, Views, answers_to, evaluate, in_batches, predict
from jaxcnn.training.files import CheckpointError, write_atomically
from jaxcnn.training.log import read_log
from jaxcnn.training.loop import TrainResult, fit, make_augmentation, print_epoch
from jaxcnn.training.memory import keep_memory
from jaxcnn.training.metrics import NonFiniteError
from jaxcnn.training.parallel import Layout, initialize, is_first, leave
from jaxcnn.training.recipes import RECIPES, Recipe
from jaxcnn.training.run_folder import restore_model

__all__ = [
    "CheckpointError",
    "Evaluation",
    "Layout",
    "NonFiniteError",
    "RECIPES",
    "Recipe",
    "TrainConfig",
    "TrainResult",
    "Views",
    "answers_to",
    "evaluate",
    "fit",
    "in_batches",
    "initialize",
    "is_first",
    "keep_compiled",
    "keep_memory",
    "leave",
    "make_augmentation",
    "predict",
    "print_epoch",
    "read_description",
    "read_log",
    "restore_model",
    "write_atomically",
]
