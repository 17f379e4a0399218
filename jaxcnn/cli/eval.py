"""`jaxcnn eval`."""

import dataclasses
from pathlib import Path

import tyro

from jaxcnn import data, training
from jaxcnn.cli.runs import matched, open_run, told


@dataclasses.dataclass(frozen=True)
class Eval:
    """Evaluate a run's network over every example of a split; classes are found by their names."""

    run: tyro.conf.Positional[Path]
    """Run folder, or file of weights."""
    split: str = "test"
    """Split of the data set."""
    data: str | None = None
    """Data set; default that of the run."""
    data_dir: Path | None = None
    """Folder of the data set's files; default $JAXCNN_DATA_DIR."""
    image_size: int | None = None
    """Bring pictures to this height and width; default those of the run."""
    allow_empty: bool = False
    """Take classes that have no picture to train on."""
    views: training.Views = "one"
    """What to average over: the picture, its mirror image, small shifts of both."""

    def __call__(self) -> None:
        """Prints loss and accuracy."""
        run = open_run(self.run)
        name = run.data_name(self.data)
        size = self.image_size or (run.image_shape[0] if name.startswith("folder:") else None)
        dataset = data.load(name, self.split, self.data_dir, image_size=size, allow_empty=self.allow_empty)
        dataset, how = matched(run, dataset)
        for note in (*dataset.notes, *filter(None, [how])):
            print(note)
        found = training.evaluate(
            run.model, dataset, run.scaling, loss=run.loss, views=self.views, augmentation=run.augmentation
        )
        print(f"{dataset.name} {dataset.split}: {told(found)}")
