"""Code that people called slow in public, before and after `jaxcnn.by_hand`; no other line of it is changed.

Hypothesis:
  Some convolutions are slow on a CPU: depthwise, grouped, over one axis or three, in bfloat16, inside a loop. Code with
  such convolutions needs no other framework and no other network. With another way to compute the same operation, and
  with a gradient written by hand, it is as fast as in PyTorch.

Proxy:
  Sizes as in the public threads, if these give any; smaller if a call takes more than a second. Two cores; the threads
  have many.

Protocol:
  The same kind of code as in the thread: layers of Equinox under vmap, Linen's, a Keras model, plain lax. Value and
  gradient, towards the parameters, and of a single layer towards its inputs too, jitted: stock, by `jaxcnn.by_hand`,
  with the C++ backend, and the same in PyTorch with a thread for each core. All three alternate; a value is the
  median of 9 rounds, a ratio that of the rounds' ratios.

Expected:
  None slower than stock (a ratio of at least 0.97) or than PyTorch; geometric means of at least 3 and 1.5.

Result:
  3 runs, jax 0.10.2, 2 cores of AMD EPYC, 2026-11-30, commit 5df5943b.
  - Holds: with by_hand no code is slower than in stock JAX (least 1.286 times, one axis).
  - Holds: with by_hand the code is on average at least 3 times as fast as stock JAX (10.65 times).
  - Does not hold: with by_hand no code is slower than in PyTorch (least 0.8512 times, three axes).
  - Does not hold: with by_hand the code is on average at least 1.5 times as fast as PyTorch (1.248 times).

  | value and gradient, ms | stock | by hand | PyTorch |
  | --- | --- | --- | --- |
  | depthwise, channels first | 170.2 ± 16 | 2.516 ± 0.64 | 4.924 ± 0.27 |
  | depthwise, channels last | 242.6 ± 8.1 | 4.858 ± 0.44 | 6.673 ± 0.3 |
  | one axis | 20.83 ± 0.14 | 16.25 ± 0.31 | 18.23 ± 0.37 |
  | three axes | 80.32 ± 1.4 | 7.849 ± 1.1 | 6.51 ± 0.19 |
  | three axes, bfloat16 | 80.01 ± 1 | 5.217 ± 0.71 | 4.851 ± 0.079 |
  | two groups | 769.7 ± 8.1 | 44.27 ± 1.8 | 44.77 ± 0.48 |
  | in a loop | 100.2 ± 1.2 | 3.088 ± 0.12 | 3.136 ± 0.07 |
  | first network of Flax | 25.45 ± 2 | 12.17 ± 0.27 | 16.52 ± 0.28 |
  | network of Equinox's examples | 4.025 ± 0.42 | 1.873 ± 0.069 | 2.48 ± 0.069 |
  | network of Keras's examples | 59.09 ± 1.9 | 5.449 ± 0.15 | 9.841 ± 0.19 |

  | time over that by hand, times | stock | PyTorch |
  | --- | --- | --- |
  | depthwise, channels first | 70.52 ± 9.4 | 2.019 ± 0.5 |
  | depthwise, channels last | 49.97 ± 3.4 | 1.456 ± 0.092 |
  | one axis | 1.286 ± 0.0083 | 1.126 ± 0.026 |
  | three axes | 10.39 ± 1.6 | 0.8512 ± 0.15 |
  | three axes, bfloat16 | 15.54 ± 2.2 | 0.949 ± 0.12 |
  | two groups | 17.39 ± 0.78 | 1.035 ± 0.0074 |
  | in a loop | 33.08 ± 1.3 | 1.044 ± 0.042 |
  | first network of Flax | 1.991 ± 0.055 | 1.336 ± 0.057 |
  | network of Equinox's examples | 2.139 ± 0.11 | 1.331 ± 0.023 |
  | network of Keras's examples | 10.44 ± 0.62 | 1.789 ± 0.0078 |

Command:
  python -m experiments.complaints

Cost:
  46 seconds a run, where the result comes from.
"""

import argparse
import statistics
import sys
from collections.abc import Collection
from typing import Any

import jax
from matplotlib.figure import Figure

import jaxcnn
from experiments.benchmarks.timing import alternate, ratios
from experiments.complainers import COMPLAINTS, Case
from experiments.form import Claim, Document, Experiment, Tables, mean, number, say
from jaxcnn.ops import native

TIMES, RATIOS = "value and gradient, ms", "time over that by hand, times"
STOCK, OURS, TORCH = "stock", "by hand", "PyTorch"
IN_README = (
    "depthwise, channels first",
    "one axis",
    "two groups",
    "network of Equinox's examples",
    "network of Keras's examples",
)
QUICK = "in a loop", "three axes"  # written in lax alone, which the tests have
BEGIN = "<!-- complaints: written by `python -m experiments --write` from experiments/results -->"
END = "<!-- /complaints -->"


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Times and ratios by complaint; a seed is a whole run."""
    del seed
    if not options.quick:
        if not native.available():
            raise ValueError(f"the C++ backend is needed, and is {native.reason()}")
        jaxcnn.training.keep_memory()
    try:
        from experiments.benchmarks import peers_torch  # gives PyTorch its threads
    except ModuleNotFoundError:
        if not options.quick:
            raise
        peers_torch = None
    tables: Tables = {TIMES: {}, RATIOS: {}}
    for name in QUICK if options.quick else COMPLAINTS:
        say(name)
        case = COMPLAINTS[name].build()
        calls = {STOCK: _ready(case.function, case), OURS: _ready(jaxcnn.by_hand(case.function), case)}
        if peers_torch:
            calls[TORCH] = case.torch()
        samples = alternate(calls, rounds=3 if options.quick else 9, budget=1.0 if options.quick else 10.0)
        if peers_torch:
            peers_torch.finish()
        tables[TIMES][name] = {who: 1e3 * statistics.median(times) for who, times in samples.items()}
        others = [who for who in samples if who != OURS]
        tables[RATIOS][name] = {who: ratios(samples[who], samples[OURS]).median for who in others}
        jax.clear_caches()
    return tables


def _ready(function: Any, case: Case) -> Any:
    wanted: Any = (0, 1) if case.both else 0
    compiled = jax.jit(jax.value_and_grad(function, wanted)).lower(*case.arguments).compile()
    arguments = jax.device_put(case.arguments)
    return lambda: jax.block_until_ready(compiled(*arguments))


def claims(document: Document) -> list[Claim]:
    """The bars, on the means over runs."""
    bars = {STOCK: (0.97, 3.0), TORCH: (1.0, 1.5)}
    return [claim for who in _others(document) for claim in _bars(document, who, *bars[who])]


def _others(document: Document) -> list[str]:
    """Whom ours are held against; without PyTorch in a short run where that is missing."""
    return list(next(iter(document["tables"][RATIOS].values())))


def _bars(document: Document, who: str, least: float, wanted: float) -> list[Claim]:
    found = {name: mean(document, RATIOS, name, who) for name in document["tables"][RATIOS]}
    worst = min(found, key=lambda name: found[name])
    average = statistics.geometric_mean(found.values())
    against = "stock JAX" if who == STOCK else who
    slowest = f"least {number(found[worst])} times, {worst}"
    return [
        Claim(f"with by_hand no code is slower than in {against}", found[worst] >= least, slowest),
        Claim(
            f"with by_hand the code is on average at least {wanted:g} times as fast as {against}",
            average >= wanted,
            f"{number(average)} times",
        ),
    ]


def figure(document: Document) -> Any:
    """How many times as long the others take, by complaint."""
    names = list(document["tables"][RATIOS])
    drawing = Figure(figsize=(8, 4.5), layout="constrained")
    axes = drawing.subplots()
    for at, who in enumerate(_others(document)):
        found = [mean(document, RATIOS, name, who) for name in names]
        bars = axes.barh([place + 0.4 * at for place in range(len(names))], found, 0.38, label=who)
        axes.bar_label(bars, [number(value) for value in found], padding=2, fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="speed-up: time divided by the time with by_hand")
    axes.set_yticks([place + 0.2 for place in range(len(names))], names)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.legend()
    return drawing


def table(document: Document, names: Collection[str] = tuple(COMPLAINTS), folder: str = "../experiments") -> str:
    """Times by complaint, between marks.

    Args:
      document: the values.
      names: which complaints.
      folder: where the page finds the scripts.
    """
    lines = ["| what is slow | code | stock | by hand | PyTorch |", "| --- | --- | --- | --- | --- |"]
    for name, complaint in COMPLAINTS.items():
        if name in names:
            times = [f"{_short(mean(document, TIMES, name, who))} ms" for who in (STOCK, OURS, TORCH)]
            lines.append(f"| {name} ({complaint.link}) | {complaint.code} | {times[0]} | **{times[1]}** | {times[2]} |")
    where = f"{document['cores']} cores of {document['processor']}, jax {document['versions']['jax']}"
    lines += ["", f"Value and gradient, of [these]({folder}/complainers.py); {where}, {document['date'][:10]}."]
    return "\n".join([BEGIN, *lines, END])


def readme(document: Document) -> str:
    """A few of them, also one that is no faster."""
    return table(document, IN_README, "experiments")


def _short(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 20 else f"{milliseconds:.1f}"


EXPERIMENT = Experiment("experiments.complaints", __doc__, one_seed, claims, figure, over="runs")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
