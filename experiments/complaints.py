"""What people complain of in public, and what `jaxcnn.by_hand` makes of their code without a line of it changed.

Hypothesis:
  Convolutions that are slow on a CPU (depthwise, grouped, over one axis or three, in bfloat16, inside a loop), and
  networks that hold them, need no other framework and no other network: another way to compute the same operation, and
  a gradient written by hand, make them as fast as PyTorch's.

Proxy:
  Sizes as in the threads where they name some, smaller where a call takes more than a second; two cores, where the
  threads have many.

Protocol:
  The complainer's kind of code: layers of Equinox under vmap, Linen's, a Keras model, plain lax. Value and gradient,
  towards the parameters, and of a single layer towards its inputs too, jitted: stock, by `jaxcnn.by_hand`, with the
  C++ backend, and the same in PyTorch with a thread for each core. All three alternate; a value is the median of 9
  rounds, a ratio that of the rounds' ratios.

Expected:
  None slower than stock (a ratio of at least 0.97) or than PyTorch; geometric means of at least 3 and 1.5.

Result:
  None yet: not run in full.

Command:
  python -m experiments.complaints

Cost:
  Some minutes.
"""

import argparse
import statistics
import sys
from typing import Any

import jax
import matplotlib.pyplot as plt

import jaxcnn
from experiments.benchmarks.timing import alternate, ratios
from experiments.complainers import COMPLAINTS, Case
from experiments.form import Claim, Document, Experiment, Tables, mean, number, say
from jaxcnn.ops import native

TIMES, RATIOS = "value and gradient, ms", "time over that by hand, times"
STOCK, OURS, TORCH = "stock", "by hand", "PyTorch"
BEGIN = "<!-- complaints: written by `python -m experiments --write` from experiments/results -->"
END = "<!-- /complaints -->"


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Times and ratios by complaint; a seed is a whole run."""
    del seed
    if not native.available():
        raise ValueError(f"the C++ backend must be built: `jaxcnn doctor --build-onednn`; {native.reason()}")
    from experiments.benchmarks import peers_torch  # gives PyTorch its threads

    jaxcnn.training.keep_memory()
    tables: Tables = {TIMES: {}, RATIOS: {}}
    for name, complaint in COMPLAINTS.items():
        say(name)
        case = complaint.build()
        calls = {STOCK: _ready(case.function, case), OURS: _ready(jaxcnn.by_hand(case.function), case)}
        calls[TORCH] = case.torch()
        samples = alternate(calls, rounds=3 if options.quick else 9, budget=1.0 if options.quick else 10.0)
        peers_torch.finish()
        tables[TIMES][name] = {who: 1e3 * statistics.median(times) for who, times in samples.items()}
        tables[RATIOS][name] = {who: ratios(samples[who], samples[OURS]).median for who in (STOCK, TORCH)}
        jax.clear_caches()
    return tables


def _ready(function: Any, case: Case) -> Any:
    wanted: Any = (0, 1) if case.both else 0
    compiled = jax.jit(jax.value_and_grad(function, wanted)).lower(*case.arguments).compile()
    arguments = jax.device_put(case.arguments)
    return lambda: jax.block_until_ready(compiled(*arguments))


def claims(document: Document) -> list[Claim]:
    """The bars, on the means over runs."""
    return [*_bars(document, STOCK, 0.97, 3.0), *_bars(document, TORCH, 1.0, 1.5)]


def _bars(document: Document, who: str, least: float, wanted: float) -> list[Claim]:
    found = {name: mean(document, RATIOS, name, who) for name in document["tables"][RATIOS]}
    worst = min(found, key=lambda name: found[name])
    average = statistics.geometric_mean(found.values())
    against = "stock JAX" if who == STOCK else who
    slowest = f"least {number(found[worst])} times, {worst}"
    return [
        Claim(f"by hand nobody's code is slower than in {against}", found[worst] >= least, slowest),
        Claim(
            f"on average by hand is {wanted:g} times as fast as {against}",
            average >= wanted,
            f"{number(average)} times",
        ),
    ]


def figure(document: Document) -> Any:
    """How many times as long the others take, by complaint."""
    names = list(document["tables"][RATIOS])
    drawing, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for at, who in enumerate((STOCK, TORCH)):
        found = [mean(document, RATIOS, name, who) for name in names]
        bars = axes.barh([place + 0.4 * at for place in range(len(names))], found, 0.38, label=who)
        axes.bar_label(bars, [number(value) for value in found], padding=2, fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="time over that by hand, times")
    axes.set_yticks([place + 0.2 for place in range(len(names))], names)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.legend()
    return drawing


def readme(document: Document) -> str:
    """The README's table, between its marks."""
    lines = ["| what is slow | code | stock | by hand | PyTorch |", "| --- | --- | --- | --- | --- |"]
    for name, complaint in COMPLAINTS.items():
        times = [f"{mean(document, TIMES, name, who):.3g} ms" for who in (STOCK, OURS, TORCH)]
        lines.append(f"| {name} ({complaint.link}) | {complaint.code} | {times[0]} | **{times[1]}** | {times[2]} |")
    where = f"{document['cores']} cores of {document['processor']}, jax {document['versions']['jax']}"
    lines += ["", f"Value and gradient, of [these](experiments/complainers.py); {where}, {document['date'][:10]}."]
    return "\n".join([BEGIN, *lines, END])


EXPERIMENT = Experiment("experiments.complaints", __doc__, one_seed, claims, figure, over="runs")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
