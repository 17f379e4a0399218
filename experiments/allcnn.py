"""CIFAR-10 without pooling: the all convolutional network and its siblings.

Hypothesis:
  A convolution of stride 2 can replace a max-pool without loss of accuracy. The added layer helps, not the pool: if the
  layer before takes the stride, accuracy falls, and a layer added below a pool gains less.

Proxy:
  None: the networks C of Springenberg 2015 and their pictures, in full. Pictures that were stored as JPEG
  (`--data folder:PATH`) are harder: for these only the order is claimed, and not the values.

Protocol:
  Four networks: base C (max-pool 3x3, stride 2), Strided-CNN-C (no pool, stride in the layer before), ConvPool-CNN-C
  (a layer more, then the pool), All-CNN-C (that layer has stride 2 and takes the pool's place); the last one also
  with pictures mirrored and moved by up to 5 pixels. 350 epochs of batches of 128, SGD with momentum 0.9, a tenth at
  200, 250 and 300 epochs, weight decay 0.001 on everything, dropout 0.2 of the input and 0.5 after each reduction: as
  in the paper, which does not give its batch size. It takes the best of the rates 0.25, 0.1, 0.05 and 0.01 for each
  network; here it is 0.05 for all, without a search; `--hold-out --learning-rate RATE` tests on a tenth of the
  training pictures, for a search. Kernels start He normal, of which the paper says nothing; colors are scaled by
  channel, where the paper whitens the pictures. Tested after the last epoch, once.

Expected:
  Test error as they are: base C 9.74, Strided 10.19, ConvPool 9.31, All-CNN-C 9.08 %; All-CNN-C with flips and shifts
  7.25 % (Springenberg 2015, tables 1 and 3).

Result:
  None yet: not run in full.

Command:
  python -m experiments.allcnn --data cifar10 --runs runs/allcnn --add

Cost:
  1.3e17 floating-point operations a seed. Not measured; about 2 hours on a GPU that does 20 TFLOP/s on such
  convolutions, 12 hours at 3 TFLOP/s (a T4, say), and 3 weeks on 2 CPU cores.
"""

import argparse
import sys
from typing import Any

from flax import nnx

from experiments import cifar
from experiments.form import Claim, Document, Experiment, Tables, mean
from jaxcnn import models, training

BASE, STRIDED, CONVPOOL, ALL = "base C", "Strided-CNN-C", "ConvPool-CNN-C", "All-CNN-C"
MOVED = f"{ALL}, flips and shifts"
VARIANTS: dict[str, Any] = {BASE: "base", STRIDED: "strided", CONVPOOL: "convpool", ALL: "all", MOVED: "all"}
PUBLISHED = {BASE: 9.74, STRIDED: 10.19, CONVPOOL: 9.31, ALL: 9.08, MOVED: 7.25}
TITLE = "error, %"


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Errors in percent of every network."""
    train, test = cifar.pictures(options)
    if options.hold_out:
        train, test = train.split_off(0.1)
    found = {}
    for row in (BASE, MOVED) if options.quick else VARIANTS:
        model = models.AllCNN(
            len(train.classes),
            train.features,
            variant=VARIANTS[row],
            widths=(4, 8) if options.quick else (96, 192),
            rngs=nnx.Rngs(seed),
        )
        config = training.TrainConfig(
            epochs=1 if options.quick else 350,
            batch_size=32 if options.quick else 128,
            optimizer="sgd",
            learning_rate=options.learning_rate,
            nesterov=False,
            weight_decay=1e-3,
            decay_all=True,
            schedule="step",
            milestones=(200 / 350, 250 / 350, 300 / 350),
            augment=("pad_crop=5", "flip") if row == MOVED else (),
            seed=seed,
        )
        found[row] = cifar.errors(row.replace(",", ""), model, train, test, config, options)
    return {TITLE: found}


def claims(document: Document) -> list[Claim]:
    """What the paper says: of what may take a pool's place, and of values."""
    ours = {row: mean(document, TITLE, row, "test") for row in document["tables"][TITLE]}
    lossless = document["options"]["data"] == "cifar10" and not document["options"]["hold_out"]

    orders = (
        ("a convolution of stride 2 in the pool's place loses nothing (half a point)", ALL, CONVPOOL, 0.5),
        ("All-CNN-C errs less than the network with pools that it comes from", ALL, BASE, 0.0),
        ("a stride taken into the layer before costs accuracy", BASE, STRIDED, 0.0),
        ("flips and shifts help All-CNN-C", MOVED, ALL, 0.0),
    )
    found = [
        Claim(
            text,
            ours[less] < ours[more] + margin,
            f"{ours[less]:.2f} to {ours[more]:.2f} %",
            f"{PUBLISHED[less]} to {PUBLISHED[more]} %",
        )
        for text, less, more, margin in orders
        if {less, more} <= set(ours)
    ]
    gaps = {row: ours[row] - PUBLISHED[row] for row in ours}
    if lossless:
        found.append(
            Claim(
                "test errors are within half a point of those published",
                max(map(abs, gaps.values())) <= 0.5,
                ", ".join(f"{row} {ours[row]:.2f}" for row in gaps) + " %",
                ", ".join(f"{PUBLISHED[row]}" for row in gaps) + " %",
                ", ".join(f"{gap:+.2f}" for gap in gaps.values()),
            )
        )
    return found


def figure(document: Document) -> Any:
    """Errors of every network, and the published ones."""
    from matplotlib.figure import Figure

    rows = document["tables"][TITLE]
    drawn = Figure(figsize=(8, 4), layout="constrained")
    axes = drawn.subplots()
    places = range(len(rows))
    for part, marker, fill in (("training", "^", "none"), ("test", "o", "black")):
        errors = [cells[part]["mean"] for cells in rows.values()]
        spread = [cells[part]["standard_deviation"] or 0 for cells in rows.values()]
        axes.errorbar(errors, places, None, spread, marker, color="black", markerfacecolor=fill, capsize=2, label=part)
    axes.plot([PUBLISHED[row] for row in rows], places, "x", color="0.5", markersize=9, label="published, test")
    axes.set_yticks(places, list(rows))
    axes.invert_yaxis()
    axes.set(xlabel="error on CIFAR-10, %", xlim=(0, None), title="Convolutions of stride 2 instead of pools")
    axes.grid(axis="y", color="0.9")
    axes.legend(frameon=False)
    return drawn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Pictures, and how to choose the rate."""
    cifar.add_arguments(parser)
    parser.add_argument("--learning-rate", type=float, default=0.05, help="of the first 200 epochs")
    parser.add_argument("--hold-out", action="store_true", help="test on a tenth of the training pictures instead")


EXPERIMENT = Experiment("experiments.allcnn", __doc__, one_seed, claims, figure, add_arguments=add_arguments)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
