"""`jaxcnn inspect`."""

import dataclasses
from pathlib import Path

import tyro

from jaxcnn import data, inspect
from jaxcnn.cli.progress import counting
from jaxcnn.cli.runs import Run, known_examples, open_run
from jaxcnn.data import Dataset
from jaxcnn.inspect.pages.image_page import SECTIONS


@dataclasses.dataclass(frozen=True)
class Inspect:
    """Write a page on what a network does with a picture."""

    run: tyro.conf.Positional[Path]
    """Run folder, file of weights, or name of published weights: resnet50, timm/resnet50.a1_in1k."""
    picture: tyro.conf.Positional[Path]
    """Picture file."""
    out: Path | None = None
    """HTML file to write; None means inspect-PICTURE.html in the run folder, or beside the file of weights,
    or in the current folder for published weights."""
    invert: bool = False
    """Invert light and dark, for example for dark digits on white paper."""
    data_dir: Path | None = None
    """Folder of the data set's files, for examples to compare with; None means $JAXCNN_DATA_DIR."""

    def __call__(self) -> None:
        """Writes the page."""
        run = open_run(self.run)
        if len(run.image_shape) != 3:
            name = run.description["data"].get("name")
            raise ValueError(f"`run` must be of a network for pictures; got one for {name}, shape {run.image_shape}.")
        if run.task.name != "classification":
            raise ValueError(f"`run` must have the task classification; the task of {self.run} is {run.task.name}.")
        read = data.read_picture(self.picture, run.image_shape, invert=self.invert, preprocessing=run.preprocessing)
        pixels = read.pixels if run.augmentation is None else run.augmentation.center(read.pixels[None])[0]
        beside = run.folder.parent if run.folder.is_file() else run.folder if run.folder.is_dir() else Path()
        examples = self._examples(run)
        with counting(len(SECTIONS)) as observer:
            path = inspect.write_image_page(
                self.out or beside / f"inspect-{self.picture.stem}.html",
                run.model,
                pixels,
                run.scaling,
                run.words,
                name=run.description["model"]["name"],
                image=self.picture.name,
                examples=examples,
                observer=observer,
            )
        changes = f" ({'; '.join(read.changes)})" if read.changes else ""
        print(f"{self.picture}{changes}: page {path}")

    def _examples(self, run: Run) -> Dataset | None:
        """The run's test or validation examples, if they are there.

        There are none if its data set is not available.
        """
        try:
            return known_examples(run, self.data_dir)
        except (OSError, ValueError, ImportError) as error:
            print(f"the page has no examples to compare with: {error}")
            return None
