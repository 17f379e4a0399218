"""One training step over 1, 2 and 4 devices and over 2 processes: the same parameters, and what it costs.

Hypothesis:
  Training ends with the same parameters for each way to split a batch: by the compiler (`jit`), with the parameters
  split too (`fsdp`), by hand (`pmap`), or over processes. `pmap`, which in JAX is now a `jit` of `shard_map`, takes as
  long as `jit`.

Proxy:
  Devices are threads of one processor (`--xla_force_host_platform_device_count`), processes share it and talk by Gloo
  on one host. So no speed-up beyond the number of cores is possible, and what is measured is the overhead. The
  network is LeNet-5, for which a step is short and the overhead large.

Protocol:
  Cores are those that `os.sched_getaffinity` gives, told in the first line of the result. LeNet-5 on the first 640
  embedded digits, 4 epochs of 10 steps of 64 in all, SGD 0.01 with momentum 0.9, one seed for order and weights in
  all layouts. Every layout runs in processes of its own; each seed runs all of them in turn, beginning with another.
  Time: median over 7 spans of 5 steps, batches included, compilation not. Difference: of each parameter array the
  largest difference from one device's, over its largest value; the worst array counts. It is rounding, 1e-7, until a
  sum that was rounded otherwise tips a maximum or a ReLU: from then on errors take another path. Seed 2 shows it: the
  same run over 2 devices with averages and tanh in place of maxima and ReLU differs by 3e-7.

Expected:
  Differences of 1e-6 or less. On 2 cores or fewer, no layout much faster than one device, with LeNet-5; four devices
  slower than two, two processes slower than two devices of one process.

Result:
  3 seeds, jax 0.12.0.1, 2 cores of Intel(R) Xeon(R) Processor @ 2.80GHz, 2026-11-22, commit 3972167.
  - Does not hold: every layout ends with the same parameters as one device, to 1e-5 of the largest (10 layouts, worst
    2.9e-03).
  - Holds: devices that share the cores are no faster than the number of cores allows (2 cores; a step takes 0.93 (2
    devices, jit) to 3.60 (2 processes, fsdp) times one device's).
  - Holds: pmap takes at most a tenth longer than jit (1 device 1.08 times, 2 devices 1.04 times, 4 devices 0.95 times,
    2 processes 1.07 times).
  - Holds: two processes are slower than two devices of one process (31.3 ms against 10.5 ms a step by jit).
  - Stands out, to be looked into: seed 2 in difference of parameters, relative of 2 devices, jit: 0.002885, median
    2.42e-07.
  - Stands out, to be looked into: seed 2 in difference of parameters, relative of 2 devices, fsdp: 0.002885, median
    3.02e-07.
  - Stands out, to be looked into: seed 2 in difference of parameters, relative of 4 devices, fsdp: 0.002885, median
    3.45e-07.
  - Stands out, to be looked into: seed 2 in difference of parameters, relative of 4 devices, pmap: 0.002884, median
    2.6e-07.
  - Stands out, to be looked into: seed 2 in difference of parameters, relative of 2 processes, jit: 0.002885, median
    3.02e-07.
  - Stands out, to be looked into: seed 2 in difference of parameters, relative of 2 processes, fsdp: 0.002884, median
    3.25e-07.

  | a step, ms | jit | pmap | fsdp |
  | --- | --- | --- | --- |
  | 1 device | 11.46 ± 2.2 | 12.4 ± 2.5 |  |
  | 2 devices | 10.53 ± 1.3 | 10.9 ± 1.2 | 11.42 ± 2.3 |
  | 4 devices | 12.62 ± 1.4 | 11.97 ± 1.6 | 15.6 ± 1.5 |
  | 2 processes | 31.3 ± 0.97 | 33.58 ± 1.5 | 40.04 ± 3.8 |

  | a step, times one device's | jit | pmap | fsdp |
  | --- | --- | --- | --- |
  | 1 device | 1 | 1.099 ± 0.25 |  |
  | 2 devices | 0.9294 ± 0.12 | 0.9642 ± 0.13 | 1.046 ± 0.38 |
  | 4 devices | 1.143 ± 0.33 | 1.086 ± 0.33 | 1.378 ± 0.14 |
  | 2 processes | 2.806 ± 0.59 | 2.983 ± 0.43 | 3.601 ± 0.87 |

  | difference of parameters, relative | jit | pmap | fsdp |
  | --- | --- | --- | --- |
  | 1 device | 0 | 0 |  |
  | 2 devices | 0.000962 ± 0.0017 | 2.76e-07 ± 1.2e-07 | 0.000962 ± 0.0017 |
  | 4 devices | 2.56e-07 ± 4.7e-08 | 0.000962 ± 0.0017 | 0.000962 ± 0.0017 |
  | 2 processes | 0.000962 ± 0.0017 | 0.001097 ± 0.0016 | 0.000962 ± 0.0017 |

Command:
  python -m experiments.scaling --seeds 0 1 2

Cost:
  2.3 minutes a seed, where the result comes from.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from experiments.benchmarks.timing import spread
from experiments.form import Claim, Document, Experiment, Tables, mean, say
from jaxcnn import data, models, training

TIME, RELATIVE = "a step, ms", "a step, times one device's"
DIFFER = "difference of parameters, relative"
BATCH, EXAMPLES, EPOCHS, SPAN = 64, 640, 4, 5
LIMIT = 900  # seconds for one layout


class Spread(NamedTuple):
    """How a step is spread."""

    kind: str
    devices: int  # of each process
    processes: int = 1

    @property
    def row(self) -> str:
        """Its name in tables."""
        return (
            f"{self.processes} processes" if self.processes > 1 else f"{self.devices} device{'s' * (self.devices > 1)}"
        )


ONE = Spread("jit", 1)
KINDS = ("jit", "fsdp", "pmap")
ALL = (ONE, Spread("pmap", 1), *(Spread(kind, *rest) for rest in ((2, 1), (4, 1), (1, 2)) for kind in KINDS))
QUICK = (ONE, Spread("pmap", 2))


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Times and differences by layout."""
    order = QUICK if options.quick else ALL
    first = seed % len(order)
    times, parameters = {}, {}
    for how in order[first:] + order[:first]:
        times[how], parameters[how] = measured(how, seed, options.quick)
        say(f"seed {seed}: {how.row}, {how.kind}: {times[how]:.2f} ms a step")
    found: Tables = {TIME: {}, RELATIVE: {}, DIFFER: {}}
    for how in order:
        found[TIME].setdefault(how.row, {})[how.kind] = times[how]
        found[RELATIVE].setdefault(how.row, {})[how.kind] = times[how] / times[ONE]
        found[DIFFER].setdefault(how.row, {})[how.kind] = difference(parameters[how], parameters[ONE])
    return found


def difference(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """The worst array's."""
    return max(float(np.abs(found[name] - b).max() / np.abs(b).max()) for name, b in expected.items())


def measured(how: Spread, seed: int, quick: bool) -> tuple[float, dict[str, np.ndarray]]:
    """Milliseconds a step, and the parameters at the end, from processes of its own.

    Raises:
      OSError: if one of them fails or takes too long.
    """
    flags = f"--xla_force_host_platform_device_count={how.devices}"
    surroundings = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        out, port = Path(folder) / "found.npz", free_port()
        runs = []
        for process in range(how.processes):
            asked = {"kind": how.kind, "processes": how.processes, "process": process, "port": port}
            asked |= {"seed": seed, "quick": quick, "out": str(out)}
            command = [sys.executable, "-m", "experiments.scaling", "--train", json.dumps(asked)]
            runs.append(
                subprocess.Popen(
                    command,
                    cwd=Path(__file__).parent.parent,
                    env=surroundings,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        try:
            told = [run.communicate(timeout=LIMIT)[0] for run in runs]
        except subprocess.TimeoutExpired:
            raise OSError(f"{how} must end within {LIMIT} s; it did not.") from None
        finally:
            for run in runs:
                run.kill()
        if any(run.returncode for run in runs):
            words = [line for text in told for line in text.splitlines() if re.match(r"\w*(Error|Exception)\b", line)]
            raise OSError(f"{how} must end well; {' '.join(words[:1]) or told}")
        with np.load(out) as arrays:
            values = dict(arrays)
    return float(values.pop("milliseconds")), values


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def train(asked: dict[str, Any]) -> int:
    """One process of a layout: trains, and the first one writes what was found."""
    if asked["processes"] > 1:
        training.initialize(f"localhost:{asked['port']}", asked["processes"], asked["process"])
    some = data.load("digits", "train").take(EXAMPLES)
    model = models.create("mlp" if asked["quick"] else "lenet5", num_classes=10, rngs=nnx.Rngs(asked["seed"]))
    config = training.TrainConfig(
        epochs=1 if asked["quick"] else EPOCHS,
        batch_size=BATCH,
        optimizer="sgd",
        learning_rate=0.01,
        seed=asked["seed"],
        log_every=SPAN,
    )
    rows: list[dict[str, Any]] = []
    training.fit(model, some, config=config, observer=rows.append, layout=training.Layout(asked["kind"]))
    first = training.is_first()
    training.leave()
    if first:
        spans = [1e3 * BATCH / row["images_per_second"] for row in rows[1:]]  # the first begins with compilation
        leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
        values: dict[str, Any] = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
        np.savez(asked["out"], milliseconds=spread(spans).median, **values)
    return 0


def claims(document: Document) -> list[Claim]:
    """Equal results first, then what each way costs."""
    tables, cores = document["tables"], document["cores"]
    cells = [(row, kind) for row in tables[TIME] for kind in tables[TIME][row] if (row, kind) != (ONE.row, ONE.kind)]
    worst = max(max(tables[DIFFER][row][kind]["values"]) for row, kind in cells)
    relative = {cell: mean(document, RELATIVE, *cell) for cell in cells}
    fastest, slowest = (choice(relative, key=lambda cell: relative[cell]) for choice in (min, max))
    over = {
        row: mean(document, TIME, row, "pmap") / mean(document, TIME, row, "jit")
        for row, kinds in tables[TIME].items()
        if {"pmap", "jit"} <= set(kinds)
    }
    two = [row for row in ("2 devices", "2 processes") if "jit" in tables[TIME].get(row, {})]
    found = [
        Claim(
            "every layout ends with the same parameters as one device, to 1e-5 of the largest",
            worst <= 1e-5,
            f"{len(cells)} layouts, worst {worst:.1e}",
        ),
        Claim(
            "devices that share the cores are no faster than the number of cores allows",
            min(relative.values()) >= 0.9 / cores,
            f"{cores} core{'s' * (cores > 1)}; a step takes {relative[fastest]:.2f} ({', '.join(fastest)}) to "
            f"{relative[slowest]:.2f} ({', '.join(slowest)}) times one device's",
        ),
    ]
    if over:
        found.append(
            Claim(
                "pmap takes at most a tenth longer than jit",
                max(over.values()) <= 1.1,
                ", ".join(f"{row} {ratio:.2f} times" for row, ratio in over.items()),
            )
        )
    if len(two) == 2:
        inside, across = (mean(document, TIME, row, "jit") for row in two)
        found.append(
            Claim(
                "two processes are slower than two devices of one process",
                across > inside,
                f"{across:.1f} ms against {inside:.1f} ms a step by jit",
            )
        )
    return found


def figure(document: Document) -> Any:
    """Bars of time, by layout, with a dot for each seed."""
    from matplotlib.figure import Figure

    rows = document["tables"][TIME]
    drawn = Figure(figsize=(8, 3.8), layout="constrained")
    axes = drawn.subplots()
    for number, (kind, shade) in enumerate(zip(KINDS, ("0.35", "0.65", "0.9"), strict=True)):
        if not (there := [(place, row) for place, row in enumerate(rows) if kind in rows[row]]):
            continue
        at = [place + 0.27 * (number - 1) for place, _ in there]
        heights = [rows[row][kind]["mean"] for _, row in there]
        axes.bar(at, heights, 0.25, color=shade, edgecolor="black", linewidth=0.6, label=kind)
        for x, (_, row) in zip(at, there, strict=True):
            values = rows[row][kind]["values"]
            axes.plot([x] * len(values), values, "o", color="white", markeredgecolor="black", markersize=4)
    if ONE.kind in rows.get(ONE.row, {}):
        axes.axhline(rows[ONE.row][ONE.kind]["mean"], color="black", linestyle=":", linewidth=1)
    axes.set_xticks(range(len(rows)), list(rows))
    cores = document["cores"]
    axes.set(ylabel="one step of LeNet-5, 64 digits, ms (dots: seeds)", ylim=(0, None))
    axes.set_title(f"Time of a step in each layout; {cores} core{'s' * (cores > 1)} in all")
    axes.spines[["top", "right"]].set_visible(False)
    drawn.legend(frameon=False, title="layout", loc="outside right upper")
    return drawn


EXPERIMENT = Experiment("experiments.scaling", __doc__, one_seed, claims, figure)

if __name__ == "__main__":
    sys.exit(train(json.loads(sys.argv[2])) if sys.argv[1:2] == ["--train"] else EXPERIMENT.main())
