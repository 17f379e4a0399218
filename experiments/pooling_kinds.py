"""Kinds of pooling, from few and from more examples.

Hypothesis:
  Pooling builds in some knowledge: the exact place of a pattern does not matter. Trained on 1,000 signals, networks
  with max, average and L2 pooling are far more accurate than a network without pooling and than one with strides.
  From more examples a network learns this itself, and the advantage shrinks.

Proxy:
  MNIST-1D with the network of its authors' `benchmark_pooling`: two convolutions of 20 channels and 3 taps, each with
  ReLU and a pooling of 2, one dense layer. They draw sets of 1,000 and of 5,000 signals; here it is the first 1,000 and
  all 4,000 of one set. They take 6,000 steps; here it is 2,000, after which theirs had nearly levelled off.
  Blurring with weights 1, 2, 1 is not among theirs.

Protocol:
  None (the dense layer sees 40 samples of 20 channels, elsewhere 10), stride 2 in the convolutions, or after them the
  largest of two, their mean, their L2 norm, or a blur of three and every second sample of it. Adam 1e-2, batches of
  100, 2,000 steps; accuracy on 1,000 test signals after the last. Nothing was chosen on them.

Expected:
  From 1,000: none 59.2, stride 2 57.4, max 78.2, average 78.0, L2 77.2 %. From 5,000: 91.9, 89.9, 94.5, 94.0, 95.3 %.

Result:
  3 seeds, jax 0.12.0.1, 1 core of Intel(R) Xeon(R) Processor @ 2.80GHz, 2026-11-22, commit 3878566.
  - Holds: trained on 1,000 signals, max, average and L2 pooling are each more accurate than none and than strides (none
    58.9, stride 2 57.6, max 77.4, average 75.3, L2 78.2, blur 81.6 %; published: 59.2, 57.4, 78.2, 78.0, 77.2 %; gap:
    -0.3, +0.2, -0.8, -2.7, +1.0).
  - Holds: with 4 times as many signals, this advantage is smaller (16.4 to 2.3 points; published: 18.0 to 2.1 points
    from 5,000; gap: -1.6, +0.2).
  - Holds: trained on 1,000 signals, strides are no more accurate than no reduction (57.6 and 58.9 %; published: 57.4
    and 59.2 %; gap: +0.2, -0.3).
  - Holds: trained on 1,000 signals, the three kinds of pooling differ by less than 3 points (2.9 points between them;
    published: 1.0 points; gap: +1.9).

  | test accuracy by number of signals, % | 1000 | 4000 |
  | --- | --- | --- |
  | none | 58.9 ± 2 | 91.1 ± 0.56 |
  | stride 2 | 57.6 ± 3.1 | 87.8 ± 0.82 |
  | max | 77.37 ± 2.5 | 93.5 ± 0.72 |
  | average | 75.3 ± 4 | 93.4 ± 0.26 |
  | L2 | 78.17 ± 3.2 | 94 ± 0.52 |
  | blur | 81.57 ± 0.95 | 94.03 ± 0.7 |

Command:
  python -m experiments.pooling_kinds --seeds 0 1 2

Cost:
  4.2 minutes a seed, where the result comes from.
"""

import argparse
import dataclasses
import sys
from typing import Any

import numpy as np
from flax import nnx

from experiments.form import Claim, Document, Experiment, Tables, mean, say
from experiments.signals import Pooled, accuracy, compiled_once, trained
from jaxcnn import data, training

TITLE = "test accuracy by number of signals, %"
SIZES = ("1000", "4000")
# the authors', of 1,000 and of 5,000 signals
PUBLISHED = {
    "none": (59.2, 91.9),
    "stride 2": (57.4, 89.9),
    "max": (78.2, 94.5),
    "average": (78.0, 94.0),
    "L2": (77.2, 95.3),
}
KINDS = (*PUBLISHED, "blur")
WITHOUT, WITH = ("none", "stride 2"), ("max", "average", "L2")
STEPS = 2000
CONFIG = training.TrainConfig(batch_size=100, optimizer="adam", learning_rate=1e-2, schedule="constant")


@compiled_once()
def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Accuracies in percent, by kind of pooling and number of signals."""
    train, test = data.load("mnist1d", "train"), data.load("mnist1d", "test")
    found: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        found[kind] = {}
        for size in SIZES:
            some = train.take(int(size))
            config = dataclasses.replace(CONFIG, epochs=STEPS * CONFIG.batch_size // len(some.labels))
            model = Pooled(kind, rngs=nnx.Rngs(seed))
            found[kind][size] = accuracy(model, test, trained(model, some, config, seed, options.quick))
            say(f"seed {seed}: {kind}, {size} signals: {found[kind][size]:.1f} %")
    return {TITLE: found}


def claims(document: Document) -> list[Claim]:
    """What the course says of pooling."""
    ours = {kind: [mean(document, TITLE, kind, size) for size in SIZES] for kind in KINDS}

    def advantage(of: dict[str, Any], place: int) -> float:
        """Of the worst kind of pooling over the better of none and strides."""
        return min(of[kind][place] for kind in WITH) - max(of[kind][place] for kind in WITHOUT)

    def told(place: int) -> dict[str, str]:
        return {
            "ours": ", ".join(f"{kind} {values[place]:.1f}" for kind, values in ours.items()) + " %",
            "published": ", ".join(str(pair[place]) for pair in PUBLISHED.values()) + " %",
            "gap": ", ".join(f"{ours[kind][place] - pair[place]:+.1f}" for kind, pair in PUBLISHED.items()),
        }

    gains = [[advantage(of, place) for place in (0, 1)] for of in (ours, PUBLISHED)]
    spread = [max(of[kind][0] for kind in WITH) - min(of[kind][0] for kind in WITH) for of in (ours, PUBLISHED)]
    return [
        Claim(
            "trained on 1,000 signals, max, average and L2 pooling are each more accurate than none and than strides",
            gains[0][0] > 0,
            **told(0),
        ),
        Claim(
            "with 4 times as many signals, this advantage is smaller",
            gains[0][1] < gains[0][0],
            f"{gains[0][0]:.1f} to {gains[0][1]:.1f} points",
            f"{gains[1][0]:.1f} to {gains[1][1]:.1f} points from 5,000",
            f"{gains[0][0] - gains[1][0]:+.1f}, {gains[0][1] - gains[1][1]:+.1f}",
        ),
        Claim(
            "trained on 1,000 signals, strides are no more accurate than no reduction",
            ours["stride 2"][0] <= ours["none"][0],
            f"{ours['stride 2'][0]:.1f} and {ours['none'][0]:.1f} %",
            "57.4 and 59.2 %",
            f"{ours['stride 2'][0] - 57.4:+.1f}, {ours['none'][0] - 59.2:+.1f}",
        ),
        Claim(
            "trained on 1,000 signals, the three kinds of pooling differ by less than 3 points",
            spread[0] < 3,
            f"{spread[0]:.1f} points between them",
            f"{spread[1]:.1f} points",
            f"{spread[0] - spread[1]:+.1f}",
        ),
    ]


def figure(document: Document) -> Any:
    """Bars by kind, a pair for the numbers of signals, with a stroke at the published value."""
    from matplotlib.figure import Figure

    rows = document["tables"][TITLE]
    drawn = Figure(figsize=(8, 4), layout="constrained")
    axes = drawn.subplots()
    for place, (size, color) in enumerate(zip(SIZES, ("0.25", "0.75"), strict=True)):
        x = np.arange(len(rows)) + 0.4 * place - 0.2
        cells = [cells[size] for cells in rows.values()]
        spread = [cell["standard_deviation"] or 0 for cell in cells]
        bars = axes.bar(x, [cell["mean"] for cell in cells], 0.38, yerr=spread, color=color, label=f"{size} signals")
        axes.bar_label(bars, fmt="%.1f", padding=3, fontsize="small")
        known = [(at, PUBLISHED[kind][place]) for at, kind in zip(x, rows, strict=True) if kind in PUBLISHED]
        published = None if place else "published (1,000 and 5,000 signals)"
        axes.hlines(
            [y for _, y in known],
            [at - 0.19 for at, _ in known],
            [at + 0.19 for at, _ in known],
            "black",
            "dotted",
            label=published,
        )
    axes.set_xticks(range(len(rows)), list(rows))
    axes.set(ylabel="test accuracy, %", ylim=(0, 125), title="pooling helps most with few signals")
    axes.legend(frameon=False, loc="upper left", ncols=3, fontsize="small")
    return drawn


EXPERIMENT = Experiment("experiments.pooling_kinds", __doc__, one_seed, claims, figure)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
