"""Plain and residual networks of 20 and of 56 layers.

Hypothesis:
  A plain network of 56 layers is worse than one of 20. It is worse on the training examples too, so this is not
  overfitting. With shortcuts 56 layers learn as well as 20. The gradient shows why: in the plain network its norm
  changes from layer to layer, and with shortcuts it stays about the same.

Proxy:
  MNIST-1D, 4,000 signals to learn from and 1,000 to test, in place of CIFAR-10; 3 taps in place of 3x3; 16 channels and
  40 samples in all layers, where the paper's networks halve the size and double the channels twice; 800 steps in place
  of 64,000, and no augmentation. `--data folder:PATH` takes CIFAR-10 itself, the library's plain20, plain56, resnet20
  and resnet56 and the recipe he2015-cifar, the paper's in full: many hours on a CPU, meant for an accelerator, and not
  run here.

Protocol:
  Convolution, batch normalization, ReLU; 9 or 27 blocks of two layers between a first layer and the mean over time with
  a dense layer; the identity past each block, or nothing. He's initialization, SGD 0.1 with momentum 0.9 and weight
  decay 1e-4, batches of 100, 20 epochs, a tenth of the rate after 10 and 15. Errors after the last epoch, over all
  examples, by running statistics. Norms of the gradient by each layer's kernel: on the first 500 training examples, by
  their own statistics, before training and after an epoch of it. Nothing was chosen on the test signals.

Expected:
  The training error of plain-56 at least 5 times residual-56's; of one run before, plain-20 0.55, plain-56 50.0,
  residual-20 0.25, residual-56 0.85 %. Whether residual-56 beats residual-20 as on CIFAR-10 is open: 20 layers suffice
  for these signals.

Result:
  5 seeds, jax 0.12.0.1, 1 core of Intel(R) Xeon(R) Processor @ 2.80GHz, 2026-11-21, commit 61a609a.
  - Holds: the training error of plain-56 is at least 5 times that of residual-56 (50.67 and 1.39 %, 36.46 times).
  - Holds: the deeper plain network has a larger training error and a larger test error (training 0.92 to 50.67 %, test
    2.76 to 52.32 %; published: CIFAR-10, a reimplementation: 10.08 to 15.39 %; gap: +44.25 points of growth).
  - Does not hold: the deeper residual network has a lower test error (1.32 to 2.72 %; published: CIFAR-10: 8.75 to
    6.97 %; gap: -3.18 points of gain).
  - Holds: before training, the gradient's norm varies 10 times more over the layers without shortcuts than with
    (largest over smallest norm: plain-20 13.07, plain-56 6,621, residual-20 5.683, residual-56 10.28; published:
    without shortcuts it grows exponentially with depth (Yang et al. 2019)).
  - Holds: before training, the gradient of plain-56 does not vanish towards the input: it explodes (215.5 times the
    median at the first layer; published: healthy norms with BN (section 4.1)).
  - Holds: nor does it vanish after an epoch: at every layer it is above a tenth of the median (0.226 of the median at
    least; published: healthy norms with BN (section 4.1)).

  | error after the last epoch, % | training | test |
  | --- | --- | --- |
  | plain-20 | 0.92 ± 0.36 | 2.76 ± 0.34 |
  | plain-56 | 50.67 ± 11 | 52.32 ± 10 |
  | residual-20 | 0.135 ± 0.076 | 1.32 ± 0.19 |
  | residual-56 | 1.39 ± 1.8 | 2.72 ± 1.8 |

Command:
  python -m experiments.depth_degradation --seeds 0 1 2 3 4

Cost:
  13.4 minutes a seed, where the result comes from.
"""

import argparse
import dataclasses
import itertools
import statistics
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from flax import nnx

from experiments.form import Claim, Document, Experiment, Tables, mean, number, say
from experiments.signals import Deep, compiled_once, gradient_norms
from jaxcnn import data, models, training

DEPTHS = (20, 56)
SIGNALS = "mnist1d"
ERROR = "error after the last epoch, %"
TRAINING, TEST = "training error by epoch, %", "test error by epoch, %"
START, LATER = "gradient norm by layer before training, nats", "gradient norm by layer after an epoch, nats"
CONFIG = training.TrainConfig(
    epochs=20,
    batch_size=100,
    optimizer="sgd",
    learning_rate=0.1,
    nesterov=False,
    weight_decay=1e-4,
    schedule="step",
    milestones=(0.5, 0.75),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What data to learn."""
    parser.add_argument("--data", default=SIGNALS, help="mnist1d, or pictures by any name of `data.load`")


@compiled_once()
def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Errors, their curves, and norms of gradients, by network."""
    train, test = data.load(options.data, "train"), data.load(options.data, "test")
    depths, config = DEPTHS, CONFIG if options.data == SIGNALS else training.RECIPES["he2015-cifar"].config
    if options.quick:
        depths, config = (2, 4) if options.data == SIGNALS else (8, 14), dataclasses.replace(config, epochs=2)
        train, test = train.take(200), test.take(100)
    config = dataclasses.replace(config, seed=seed)
    known = train.take(500)
    inputs = data.measure_scaling(train)(known.images[:])
    tables: Tables = {title: {} for title in (ERROR, TRAINING, TEST, START, LATER)}
    for kind in ("plain", "residual"):
        for depth in depths:
            name, model = f"{kind}-{depth}", network(kind, depth, seed, train)
            early = nnx.clone(model)
            tables[START][name] = gradient_norms(early, inputs, known.labels)
            stop = partial(after, itertools.count(1), len(train.labels) // config.batch_size)
            training.fit(early, train, config=config, observer=None, should_stop=stop)
            tables[LATER][name] = gradient_norms(early, inputs, known.labels)
            run = training.fit(model, train, test, config, observer=None)
            for title, key in ((TRAINING, "accuracy"), (TEST, "eval_accuracy")):
                tables[title][name] = {str(row["epoch"]): 100 - 100 * row[key] for row in run.history}
            tables[ERROR][name] = {
                "training": 100 - 100 * training.evaluate(model, train, run.scaling).accuracy,
                "test": tables[TEST][name][str(config.epochs)],
            }
            found = tables[ERROR][name]
            say(f"seed {seed}: {name}: training error {found['training']:.2f}, test error {found['test']:.2f} %")
    return tables


def after(calls: Iterator[int], steps: int) -> bool:
    """Whether it was called so many times."""
    return next(calls) == steps


def network(kind: str, depth: int, seed: int, train: data.Dataset) -> models.Network:
    """For signals, or the paper's for pictures."""
    if train.name == SIGNALS:
        return Deep(depth, residual=kind == "residual", rngs=nnx.Rngs(seed))
    options = {"depth": depth, "shortcut": "A" if kind == "residual" else "none", "rngs": nnx.Rngs(seed)}
    return models.CifarResNet(len(train.classes), train.features, **options)


def claims(document: Document) -> list[Claim]:
    """What He et al. say."""
    plain, plain_deep, residual, residual_deep = document["tables"][ERROR]

    def error(name: str, of: str) -> float:
        return mean(document, ERROR, name, of)

    def by_layer(name: str, title: str = START) -> list[float]:
        return [cell["mean"] for cell in document["tables"][title][name].values()]

    times = error(plain_deep, "training") / max(error(residual_deep, "training"), 1e-9)
    worse = {of: error(plain_deep, of) - error(plain, of) for of in ("training", "test")}
    gain = error(residual, "test") - error(residual_deep, "test")
    spans = {name: max(by_layer(name)) / min(by_layer(name)) for name in document["tables"][START]}
    begun, gone_on = (by_layer(plain_deep, title) for title in (START, LATER))
    grown, least = begun[0] / statistics.median(begun), min(gone_on) / statistics.median(gone_on)
    return [
        Claim(
            f"the training error of {plain_deep} is at least 5 times that of {residual_deep}",
            times >= 5,
            f"{error(plain_deep, 'training'):.2f} and {error(residual_deep, 'training'):.2f} %, {number(times)} times",
        ),
        Claim(
            "the deeper plain network has a larger training error and a larger test error",
            min(worse.values()) > 0,
            ", ".join(f"{of} {error(plain, of):.2f} to {error(plain_deep, of):.2f} %" for of in worse),
            "CIFAR-10, a reimplementation: 10.08 to 15.39 %",
            f"{worse['test'] - 5.31:+.2f} points of growth",
        ),
        Claim(
            "the deeper residual network has a lower test error",
            gain > 0,
            f"{error(residual, 'test'):.2f} to {error(residual_deep, 'test'):.2f} %",
            "CIFAR-10: 8.75 to 6.97 %",
            f"{gain - 1.78:+.2f} points of gain",
        ),
        Claim(
            "before training, the gradient's norm varies 10 times more over the layers without shortcuts than with",
            spans[plain_deep] >= 10 * spans[residual_deep],
            "largest over smallest norm: " + ", ".join(f"{name} {number(span)}" for name, span in spans.items()),
            "without shortcuts it grows exponentially with depth (Yang et al. 2019)",
        ),
        Claim(
            f"before training, the gradient of {plain_deep} does not vanish towards the input: it explodes",
            grown > 1,
            f"{number(grown)} times the median at the first layer",
            "healthy norms with BN (section 4.1)",
        ),
        Claim(
            "nor does it vanish after an epoch: at every layer it is above a tenth of the median",
            least > 0.1,
            f"{number(least)} of the median at least",
            "healthy norms with BN (section 4.1)",
        ),
    ]


def figure(document: Document) -> Any:
    """Errors by epoch above, norms by layer below; dashed for the shallow networks, gray for the plain ones."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(10, 7.5), layout="constrained")
    panels = {
        TRAINING: ("plain-56 has the largest training error", "epoch", "training error, %"),
        TEST: ("and the largest test error: it does not overfit", "epoch", "test error, %"),
        START: ("gradient before training", "layer", "gradient norm, nats"),
        LATER: ("gradient after one epoch", "layer", "gradient norm, nats"),
    }
    for axes, (title, (seen, across, up)) in zip(drawn.subplots(2, 2).flat, panels.items(), strict=True):
        for name, cells in document["tables"][title].items():
            deep = name.endswith(str(max(DEPTHS)))
            axes.plot(
                [int(column) for column in cells],
                [cell["mean"] for cell in cells.values()],
                color="0.6" if name.startswith("plain") else "black",
                linestyle="-" if deep else "--",
                label=name,
            )
        axes.set(title=seen, xlabel=across, ylabel=up, yscale="linear" if across == "epoch" else "log")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, fontsize="small")
    return drawn


EXPERIMENT = Experiment(
    "experiments.depth_degradation",
    __doc__,
    one_seed,
    claims,
    figure,
    shown=(ERROR,),
    seeds=(0, 1, 2, 3, 4),
    add_arguments=add_arguments,
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
