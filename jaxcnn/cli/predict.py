"""`jaxcnn predict`."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import tyro

from jaxcnn import data, training
from jaxcnn.cli.runs import Run, open_run


@dataclasses.dataclass(frozen=True)
class Predict:
    """Classify picture files with a run's network."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    pictures: tyro.conf.Positional[tuple[Path, ...]]
    """Picture files."""
    top: int = 3
    """How many classes to name."""
    invert: bool = False
    """Exchange light and dark, as for dark digits on white paper."""

    def __call__(self) -> int:
        """Prints a line for every picture; files that cannot be read get one on stderr."""
        if not self.pictures:
            raise ValueError("`pictures` must name at least one file; got none.")
        if self.top < 1:
            raise ValueError(f"`top` must be positive; got {self.top}.")
        run = open_run(self.run)
        if len(run.image_shape) != 3:
            name = run.description["data"].get("name")
            raise ValueError(f"`run` must be of a network for pictures; got one for {name}, shape {run.image_shape}.")
        read: list[tuple[Path, data.Picture]] = []
        for path in self.pictures:
            try:
                read.append((path, data.read_picture(path, run.image_shape, invert=self.invert)))
            except (ValueError, OSError) as error:
                print(f"jaxcnn: {error}", file=sys.stderr)
        if read:
            images = np.stack([picture.pixels for _, picture in read])
            rows = training.predict(run.model, images, run.scaling, augmentation=run.augmentation)
            for (path, picture), row in zip(read, rows, strict=True):
                print(_line(path, picture, row, run, self.top))
        return 0 if len(read) == len(self.pictures) else 2


def _line(path: Path, picture: data.Picture, probabilities: np.ndarray, run: Run, top: int) -> str:
    ranked = np.argsort(-probabilities, kind="stable")[:top]
    named = ", ".join(f"{run.classes[i]} {100 * probabilities[i]:.1f} %" for i in ranked)
    changes = f"  ({'; '.join(picture.changes)})" if picture.changes else ""
    return f"{path}: {named}{changes}"
