"""The tasks that a network can be trained for."""

from jaxcnn.training.tasks.choosing import TASKS, settled, task_for, task_of, units_of, usual_task
from jaxcnn.training.tasks.classification import Classification
from jaxcnn.training.tasks.labels import Binary, MultiLabel
from jaxcnn.training.tasks.regression import Regression
from jaxcnn.training.tasks.segmentation import Segmentation
from jaxcnn.training.tasks.task import METRICS, Metric, Task

__all__ = [
    "Binary",
    "Classification",
    "METRICS",
    "Metric",
    "MultiLabel",
    "Regression",
    "Segmentation",
    "TASKS",
    "Task",
    "settled",
    "task_for",
    "task_of",
    "units_of",
    "usual_task",
]
