"""`jaxcnn features`."""

import contextlib
import csv
import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from jaxcnn import data, inspect
from jaxcnn.cli.progress import working
from jaxcnn.cli.runs import Run, check_classes, check_place, matched, open_run
from jaxcnn.data import Dataset
from jaxcnn.inspect import Probe
from jaxcnn.training.files import naming

_NAMES = {"knn": "nearest neighbors", "svm": "linear SVM", "logistic": "logistic regression", "rbf": "SVM, RBF kernel"}


@dataclasses.dataclass(frozen=True)
class Features:
    """Compute and save a stage's features, and fit classifiers to them."""

    run: tyro.conf.Positional[Path]
    """Run folder, file of weights, or name of published weights: resnet50, timm/resnet50.a1_in1k."""
    at: str
    """Name of the stage, for example conv2; the error for a wrong name lists them all."""
    probe: tuple[Literal["knn", "svm", "logistic", "rbf"], ...] = ()
    """Classifiers to fit and test, on the features and, to compare, on the pixels."""
    data: str | None = None
    """Data set; None means that of the run."""
    data_dir: Path | None = None
    """Folder of the data set's files; None means $JAXCNN_DATA_DIR."""
    image_size: int | None = None
    """Height and width that pictures are resized to; None means those of the run."""
    allow_empty: bool = False
    """Accept a data set in which some class has no training picture."""
    limit: int | None = None
    """Number of examples to take from the start of each split; None takes all."""
    pool: inspect.Pool = "mean"
    """What is kept of each feature map: its mean, its maximum, or every cell (flatten)."""
    pca: int | None = None
    """Number of principal components of the training examples to project the features on; None: no projection."""
    neighbors: int = 5
    """Number of neighbors that vote, for knn."""
    out: Path | None = None
    """File to write the features to: .npz or .csv."""

    def __call__(self) -> None:
        """Prints the probes' table, saves the features."""
        if not self.probe and self.out is None:
            raise ValueError("`probe` or `out` must be given; got neither.")
        if self.out is not None and self.out.suffix not in (".npz", ".csv"):
            raise ValueError(f"`out` must end in .npz or .csv; got {self.out}.")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"`limit` must be positive; got {self.limit}.")
        check_place(self.out)
        run = open_run(self.run)
        check_classes(run, "`features`")
        name = run.data_name(self.data)
        size = run.image_size(name, self.image_size)
        division = run.division(name, self.data_dir)
        there = data.splits(name, self.data_dir, division=division)
        names = ("train", "test" if "test" in there else "validation")
        how = {"image_size": size, "allow_empty": self.allow_empty, "division": division}
        splits = _in_classes(run, {split: data.load(name, split, self.data_dir, **how) for split in names})
        if self.limit is not None:
            splits = {split: examples.take(self.limit) for split, examples in splits.items()}
        how = {"scaling": run.scaling, "pool": self.pool, "augmentation": run.augmentation}
        with working("images", sum(len(examples.labels) for examples in splits.values())) as work:
            rows = {
                split: inspect.features(run.model, examples.images, self.at, observer=work.advance, **how)
                for split, examples in splits.items()
            }
        if self.pca is not None:
            pca = inspect.pca(rows["train"], self.pca)
            rows = {split: pca(values) for split, values in rows.items()}
            print(f"{self.pca} principal components hold {100 * pca.explained.sum():.1f} % of the variance")
        counts = ", ".join(f"{len(values):,} {split}" for split, values in rows.items())
        print(f"{self.at}: {rows['train'].shape[1]} features of {counts} examples of {name}")
        if self.probe:
            self._print_probes(rows, splits)
        if self.out is not None:
            save(self.out, rows, splits)
            print(f"features {self.out}")

    def _print_probes(self, rows: dict[str, np.ndarray], splits: dict[str, Dataset]) -> None:
        train, test = splits.values()
        pixels = tuple(np.asarray(examples.images) for examples in splits.values())
        stopped = False
        print(f"{'test accuracy':<20}  {self.at:>10}   {'pixels' if train.images.ndim == 4 else 'input':>10}")
        for kind in self.probe:
            probes = [
                inspect.probe(known, train.labels, asked, test.labels, kind, neighbors=self.neighbors)
                for known, asked in (tuple(rows.values()), pixels)
            ]
            stopped = stopped or not all(result.converged for result in probes)
            print(f"{_NAMES[kind]:<20}  {_told(probes[0])}  {_told(probes[1])}".rstrip(), flush=True)
        if stopped:
            print("* not converged: the optimizer stopped at its last iteration")


def _in_classes(run: Run, splits: dict[str, Dataset]) -> dict[str, Dataset]:
    """All splits in the network's classes where it knows them.

    Else they are in those of the first split. It prints which.
    """
    notes: list[str] = []
    first, *_ = splits.values()
    try:
        first, how = matched(run, first)
    except ValueError:
        if first.vocabulary:
            raise
        how = f"{first.name}: its classes are not the network's; features are probed for its own"
    notes += [*(note for examples in splits.values() for note in examples.notes), how]
    for note in dict.fromkeys(filter(None, notes)):
        print(note)
    return {split: examples.for_classes(first.classes) for split, examples in splits.items()}


def _told(probe: Probe) -> str:
    return f"{100 * probe.accuracy:>8.2f} %{' ' if probe.converged else '*'}"


def save(out: Path, rows: dict[str, np.ndarray], splits: dict[str, Dataset]) -> None:
    """Writes features and labels of every split.

    Args:
      out: an archive with `SPLIT_features`, `SPLIT_labels` and `classes`, or a table with a line for every example.
      rows: `(N, D)` of every split.
      splits: the examples.
    """
    part = out.with_name(f".{out.name}.part")
    with naming(out, part), contextlib.ExitStack() as last:
        last.callback(part.unlink, missing_ok=True)
        if out.suffix == ".npz":
            arrays: dict[str, Any] = {f"{split}_features": values for split, values in rows.items()}
            arrays |= {f"{split}_labels": examples.labels for split, examples in splits.items()}
            arrays["classes"] = np.array(next(iter(splits.values())).classes)
            with part.open("wb") as file:
                np.savez(file, **arrays)
        else:
            with part.open("w", newline="", encoding="utf-8") as file:
                table = csv.writer(file, lineterminator="\n")
                columns = next(iter(rows.values())).shape[1]
                table.writerow(["split", "label", *(f"feature_{place}" for place in range(columns))])
                for split, values in rows.items():
                    for label, row in zip(splits[split].labels, values, strict=True):
                        table.writerow([split, splits[split].classes[label], *(f"{value:.7g}" for value in row)])
        part.replace(out)
