"""What the long experiments on CIFAR-10 share: their arguments, the pictures, a network's training."""

import argparse
from pathlib import Path
from typing import Any

from experiments.form import say
from jaxcnn import data, models, training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where pictures come from, and where runs are kept."""
    parser.add_argument("--data", default="cifar10", help="cifar10, folder:PATH, npz:PATH; with --quick, digits")
    parser.add_argument("--data-dir", type=Path, help="folder of the data set's files")
    parser.add_argument("--runs", type=Path, help="keep every training here, and go on with those that are here")


def pictures(options: argparse.Namespace) -> tuple[data.Dataset, data.Dataset]:
    """Training and test pictures; `--quick` takes some that need no files, unless others are named."""
    name = "digits" if options.quick and options.data == "cifar10" else options.data
    train, test = (data.load(name, split, options.data_dir) for split in ("train", "test"))
    return (train.take(160), test.take(60)) if options.quick else (train, test)


def errors(
    name: str,
    model: models.Network,
    train: data.Dataset,
    test: data.Dataset,
    config: training.TrainConfig,
    options: argparse.Namespace,
) -> dict[str, float]:
    """Trains a network, and gives its errors in percent on the pictures as they are.

    Args:
      name: of the run, for its folder and for what is said of it.
      model: the network.
      train: what it learns from.
      test: what it is tested on, once.
      config: how it is trained.
      options: those of `add_arguments`.
    """
    said = f"{name}, seed {config.seed}"

    def told(row: dict[str, Any]) -> None:
        if row["kind"] == "epoch" and row["epoch"] % 10 == 0:
            say(f"{said}: epoch {row['epoch']}, error in training {100 - 100 * row['accuracy']:.2f} %")

    folder = options.runs and options.runs / f"{name.replace(' ', '_')}-{config.seed}"
    run = training.fit(model, train, config=config, observer=told, folder=folder, resume=True)
    parts = {"training": train, "test": test}
    found = {part: 100 - 100 * training.evaluate(model, parts[part], run.scaling).accuracy for part in parts}
    say(f"{said}: error {found['training']:.2f} % in training, {found['test']:.2f} % in the test")
    return found
