"""Which functions a network of one hidden layer can be: steps give stairs, ReLUs give broken lines.

Hypothesis:
  With unit steps or signum in the hidden layer, the output is a piecewise constant function of the input; with ReLU,
  leaky ReLU or PReLU it is piecewise linear. On a line, N hidden units give at most N + 1 pieces. With sigmoid or tanh
  it is neither. With more units, both kinds of pieces approximate a smooth function better, and lines better than
  steps.

Proxy:
  Functions of one variable, where pieces can be counted and drawn. The first layer is drawn at random; the second one
  is solved for by least squares, so that no optimizer has a part in the result.

Protocol:
  y = w2 f(w1 x + b1) + b2 at 4,001 places x from -1 to 1; w1 is 1 or -1 (12 for sigmoid and tanh, so that a unit's
  curve fits into the range), and the N units change at thresholds drawn from the range. With 16 units and random w2, a
  constant and a line are fitted between every two thresholds; what they leave, at most, is given as a share of the
  range of y. Then w2 and b2 fit sin(5 x) + x / 2; the error is the root of the mean squared error.

Expected:
  17 pieces; a constant leaves nothing of steps, a line nothing of ReLUs. The error falls as 1 / N for steps, as 1 / N^2
  for ReLUs (the theory of splines, for even thresholds); random thresholds are worse.

Result:
  5 seeds, jax 0.10.2, 2 cores of AMD EPYC, 2026-11-30, commit 4e633df.
  - Holds: between the thresholds of its units, a network of steps is constant (16 units, at most 17 pieces; constants
    leave 3e-13 %).
  - Holds: between the thresholds of its units, a network of ReLU, leaky ReLU or PReLU is linear (16 units, at most 17
    pieces; lines leave 7e-05 %).
  - Holds: with sigmoid or tanh it is neither (lines leave 2.933 % or more).
  - Holds: with more units, both approximate a smooth function better, and lines better than steps (unit_step 0.3494 to
    0.03182, relu 0.2057 to 0.001346, from 8 to 128 units).

  | 16 units with random weights, % of the range | pieces | left by constants | left by lines |
  | --- | --- | --- | --- |
  | unit_step | 17 | 1.49e-13 ± 1e-13 | 1.65e-13 ± 1.1e-13 |
  | signum | 17 | 1.41e-13 ± 5.9e-14 | 1.61e-13 ± 6.4e-14 |
  | relu | 17 | 16.2 ± 6.4 | 9.59e-06 ± 1.2e-05 |
  | leaky_relu | 17 | 16.19 ± 6.4 | 9.77e-06 ± 1.3e-05 |
  | prelu | 17 | 17.38 ± 8.3 | 1.86e-05 ± 3e-05 |
  | sigmoid | 17 | 16.48 ± 3.7 | 6.946 ± 3.3 |
  | tanh | 17 | 20.39 ± 5.7 | 10.78 ± 4 |

  | error of the fit, root mean square | 8 | 32 | 128 |
  | --- | --- | --- | --- |
  | unit_step | 0.3494 ± 0.042 | 0.1406 ± 0.038 | 0.03182 ± 0.0034 |
  | signum | 0.3494 ± 0.042 | 0.1406 ± 0.038 | 0.03182 ± 0.0034 |
  | relu | 0.2057 ± 0.15 | 0.02651 ± 0.017 | 0.001346 ± 0.00031 |
  | leaky_relu | 0.2057 ± 0.15 | 0.02651 ± 0.017 | 0.001346 ± 0.00031 |
  | prelu | 0.2063 ± 0.15 | 0.02651 ± 0.017 | 0.001346 ± 0.00031 |
  | sigmoid | 0.1415 ± 0.05 | 0.000796 ± 0.00059 | 7.11e-06 ± 1.8e-06 |
  | tanh | 0.2417 ± 0.044 | 0.0158 ± 0.015 | 8.18e-06 ± 5.4e-06 |

Command:
  python -m experiments.piecewise --seeds 0 1 2 3 4

Cost:
  24 seconds a seed, where the result comes from.
"""

import argparse
import functools
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.form import Claim, Document, Experiment, Tables, mean, number, say
from jaxcnn import layers, ops

PIECES, ERROR = "16 units with random weights, % of the range", "error of the fit, root mean square"
CONSTANT, LINE = "left by constants", "left by lines"
STEPS, LINES, CURVES = ("unit_step", "signum"), ("relu", "leaky_relu", "prelu"), ("sigmoid", "tanh")
UNITS = (8, 32, 128)
COUNT, TINY = 16, 1e-3  # percent: rounding of 32 bits
X = np.linspace(-1, 1, 4001, dtype=np.float32)
FEW = {"unit_step": "piecewise constant", "relu": "piecewise linear", "tanh": "smooth"}  # that are drawn


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """What constants and lines leave by activation; errors by activation and number of units."""
    found: Tables = {PIECES: {}, ERROR: {}}
    for name in (*STEPS, *LINES, *CURVES):
        found[PIECES][name] = left(random_function(name, seed), units_of(seed, COUNT)[1])
        found[ERROR][name] = {str(units): error(name, seed, units) for units in UNITS[: 2 if options.quick else None]}
        say(f"seed {seed}: {name}: {found[PIECES][name]}, errors {found[ERROR][name]}")
    return found


def units_of(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The direction and the threshold of every unit."""
    random = np.random.default_rng((seed, count))
    return random.choice([-1.0, 1.0], count).astype(np.float32), random.uniform(-1, 1, count).astype(np.float32)


def hidden(name: str, seed: int, units: int) -> np.ndarray:
    """The outputs of the hidden layer for every cell, `(cells, units)`."""
    direction, thresholds = units_of(seed, units)
    steepness = 12 if name in CURVES else 1
    return np.asarray(activation(name)(jnp.asarray(steepness * direction * (X[:, None] - thresholds))))


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
    """An activation by its name; PReLU with a slope of its own for the whole layer."""
    return functools.partial(ops.prelu, slope=jnp.float32(0.4)) if name == "prelu" else layers.Activation(name)


def random_function(name: str, seed: int) -> np.ndarray:
    """An output with random weights, whose signs alternate along the line, so that the pieces are seen."""
    weights = np.abs(np.random.default_rng((seed, 7)).normal(size=COUNT))
    order = np.argsort(np.argsort(units_of(seed, COUNT)[1]))
    return hidden(name, seed, COUNT) @ (weights * (-1.0) ** order)


def left(y: np.ndarray, thresholds: np.ndarray) -> dict[str, float]:
    """What constants and lines between the thresholds leave of a function, in percent of its range."""
    piece = np.searchsorted(np.sort(thresholds), X)
    rests = {CONSTANT: 0.0, LINE: 0.0}
    for place in np.unique(piece):
        x, its = X[piece == place].astype(np.float64), y[piece == place]
        for name, degree in ((CONSTANT, 0), (LINE, 1)):
            if len(x) > degree + 1:
                line = np.polynomial.Polynomial.fit(x, its, degree)
                rests[name] = max(rests[name], float(np.abs(its - line(x)).max()))
    return {"pieces": len(np.unique(piece))} | {name: 100 * rest / float(np.ptp(y)) for name, rest in rests.items()}


def target(x: np.ndarray) -> np.ndarray:
    """What is approximated."""
    return np.sin(5 * x) + x / 2


def fitted(name: str, seed: int, units: int) -> np.ndarray:
    """The output whose second layer fits the target best."""
    rows = np.concatenate([hidden(name, seed, units), np.ones((len(X), 1))], 1).astype(np.float64)
    weights, *_ = np.linalg.lstsq(rows, target(X), rcond=1e-8)
    return rows @ weights


def error(name: str, seed: int, units: int) -> float:
    """The root of the mean squared error of the fit."""
    return float(np.sqrt(np.mean((fitted(name, seed, units) - target(X)) ** 2)))


def claims(document: Document) -> list[Claim]:
    """What the lectures say."""
    rows = document["tables"][PIECES]

    def most(names: tuple[str, ...], column: str) -> float:
        return max(max(rows[name][column]["values"]) for name in names)

    sizes = list(document["tables"][ERROR]["relu"])
    errors = {name: [mean(document, ERROR, name, size) for size in sizes] for name in document["tables"][ERROR]}
    told = {name: f"{name} {number(values[0])} to {number(values[-1])}" for name, values in errors.items()}
    curved = min(min(rows[name][LINE]["values"]) for name in CURVES)
    return [
        Claim(
            "between the thresholds of its units, a network of steps is constant",
            most(STEPS, CONSTANT) < TINY,
            f"{COUNT} units, at most {most(STEPS, 'pieces')} pieces; constants leave {most(STEPS, CONSTANT):.1g} %",
        ),
        Claim(
            "between the thresholds of its units, a network of ReLU, leaky ReLU or PReLU is linear",
            most(LINES, LINE) < TINY < min(rows[name][CONSTANT]["mean"] for name in LINES),
            f"{COUNT} units, at most {most(LINES, 'pieces')} pieces; lines leave {most(LINES, LINE):.1g} %",
        ),
        Claim(
            "with sigmoid or tanh it is neither",
            curved > 100 * TINY,
            f"lines leave {number(curved)} % or more",
        ),
        Claim(
            "with more units, both approximate a smooth function better, and lines better than steps",
            all(values == sorted(values, reverse=True) for values in (errors["unit_step"], errors["relu"]))
            and all(line < step for line, step in zip(errors["relu"], errors["unit_step"], strict=True)),
            f"{told['unit_step']}, {told['relu']}, from {sizes[0]} to {sizes[-1]} units",
        ),
    ]


def figure(document: Document) -> Any:
    """Random functions above, fits below; one column each for stairs, broken lines and curves; of the first seed."""
    from matplotlib.figure import Figure

    seed = document["seeds"][0]
    drawn = Figure(figsize=(9.5, 5), layout="constrained")
    upper, lower = drawn.subplots(2, len(FEW), sharex=True)
    for top, bottom, (name, kind) in zip(upper, lower, FEW.items(), strict=True):
        for threshold in units_of(seed, COUNT)[1]:
            top.axvline(threshold, color="0.85", lw=0.7)
        top.plot(X, random_function(name, seed), color="black", lw=1)
        top.set_title(f"{name}: {kind}", fontsize=10)
        bottom.plot(X, target(X), color="0.7", lw=3, label="sin(5 x) + x / 2")
        for units, line in ((8, "--"), (32, "-")):
            bottom.plot(X, fitted(name, seed, units), line, color="black", lw=1, label=f"{units} units")
        bottom.set_xlabel("x")
    upper[0].set_ylabel("16 units,\nrandom weights")
    lower[0].set_ylabel("fitted")
    lower[0].legend(frameon=False, fontsize="small")
    return drawn


EXPERIMENT = Experiment("experiments.piecewise", __doc__, one_seed, claims, figure, seeds=(0, 1, 2, 3, 4))

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
