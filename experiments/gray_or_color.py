"""What a picture loses when it becomes gray.

Hypothesis:
  A gray picture has lost information: many colors become one gray, and a network that sees gray pictures errs more than
  the same network on the same pictures in color.

Proxy:
  CIFAR-10 as a folder of JPEG files, whose classes have colors of their own (sky, grass, sea). The network is small and
  learns for a short time, since only the difference counts.

Protocol:
  LeNet-5 without a border, on 32x32 cells, with 3 channels or 1: 62,006 and 61,706 parameters. `Dataset.in_gray` takes
  the weights of ITU-R 601. 10,000 training pictures drawn by the seed, 10 epochs of Adam 1e-3 (cosine), batches of 100;
  all test pictures. Colors and grays are counted in the first 1,000 test pictures, by picture.

Expected:
  About 60 % in color, some points less in gray.

Result:
  3 seeds, jax 0.10.2, 2 cores of AMD EPYC, 2026-11-30, commit 5d734bc.
  - Holds: on gray pictures the same network is less accurate than on color pictures, with every seed (51.11 ± 0.57 to
    46.54 ± 0.95 %).
  - Holds: cells that differ in color become equal in gray (of 1,024 cells 785 differ in color, 169 in gray).

  | test accuracy, % | accuracy |
  | --- | --- |
  | color | 51.11 ± 0.57 |
  | gray | 46.54 ± 0.95 |

  | different values of a picture's 1,024 cells, count | mean |
  | --- | --- |
  | color | 785.3 |
  | gray | 169.5 |

Command:
  python -m experiments.gray_or_color --data folder:cifar10 --seeds 0 1 2

Cost:
  9.0 minutes a seed, where the result comes from.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from experiments.form import Claim, Document, Experiment, Tables, mean, say, spread
from jaxcnn import data, models, training

ACCURACY, VALUES = "test accuracy, %", "different values of a picture's 1,024 cells, count"
COLOR, GRAY = "color", "gray"


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Accuracy in percent, and different values of a picture, by form."""
    count, epochs = (60, 1) if options.quick else (10_000, 10)
    train, test = pictures(options)
    train = train.split_off(count / len(train.labels), seed)[1] if count < len(train.labels) else train
    config = training.TrainConfig(
        epochs=epochs, batch_size=min(100, count), optimizer="adam", learning_rate=1e-3, seed=seed
    )
    found: Tables = {ACCURACY: {}, VALUES: {}}
    for form, (known, asked) in {COLOR: (train, test), GRAY: (train.in_gray(), test.in_gray())}.items():
        channels, classes = known.images.shape[-1], len(known.classes)
        model = models.create("lenet5", num_classes=classes, in_features=channels, border=0, rngs=nnx.Rngs(seed))
        run = training.fit(model, known, config=config, observer=None)
        found[ACCURACY][form] = {"accuracy": 100 * training.evaluate(model, asked, run.scaling).accuracy}
        cells = asked.images[:1000].reshape(len(asked.images[:1000]), -1, channels)
        found[VALUES][form] = {"mean": float(np.mean([len(np.unique(picture, axis=0)) for picture in cells]))}
        say(f"seed {seed}: {form}: {found[ACCURACY][form]['accuracy']:.2f} %")
    return found


def pictures(options: argparse.Namespace) -> tuple[data.Dataset, data.Dataset]:
    """Training and test pictures; `--quick` takes parts of two photographs, which need no files."""
    if not options.quick:
        train, test = (data.load(options.data, split, options.data_dir, stream=False) for split in ("train", "test"))
        return train, test
    from sklearn.datasets import load_sample_image

    photographs = [load_sample_image(f"{name}.jpg")[:416, :640] for name in ("china", "flower")]
    parts = [p.reshape(13, 32, 20, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3) for p in photographs]
    images, labels = np.concatenate(parts), np.repeat(np.arange(2, dtype=np.int32), len(parts[0]))
    whole = data.Dataset(images, labels, ("china", "flower"), "two photographs", "train")
    return whole.pick(slice(None, None, 2)), whole.pick(slice(1, None, 2))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where pictures come from."""
    parser.add_argument("--data", default="cifar10", help="cifar10, folder:PATH, npz:PATH; 32x32 in color")
    parser.add_argument("--data-dir", type=Path, help="folder of the data set's files")


def claims(document: Document) -> list[Claim]:
    """What the course says."""
    accuracy = {form: document["tables"][ACCURACY][form]["accuracy"] for form in (COLOR, GRAY)}
    values = {form: mean(document, VALUES, form, "mean") for form in (COLOR, GRAY)}
    lower = all(gray < color for gray, color in zip(accuracy[GRAY]["values"], accuracy[COLOR]["values"], strict=True))
    return [
        Claim(
            "on gray pictures the same network is less accurate than on color pictures, with every seed",
            lower,
            f"{spread(accuracy[COLOR])} to {spread(accuracy[GRAY])} %",
        ),
        Claim(
            "cells that differ in color become equal in gray",
            values[GRAY] < values[COLOR] / 2,
            f"of 1,024 cells {values[COLOR]:.0f} differ in color, {values[GRAY]:.0f} in gray",
        ),
    ]


def figure(document: Document) -> Any:
    """Accuracies, a point for every seed, beside a photograph in both forms."""
    from matplotlib.figure import Figure
    from sklearn.datasets import load_sample_image

    photograph = load_sample_image("flower.jpg")[:400, :400]
    shown = data.Dataset(photograph[None], np.zeros(1, np.int32), ("flower",), "photograph", "test")
    drawn = Figure(figsize=(9, 3.4), layout="constrained")
    axes, left, right = drawn.subplots(1, 3, width_ratios=(1.2, 1, 1))
    for place, form in enumerate((COLOR, GRAY)):
        cell = document["tables"][ACCURACY][form]["accuracy"]
        axes.bar(place, cell["mean"], 0.6, color=("0.35", "0.75")[place])
        axes.plot([place] * len(cell["values"]), cell["values"], "o", mfc="white", mec="black", ms=4)
    axes.set_xticks((0, 1), (COLOR, GRAY))
    axes.set(ylabel=ACCURACY, title="the same network", ylim=(0, 100))
    left.imshow(photograph)
    right.imshow(shown.in_gray().images[0, ..., 0], cmap="gray", vmin=0, vmax=255)
    for panel, form in ((left, COLOR), (right, GRAY)):
        panel.set(xticks=[], yticks=[], title=form)
    return drawn


EXPERIMENT = Experiment("experiments.gray_or_color", __doc__, one_seed, claims, figure, add_arguments=add_arguments)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
