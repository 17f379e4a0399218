"""Configuration, steps, the loop, and run folders."""

from jaxcnn.training.claim import read_description
from jaxcnn.training.compilation import keep_compiled
from jaxcnn.training.config import TrainConfig
from jaxcnn.training.evaluation import Evaluation, answers_to, evaluate, in_batches, predict
from jaxcnn.training.files import CheckpointError, write_atomically
from jaxcnn.training.fit import TrainResult, fit, print_epoch
from jaxcnn.training.log import read_log
from jaxcnn.training.memory import keep_memory
from jaxcnn.training.parallel import Layout, initialize, is_first, leave
from jaxcnn.training.rate_range import RateRange, find_learning_rate
from jaxcnn.training.recipes import RECIPES, Recipe
from jaxcnn.training.run_folder import restore_model
from jaxcnn.training.setup import make_augmentation
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import init_state, load_state, make_step
from jaxcnn.training.tally import NonFiniteError
from jaxcnn.training.tasks import METRICS, TASKS, Metric, Task, settled, task_for, task_of, units_of
from jaxcnn.training.views import Views

__all__ = [
    "CheckpointError",
    "Evaluation",
    "Layout",
    "METRICS",
    "Metric",
    "NonFiniteError",
    "RECIPES",
    "RateRange",
    "Recipe",
    "TASKS",
    "Task",
    "TrainConfig",
    "TrainResult",
    "TrainState",
    "Views",
    "answers_to",
    "evaluate",
    "find_learning_rate",
    "fit",
    "in_batches",
    "init_state",
    "initialize",
    "is_first",
    "keep_compiled",
    "keep_memory",
    "leave",
    "load_state",
    "make_augmentation",
    "make_step",
    "predict",
    "print_epoch",
    "read_description",
    "read_log",
    "restore_model",
    "settled",
    "task_for",
    "task_of",
    "units_of",
    "write_atomically",
]
