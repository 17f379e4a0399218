"""`jaxcnn eval`."""

import dataclasses
from pathlib import Path

import tyro

from jaxcnn import data, training
from jaxcnn.cli.runs import matched, open_run, told


@dataclasses.dataclass(frozen=True)
class Eval:
    """Evaluate a trained network on every example of a split."""

    run: tyro.conf.Positional[Path]
    """Run folder, file of weights, or name of published weights: resnet50, timm/resnet50.a1_in1k."""
    split: str = "test"
    """Split: train, validation or test, as the data set has them."""
    data: str | None = None
    """Data set, whose classes are matched by name; None means that of the run."""
    data_dir: Path | None = None
    """Folder of the data set's files; None means $JAXCNN_DATA_DIR."""
    image_size: int | None = None
    """Height and width that pictures are resized to; None means those of the run."""
    allow_empty: bool = False
    """Accept a data set in which some class has no training picture."""
    views: training.Views = "one"
    """What to average over: the picture; it and its mirror image; small shifts of both too."""

    def __call__(self) -> None:
        """Prints loss and metrics."""
        run = open_run(self.run)
        name = run.data_name(self.data)
        size = run.image_size(name, self.image_size)
        dataset = data.load(name, self.split, self.data_dir, image_size=size, allow_empty=self.allow_empty)
        dataset, how = matched(run, dataset)
        for note in (*dataset.notes, *filter(None, [how])):
            print(note)
        evaluation = training.evaluate(
            run.model, dataset, run.scaling, task=run.task, views=self.views, augmentation=run.augmentation
        )
        print(f"{dataset.name} {dataset.split}: {told(evaluation)}")
