"""`jaxcnn features`."""

import contextlib
import csv
import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from jaxcnn import data, inspect
from jaxcnn.cli.runs import Run, check_place, matched, open_run
from jaxcnn.data import Dataset
from jaxcnn.inspect import Probe
from jaxcnn.training.files import naming

_NAMES = {"knn": "nearest neighbors", "svm": "linear SVM", "logistic": "logistic regression"}


@dataclasses.dataclass(frozen=True)
class Features:
    """What a stage of a trained network makes of a data set, and how much that says of the classes."""

    run: tyro.conf.Positional[Path]
    """Run folder, or file of weights."""
    at: str
    """Stage, as conv2; a wrong one is answered with those there are."""
    probe: tuple[Literal["knn", "svm", "logistic"], ...] = ()
    """Classifiers to fit to the training examples and test, on features and on the pixels themselves."""
    data: str | None = None
    """Data set; default that of the run."""
    data_dir: Path | None = None
    """Folder of the data set's files; default $JAXCNN_DATA_DIR."""
    image_size: int | None = None
    """Bring pictures to this height and width; default those of the run."""
    allow_empty: bool = False
    """Take classes that have no picture to train on."""
    limit: int | None = None
    """Take the first so many examples of each split."""
    pool: inspect.Pool = "mean"
    """What becomes of maps: their mean or maximum over space, or all their cells."""
    pca: int | None = None
    """Project features on so many principal components, those of the training examples."""
    neighbors: int = 5
    """How many vote."""
    out: Path | None = None
    """File for the features, .npz or .csv."""

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
        name = run.data_name(self.data)
        size = self.image_size or (run.image_shape[0] if name.startswith("folder:") else None)
        there = data.splits(name, self.data_dir)
        names = ("train", "test" if "test" in there else "validation")
        how = {"image_size": size, "allow_empty": self.allow_empty}
        splits = _in_classes(run, {split: data.load(name, split, self.data_dir, **how) for split in names})
        if self.limit is not None:
            splits = {split: examples.take(self.limit) for split, examples in splits.items()}
        rows = {
            split: inspect.features(
                run.model, examples.images, self.at, scaling=run.scaling, pool=self.pool, augmentation=run.augmentation
            )
            for split, examples in splits.items()
        }
        if self.pca is not None:
            found = inspect.pca(rows["train"], self.pca)
            rows = {split: found(values) for split, values in rows.items()}
            print(f"{self.pca} principal components hold {100 * found.explained.sum():.1f} % of the variance")
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
            found = [
                inspect.probe(known, train.labels, asked, test.labels, kind, neighbors=self.neighbors)
                for known, asked in (tuple(rows.values()), pixels)
            ]
            stopped = stopped or not all(result.converged for result in found)
            print(f"{_NAMES[kind]:<20}  {_told(found[0])}  {_told(found[1])}".rstrip(), flush=True)
        if stopped:
            print("* the optimizer stopped at its last iteration")


def _in_classes(run: Run, splits: dict[str, Dataset]) -> dict[str, Dataset]:
    """All splits in the classes of the network where it knows them, else in those of the first; tells which."""
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


def _told(found: Probe) -> str:
    return f"{100 * found.accuracy:>8.2f} %{' ' if found.converged else '*'}"


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
