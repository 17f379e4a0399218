"""`jaxcnn eval`."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import tyro

from jaxcnn import data, inspect, training
from jaxcnn.cli import class_table
from jaxcnn.cli.runs import Run, check_place, matched, open_run, told
from jaxcnn.data import Dataset


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
    mistakes: int = 5
    """Number of mistakes to list, the most confident first, with their files; 0 lists none."""
    out: Path | None = None
    """JSON file for all results, with the confusion matrix (of segmentation that of pixels), and all mistakes."""

    def __call__(self) -> None:
        """Prints loss and metrics, each class's results, the most confident mistakes."""
        if self.mistakes < 0:
            raise ValueError(f"`mistakes` must not be negative; got {self.mistakes}.")
        if self.out is not None and self.out.suffix != ".json":
            raise ValueError(f"`out` must end in .json; got {self.out}.")
        check_place(self.out)
        run = open_run(self.run)
        name = run.data_name(self.data)
        size = run.image_size(name, self.image_size)
        how = {"image_size": size, "allow_empty": self.allow_empty, "task": run.task.name}
        how["division"] = run.division(name, self.data_dir)
        dataset = data.load(name, self.split, self.data_dir, **how)
        dataset, how = matched(run, dataset)
        for note in (*dataset.notes, *filter(None, [how])):
            print(note)
        evaluation = training.evaluate(
            run.model, dataset, run.scaling, task=run.task, views=self.views, augmentation=run.augmentation
        )
        print(f"{dataset.name} {dataset.split}: {told(evaluation)}")
        every = {"data": dataset.name, "split": dataset.split, "loss": evaluation.loss, "count": evaluation.count}
        every |= evaluation.metrics
        if run.task.of_classes:
            every |= self._by_class(run, dataset)
        if run.task.of_pixels:
            report = inspect.pixel_report(evaluation.sums["confusion"], run.classes)
            print(*class_table.pixel_lines(report), sep="\n")
            every |= class_table.pixels_as_json(report)
        if self.out is not None:
            training.write_atomically(self.out, json.dumps(every, ensure_ascii=False, indent=1) + "\n")
            print(f"written {self.out}")

    def _by_class(self, run: Run, dataset: Dataset) -> dict[str, Any]:
        """Prints each class's results and the most confident mistakes; returns all."""
        probabilities = training.predict(
            run.model, dataset.images, run.scaling, views=self.views, augmentation=run.augmentation, task=run.task
        )
        report = inspect.class_report(probabilities, dataset.labels, run.classes)
        print(*class_table.lines(report), sep="\n")
        wrong = class_table.mistakes(dataset, probabilities)
        if wrong and self.mistakes:
            print("most confident mistakes:")
        for one in wrong[: self.mistakes]:
            print(f"  {one['example']}: {one['true']} as {one['predicted']}, {100 * one['probability']:.1f} %")
        calibrated = inspect.calibration(probabilities, dataset.labels).error
        return {"calibration_error": calibrated, **class_table.as_json(report), "mistakes": wrong}
