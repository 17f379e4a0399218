"""Convolutions with and without padding, where the information is at the edge of the picture.

Hypothesis:
  Without padding, cells at the edge are read by fewer windows than cells in the middle, so their information is lost: a
  network errs more on digits that touch the edge. Where the same digits have an empty border, padding is of little use.
  And without padding maps shrink with every layer, so few layers of large windows fit.

Proxy:
  MNIST's digits, cut out and scaled so that their longer side has 16 cells, in a picture of 16x16 (they touch its edge)
  and in one of 24x24 (4 empty cells around).

Protocol:
  Four convolutions of 3x3 and 16 maps with ReLU, the mean over each map, one dense layer: 7,290 parameters with and
  without padding. 5,000 training digits drawn by the seed, 8 epochs of Adam 3e-3 (cosine), batches of 50; all 10,000
  test digits. `inspect.gradient` of the trained networks on 500 test digits: the mean magnitude in the outermost ring
  of the 16x16 cells, over that in the ring of the middle four cells. Sides of maps are by `geometry.output_shape`.

Expected:
  A lower error with padding on digits that touch the edge, by a point or so.

Result:
  3 seeds, jax 0.10.2, 2 cores of AMD EPYC, 2026-11-30, commit 8a786c0.
  - Does not hold: on digits that touch the edge, padding lowers the test error (7.26 ± 1.7 to 8.837 ± 0.95 %).
  - Holds: there it gains more, or loses less, than on the same digits with an empty border (by -1.577 and by -3.227
    points).
  - Holds: without padding, the class depends less on cells at the edge, relative to the middle, than with it (gradient
    at the edge over the middle 0.06297 ± 0.012, with padding 0.5007 ± 0.059).

  | test error, % | without padding | with padding |
  | --- | --- | --- |
  | touching the edge | 7.26 ± 1.7 | 8.837 ± 0.95 |
  | with an empty border | 9.887 ± 3.4 | 13.11 ± 5.3 |

  | gradient in the outermost ring, over the middle | without padding | with padding |
  | --- | --- | --- |
  | touching the edge | 0.06297 ± 0.012 | 0.5007 ± 0.059 |

  | side of 16x16 cells, cells | input | layer 1 | layer 2 | layer 3 | layer 4 |
  | --- | --- | --- | --- | --- | --- |
  | 3x3, without padding | 16 | 14 | 12 | 10 | 8 |
  | 5x5, without padding | 16 | 12 | 8 | 4 |  |
  | 7x7, without padding | 16 | 10 | 4 |  |  |

Command:
  python -m experiments.padding_edges --seeds 0 1 2

Cost:
  11.1 minutes a seed, where the result comes from.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from flax import nnx

from experiments.form import Claim, Document, Experiment, Tables, mean, number, say, spread
from experiments.zip_codes import filled, prepared
from jaxcnn import data, geometry, inspect, layers, models, ops, training

ERROR, RINGS, SIDES = "test error, %", "gradient in the outermost ring, over the middle", "side of 16x16 cells, cells"
PADDINGS = {"without padding": "VALID", "with padding": "SAME"}
BORDERS = {"touching the edge": 0, "with an empty border": 4}
WITHOUT, WITH = PADDINGS
TOUCHING, FREE = BORDERS
DEPTH, WIDTH = 4, 16


class Stack(models.Network):
    """Convolutions of 3x3 in a row, then the mean over each map."""

    def __init__(self, side: int, padding: str, *, rngs: nnx.Rngs):
        widths = (1, *[WIDTH] * DEPTH)
        self.convs = nnx.List(
            layers.Conv(i, o, (3, 3), padding=padding, rngs=rngs) for i, o in zip(widths, widths[1:], strict=False)
        )
        self.head = layers.Linear(WIDTH, 10, rngs=rngs)
        self.input_shape = (side, side, 1)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations."""
        for place, conv in enumerate(self.convs, start=1):
            yield f"conv{place}", (x := ops.relu(conv(x)))
        yield "mean", (x := ops.global_avg_pool(x))
        yield "head", self.head(x)


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Errors in percent, by border and padding; gradients; and sides of maps, in which no seed has a part."""
    name, count, epochs = ("digits", 200, 1) if options.quick else ("mnist", 5000, 8)
    train, test = (data.load(name, split) for split in ("train", "test"))
    some = train.split_off(count / len(train.labels), seed)[1]
    some, test = (prepared(part, filled) for part in (some, test))
    config = training.TrainConfig(epochs=epochs, batch_size=50, optimizer="adam", learning_rate=3e-3, seed=seed)
    found: Tables = {ERROR: {}, RINGS: {}, SIDES: {}}
    for window in (3, 5, 7):
        found[SIDES][f"{window}x{window}, {WITHOUT}"] = sides(window)
    for row, border in BORDERS.items():
        known, asked = (bordered(part, border) for part in (some, test))
        found[ERROR][row] = {}
        for column, padding in PADDINGS.items():
            model = Stack(16 + 2 * border, padding, rngs=nnx.Rngs(seed))
            run = training.fit(model, known, config=config, observer=None)
            found[ERROR][row][column] = 100 * (1 - training.evaluate(model, asked, run.scaling).accuracy)
            if not border:
                images = run.scaling(asked.images[: 50 if options.quick else 500])
                found[RINGS].setdefault(row, {})[column] = by_ring(np.asarray(inspect.gradient(model, images)))
            say(f"seed {seed}: {row}, {column}: {found[ERROR][row][column]:.2f} %")
    return found


def bordered(dataset: data.Dataset, cells: int) -> data.Dataset:
    """The same pictures with empty cells around."""
    return dataset._replace(images=np.pad(dataset.images, ((0, 0), (cells, cells), (cells, cells), (0, 0))))


def by_ring(gradient: np.ndarray) -> float:
    """The mean magnitude in the outermost ring of cells, over that in the middle four cells."""
    size = np.abs(gradient).mean((0, -1))
    ring = np.ones(size.shape, bool)
    ring[1:-1, 1:-1] = False
    middle = size[7:9, 7:9]
    return float(size[ring].mean() / middle.mean())


def sides(window: int) -> dict[str, float]:
    """The side of the maps after each layer without padding, as long as a window fits."""
    side, found = 16, {"input": 16.0}
    for layer in range(1, DEPTH + 1):
        if side < window:
            break
        side = geometry.output_shape((side, side), window, padding="VALID")[0]
        found[f"layer {layer}"] = side
    return found


def claims(document: Document) -> list[Claim]:
    """What the course says."""
    rows = document["tables"][ERROR]

    def gain(row: str) -> float:
        return mean(document, ERROR, row, WITHOUT) - mean(document, ERROR, row, WITH)

    def told(row: str) -> str:
        return f"{spread(rows[row][WITHOUT])} to {spread(rows[row][WITH])} %"

    rings = document["tables"][RINGS][TOUCHING]
    return [
        Claim(
            "on digits that touch the edge, padding lowers the test error",
            gain(TOUCHING) > 0,
            told(TOUCHING),
        ),
        Claim(
            "there it gains more, or loses less, than on the same digits with an empty border",
            gain(TOUCHING) > gain(FREE),
            f"by {number(gain(TOUCHING))} and by {number(gain(FREE))} points",
        ),
        Claim(
            "without padding, the class depends less on cells at the edge, relative to the middle, than with it",
            mean(document, RINGS, TOUCHING, WITHOUT) < mean(document, RINGS, TOUCHING, WITH),
            f"gradient at the edge over the middle {spread(rings[WITHOUT])}, with padding {spread(rings[WITH])}",
        ),
    ]


def figure(document: Document) -> Any:
    """Errors by border and padding, a point for every seed; and the sides of maps."""
    from matplotlib.figure import Figure

    rows, shrinking = document["tables"][ERROR], document["tables"][SIDES]
    drawn = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = drawn.subplots(1, 2, width_ratios=(1.4, 1))
    for offset, (column, color) in zip((-0.2, 0.2), ((WITHOUT, "0.75"), (WITH, "0.35")), strict=True):
        cells = [row[column] for row in rows.values()]
        left.bar(np.arange(len(rows)) + offset, [cell["mean"] for cell in cells], 0.38, color=color, label=column)
        for place, cell in enumerate(cells):
            left.plot([place + offset] * len(cell["values"]), cell["values"], "o", mfc="white", mec="black", ms=4)
    left.set_xticks(range(len(rows)), [f"digits {row}" for row in rows])
    left.set(ylabel=ERROR, title="what padding keeps")
    left.legend(frameon=False)
    for (row, cells), line in zip(shrinking.items(), ("-", "--", ":"), strict=True):
        right.plot([cell["mean"] for cell in cells.values()], f"o{line}", color="black", label=row.partition(",")[0])
    right.set(xlabel="layers", ylabel="side of the maps, cells", ylim=(0, 17), title="without padding maps shrink")
    right.set_xticks(range(DEPTH + 1))
    right.legend(frameon=False)
    return drawn


EXPERIMENT = Experiment("experiments.padding_edges", __doc__, one_seed, claims, figure)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
