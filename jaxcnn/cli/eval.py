"""`jaxcnn eval`."""

import dataclasses
from pathlib import Path

import tyro

from jaxcnn import data, training
from jaxcnn.cli.runs import open_run


@dataclasses.dataclass(frozen=True)
class Eval:
    """Evaluate a run's network over every example of a split."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    split: str = "test"
    """Split of the data set."""
    data: str | None = None
    """Data set; default that of the run."""
    data_dir: Path | None = None
    """Folder of the data set's files; default $JAXCNN_DATA_DIR."""

    def __call__(self) -> None:
        """Prints loss and accuracy."""
        run = open_run(self.run)
        dataset = data.load(self.data or run.description["data"]["name"], self.split, self.data_dir)
        found = training.evaluate(run.model, dataset, run.scaling, loss=run.loss)
        right = round(found.accuracy * found.count)
        print(
            f"{dataset.name} {dataset.split}: accuracy {100 * found.accuracy:.2f} % ({right} of {found.count}), "
            f"error {100 - 100 * found.accuracy:.2f} %, loss {found.loss:.4f}"
        )
