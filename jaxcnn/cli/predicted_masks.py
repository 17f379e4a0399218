"""Writes the masks that a network predicts as picture files."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from jaxcnn.cli.runs import Run
from jaxcnn.data.labels import IGNORED
from jaxcnn.data.mask_colors import in_picture, mask_colors, seen_part
from jaxcnn.data.masks import picture_size
from jaxcnn.training.files import naming


class MaskWriter:
    """Writes a mask for each picture, in the picture's size.

    Args:
      folder: the folder of the masks, made if it is missing.
      run: the network's run.
    """

    def __init__(self, folder: Path, run: Run):
        self._folder, self._run = folder, run
        self._taken: set[Path] = set()
        with naming(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, picture: Path, mask: np.ndarray) -> None:
        """Writes the mask of a picture under its name, as PNG.

        The values are numbers of classes, and a palette gives each class its color.

        Args:
          picture: the file of the picture.
          mask: `(H, W)` uint8, the classes of the network's pixels.

        Raises:
          ValueError: if the file would replace a picture.
        """
        from PIL import Image

        place = self._place(picture)
        height, width, channels = self._run.image_shape
        top, left = (height - mask.shape[0]) // 2, (width - mask.shape[1]) // 2
        fed = np.full((height, width), IGNORED, np.uint8)  # a crop of the training has cut out the middle
        fed[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        size = picture_size(picture)
        part = seen_part(size, (height, width), cut=channels == 3, fed=self._run.preprocessing)
        image = Image.fromarray(in_picture(fed, size, part))
        image.putpalette(mask_colors().tobytes())
        with naming(place):
            image.save(place)

    def _place(self, picture: Path) -> Path:
        name, number = picture.stem, 1
        place = self._folder / f"{name}.png"
        while place in self._taken:
            number += 1
            place = self._folder / f"{name}-{number}.png"
        if place.exists() and place.samefile(picture):
            raise ValueError(f"`masks` must be another folder than that of the pictures; {place} is a picture.")
        self._taken.add(place)
        return place


def shares(masks: Iterable[np.ndarray], classes: int) -> list[np.ndarray]:
    """Computes the share of each class in each mask."""
    return [np.bincount(mask.ravel(), minlength=classes) / mask.size for mask in masks]
