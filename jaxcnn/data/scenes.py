"""Makes scenes: several of the embedded digits on one canvas.

The split, the seed and the number determine a scene.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.digits import DIGITS, SPLITS, read_digits

SIZE = 48  # pixels of a side
_COUNTS = {"train": 4000, "validation": 500, "test": 500}
_MOST = 4  # digits in a scene
_SIDES = (16, 24)  # pixels of a digit's box, the least and the first that is too large
_INK = 64  # what is as bright belongs to a digit
_TRIES = 20


class Scene(NamedTuple):
    """Digits on a canvas.

    Args:
      picture: `(48, 48, 1)` uint8.
      mask: `(48, 48)` uint8, 0 for the ground, and for the ink of a digit its number plus 1.
      present: `(10,)` int32, 1 for every digit that is in the picture.
    """

    picture: np.ndarray
    mask: np.ndarray
    present: np.ndarray


def make_scene(split: str, number: int, seed: int = 0) -> Scene:
    """Makes a scene of one to four digits.

    The digits do not overlap, and have several sizes and shades; the background is noisy.

    Args:
      split: the split of the embedded digits from which its digits come.
      number: number of the scene, from 0.
      seed: seed of all scenes.

    Returns:
      The scene; it depends on the arguments only.
    """
    from PIL import Image

    digits = _digits(split)
    draw = np.random.default_rng([seed, SPLITS.index(split), number])
    canvas = np.zeros((SIZE, SIZE), np.float32)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    free = np.ones((SIZE, SIZE), bool)
    present = np.zeros(len(DIGITS), np.int32)
    for _ in range(draw.integers(1, _MOST + 1)):
        place, side = int(draw.integers(len(digits.labels))), int(draw.integers(*_SIDES))
        shade = draw.uniform(0.6, 1.0)
        corners = draw.integers(0, SIZE - side + 1, (_TRIES, 2))
        fitting = [(row, column) for row, column in corners if free[row : row + side, column : column + side].all()]
        if not fitting:
            continue  # the first digit always fits
        row, column = fitting[0]
        box = slice(row, row + side), slice(column, column + side)
        whole = Image.fromarray(digits.images[place, 4:-4, 4:-4, 0])  # its box of 20x20
        ink = np.asarray(whole.resize((side, side), Image.Resampling.BICUBIC), np.float32)
        canvas[box], free[box] = shade * ink, False
        label = int(digits.labels[place])
        mask[box] = np.where(ink >= _INK, label + 1, 0)
        present[label] = 1
    ground = draw.uniform(0, 48) + draw.normal(0, 8, canvas.shape)
    picture = np.clip(np.rint(np.maximum(canvas, ground)), 0, 255).astype(np.uint8)
    return Scene(picture[..., None], mask, present)


def read_scenes(split: str) -> Dataset:
    """Makes the scenes of a split, labeled with the digits shown.

    The splits have 4,000, 500 and 500 scenes.
    """
    pictures, _, present = _made(split)
    return Dataset(pictures, present, DIGITS, "scenes", split, task="multi_label")


def read_scene_masks(split: str) -> Dataset:
    """Makes the scenes of a split, labeled pixel by pixel.

    The classes are the ground, and the ten digits for their ink.
    """
    pictures, masks, _ = _made(split)
    return Dataset(pictures, masks, ("ground", *DIGITS), "scene_masks", split, task="segmentation")


@lru_cache(maxsize=3)
def _digits(split: str) -> Dataset:
    return read_digits(split)


@lru_cache(maxsize=3)
def _made(split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scenes = [make_scene(split, number) for number in range(_COUNTS[split])]
    pictures, masks, present = (np.stack(part) for part in zip(*scenes, strict=True))
    return pictures, masks, present
