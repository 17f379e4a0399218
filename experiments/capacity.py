"""How a network's errors change as its hidden layer grows: what it fits, and how far it overfits.

Hypothesis:
  The more hidden units, the more free parameters, and the lower the training error, down to none. The gap between test
  error and training error grows: the network overfits more. With wrong labels among those that it learns from, the test
  error is lowest at some middle size, and rises again.

Proxy:
  1,000 of MNIST's training digits, drawn by the seed, take the place of a small data set. Wrong labels: of 200 of them,
  drawn evenly over the other nine classes.

Protocol:
  `mlp` with one hidden layer of ReLUs of 1 to 512 units; 40 passes of Adam 2e-3 (cosine), batches of 50, no decay, no
  dropout. Error on the digits learned from, by the labels learned from, and on all 10,000 test digits.

Expected:
  The training error falls to 0. Of the test error there are two opinions: the course says that it rises with the number
  of units; Belkin et al. (2019) find that it falls again beyond the size that fits all examples.

Result:
  3 seeds, jax 0.10.2, 2 cores of AMD EPYC, 2026-11-30, commit 5d734bc.
  - Holds: the more hidden units, the lower the training error, down to none (82.2 % with 1 to 0 % with 512).
  - Does not hold: with true labels, the gap of test and training error is largest with the most units (0.0 points with
    1, at most 11.6 with 16, 9.0 with 512).
  - Does not hold: with wrong labels, the test error is lowest at a middle size and rises again (18.4 % with 512, 18.4 %
    with 512, 18.4 % with 512, which fit them to 0 %).

  | error by hidden units, true labels, % | 1 | 4 | 16 | 64 | 512 |
  | --- | --- | --- | --- | --- | --- |
  | training | 82.2 ± 5.7 | 33.17 ± 6.8 | 0.03333 ± 0.058 | 0 | 0 |
  | test | 82.23 ± 5.6 | 41.83 ± 5.4 | 11.62 ± 1.1 | 10.19 ± 0.56 | 8.96 ± 0.33 |

  | error by hidden units, a fifth of the labels wrong, % | 1 | 4 | 16 | 64 | 512 |
  | --- | --- | --- | --- | --- | --- |
  | training | 88.13 ± 0.91 | 78.93 ± 9.7 | 15.17 ± 4.4 | 2.3 ± 0.82 | 0 |
  | test | 89.49 ± 0.72 | 79.64 ± 9.7 | 22.65 ± 1.7 | 21.49 ± 1.3 | 18.37 ± 1.1 |

Command:
  python -m experiments.capacity --seeds 0 1 2

Cost:
  2.9 minutes a seed, where the result comes from.
"""

import argparse
import sys
from typing import Any

import numpy as np
from flax import nnx

from experiments.form import Claim, Document, Experiment, Tables, mean, number, say
from jaxcnn import data, models, training

UNITS = (1, 4, 16, 64, 512)
TRUE, WRONG = "true labels", "a fifth of the labels wrong"
TITLES = {TRUE: f"error by hidden units, {TRUE}, %", WRONG: f"error by hidden units, {WRONG}, %"}
TRAINING, TEST = "training", "test"


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Errors in percent, by labels, split and number of units."""
    name, count, epochs = ("digits", 200, 1) if options.quick else ("mnist", 1000, 40)
    train, test = (data.load(name, split) for split in ("train", "test"))
    some = train.split_off(count / len(train.labels), seed)[1]
    config = training.TrainConfig(epochs=epochs, batch_size=50, optimizer="adam", learning_rate=2e-3, seed=seed)
    found: Tables = {title: {TRAINING: {}, TEST: {}} for title in TITLES.values()}
    for labels, title in TITLES.items():
        known = some if labels == TRUE else mislabeled(some, 0.2, seed)
        for units in (1, 16) if options.quick else UNITS:
            size = known.images.shape[1:3]
            model = models.create("mlp", image_size=size, hidden=(units,), rngs=nnx.Rngs(seed))
            run = training.fit(model, known, config=config, observer=None)
            for split, part in ((TRAINING, known), (TEST, test)):
                found[title][split][str(units)] = 100 * (1 - training.evaluate(model, part, run.scaling).accuracy)
            told = ", ".join(f"{split} {found[title][split][str(units)]:.2f} %" for split in (TRAINING, TEST))
            say(f"seed {seed}: {labels}, {units} units: {told}")
    return found


def mislabeled(dataset: data.Dataset, share: float, seed: int) -> data.Dataset:
    """The same examples, a share of them with another label."""
    random = np.random.default_rng(seed)
    labels, count = dataset.labels.copy(), len(dataset.classes)
    chosen = random.permutation(len(labels))[: round(share * len(labels))]
    labels[chosen] = (labels[chosen] + random.integers(1, count, len(chosen))) % count
    return dataset._replace(labels=labels)


def claims(document: Document) -> list[Claim]:
    """What the course says."""
    sizes = list(document["tables"][TITLES[TRUE]][TEST])

    def errors(labels: str, split: str) -> list[float]:
        return [mean(document, TITLES[labels], split, size) for size in sizes]

    learned, tested = errors(TRUE, TRAINING), errors(TRUE, TEST)
    gaps = [test - train for train, test in zip(learned, tested, strict=True)]
    wrong, wrongly = errors(WRONG, TRAINING), errors(WRONG, TEST)
    best = int(np.argmin(wrongly))
    return [
        Claim(
            "the more hidden units, the lower the training error, down to none",
            all(after <= before + 0.1 for before, after in zip(learned, learned[1:], strict=False))
            and learned[-1] < 0.1,
            f"{number(learned[0])} % with {sizes[0]} to {number(learned[-1])} % with {sizes[-1]}",
        ),
        Claim(
            "with true labels, the gap of test and training error is largest with the most units",
            gaps[-1] == max(gaps),
            f"{gaps[0]:.1f} points with {sizes[0]}, at most {max(gaps):.1f} with {sizes[int(np.argmax(gaps))]}, "
            f"{gaps[-1]:.1f} with {sizes[-1]}",
        ),
        Claim(
            "with wrong labels, the test error is lowest at a middle size and rises again",
            0 < best < len(sizes) - 1 and wrongly[-1] > wrongly[best] + 1,
            f"{wrongly[best]:.1f} % with {sizes[best]}, {max(wrongly[best:]):.1f} % with "
            f"{sizes[best + int(np.argmax(wrongly[best:]))]}, {wrongly[-1]:.1f} % with {sizes[-1]}, "
            f"which fit them to {number(wrong[-1])} %",
        ),
    ]


def figure(document: Document) -> Any:
    """Both errors over the number of units, a panel for true and one for wrong labels."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 3.8), layout="constrained")
    for axes, (labels, title) in zip(drawn.subplots(1, 2, sharey=True), TITLES.items(), strict=True):
        for split, line in ((TRAINING, "--"), (TEST, "-")):
            cells = document["tables"][title][split]
            units = [int(size) for size in cells]
            spread = [cell["standard_deviation"] or 0 for cell in cells.values()]
            heights = [cell["mean"] for cell in cells.values()]
            axes.errorbar(
                units, heights, spread, fmt=f"o{line}", color="black", capsize=3, ms=4, label=f"{split} error"
            )
        axes.set_xscale("log", base=2)
        axes.set(xlabel="hidden units", title=labels)
        axes.set_xticks(units, list(map(str, units)))
    drawn.axes[0].set_ylabel("error, %")
    drawn.axes[0].legend(frameon=False)
    return drawn


EXPERIMENT = Experiment("experiments.capacity", __doc__, one_seed, claims, figure)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
