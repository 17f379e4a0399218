"""Labelled images, and batches as a pure function of seed and step."""

from jaxcnn.data.batches import eval_batches, steps_per_epoch, train_batch
from jaxcnn.data.dataset import Dataset, Scaling, measure_scaling
from jaxcnn.data.idx import read_idx
from jaxcnn.data.sources import SOURCES, load, splits

__all__ = [
    "Dataset",
    "SOURCES",
    "Scaling",
    "eval_batches",
    "load",
    "measure_scaling",
    "read_idx",
    "splits",
    "steps_per_epoch",
    "train_batch",
]
