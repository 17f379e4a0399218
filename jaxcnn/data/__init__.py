"""Labeled examples, and batches by seed and step."""

from jaxcnn.data.augmentation import AUGMENTATIONS, Augmentation
from jaxcnn.data.batches import Batch, batches_ahead, eval_batches, steps_per_epoch, train_batch
from jaxcnn.data.dataset import Dataset, Scaling, measure_scaling, symmetric_scaling
from jaxcnn.data.division import Division
from jaxcnn.data.duplicates import near_duplicates
from jaxcnn.data.idx import read_idx
from jaxcnn.data.imagenet import ClassTree, imagenet_classes
from jaxcnn.data.listing import pictures_below
from jaxcnn.data.pictures import SUFFIXES, Picture, read_inputs, read_picture
from jaxcnn.data.prefetch import mapped_ahead
from jaxcnn.data.preprocessing import Preprocessing
from jaxcnn.data.sources import SOURCES, load, resizes, splits
from jaxcnn.data.streams import PictureFiles, Stream
from jaxcnn.data.text import encode, make_vocabulary

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Batch",
    "ClassTree",
    "Dataset",
    "Division",
    "Picture",
    "PictureFiles",
    "Preprocessing",
    "SOURCES",
    "SUFFIXES",
    "Scaling",
    "Stream",
    "batches_ahead",
    "encode",
    "eval_batches",
    "imagenet_classes",
    "load",
    "make_vocabulary",
    "mapped_ahead",
    "measure_scaling",
    "near_duplicates",
    "pictures_below",
    "read_idx",
    "read_inputs",
    "read_picture",
    "resizes",
    "splits",
    "steps_per_epoch",
    "symmetric_scaling",
    "train_batch",
]
