"""One convolution in three implementations: loops, im2col, and one operation; the last one also by oneDNN.

Hypothesis:
  Explicit loops, one matrix product (im2col) and a library's convolution compute the same values and gradients. Loops
  are slowest. im2col is faster but needs more memory: as many times the input as the window has taps.

Proxy:
  Compiled loops, `lax.fori_loop` over every output value; loops of Python would be slower still. One batch of 4, 8
  channels to 8 maps, 3x3, stride 1, SAME, on squares from 8x8 on.

Protocol:
  `ops.conv` with `method="loops"`, `"im2col"`, `"lax"` (XLA's convolution), `"jax"` (the fastest form without oneDNN)
  and, where it is built, `"native"`, which is asked for by name; random normal inputs, kernels and errors by seed.
  Values: the largest difference of output and both gradients from float64 of XLA, over the largest value. Time: medians
  of 9 rounds in which all take turns, each first in its turn; first the output alone, then with both gradients.
  Memory: temporaries of the compiled function for output and gradients, by XLA's analysis; what oneDNN takes for itself
  is not in it. Times of all seeds are measurements of the same programs.

Expected:
  Differences below 1e-5. In larger pictures loops about 10 times as slow as im2col, and im2col slower than XLA's
  convolution, with temporaries of at least 9 inputs; the convolution without.

Result:
  3 seeds, jax 0.12.0.1, 1 core of Intel(R) Xeon(R) Processor @ 2.80GHz, 2026-11-22, commit 951e2d6.
  - Does not hold: all implementations compute the same values and gradients, to 1e-5 of the largest (largest difference
    1.1e-05).
  - Holds: with gradients, one matrix product (im2col) is faster than loops at every size (3.57 times at 8x8, 5.43 times
    at 16x16, 3.6 times at 32x32, 2.6 times at 64x64, 1.03 times at 128x128).
  - Holds: on the largest pictures, 128x128, a convolution as one operation is faster than im2col (lax 5.86 times, jax
    5.99 times, native 17.2 times).
  - Holds: at every size im2col needs temporary memory of at least 9 times the input, and the convolution less (im2col
    20 to 20 inputs; at 128x128 lax 1, jax 2, native 0).

  | output, ms | loops | im2col | lax | jax | native |
  | --- | --- | --- | --- | --- | --- |
  | 8x8 | 0.5514 ± 0.029 | 0.14 ± 0.028 | 0.1474 ± 0.022 | 0.1797 ± 0.019 | 0.08597 ± 0.022 |
  | 16x16 | 1.71 ± 0.52 | 0.4371 ± 0.19 | 0.3755 ± 0.11 | 0.2994 ± 0.098 | 0.176 ± 0.075 |
  | 32x32 | 7.153 ± 1.3 | 2.361 ± 0.76 | 0.7145 ± 0.091 | 1.084 ± 0.07 | 0.4862 ± 0.03 |
  | 64x64 | 24.39 ± 9.6 | 17.16 ± 5 | 3.589 ± 2.9 | 4.073 ± 1.7 | 1.16 ± 0.36 |
  | 128x128 | 87.55 ± 6.4 | 153.1 ± 6.9 | 11.67 ± 1.6 | 11.24 ± 1.8 | 3.776 ± 0.76 |

  | output and gradients, ms | loops | im2col | lax | jax | native |
  | --- | --- | --- | --- | --- | --- |
  | 8x8 | 1.033 ± 0.33 | 0.2895 ± 0.083 | 0.3573 ± 0.086 | 0.3693 ± 0.071 | 0.2075 ± 0.072 |
  | 16x16 | 4.045 ± 1.4 | 0.745 ± 0.32 | 0.7828 ± 0.15 | 0.89 ± 0.2 | 0.4655 ± 0.11 |
  | 32x32 | 14.85 ± 1.3 | 4.119 ± 1.6 | 4.117 ± 0.16 | 4.122 ± 0.74 | 1.227 ± 0.44 |
  | 64x64 | 52.08 ± 17 | 20.01 ± 4.1 | 10.14 ± 3.3 | 12.18 ± 1.9 | 4.289 ± 1.4 |
  | 128x128 | 197.1 ± 26 | 191.7 ± 46 | 32.71 ± 7.2 | 32.01 ± 8.9 | 11.14 ± 4.2 |

  | temporaries, MB | loops | im2col | lax | jax | native |
  | --- | --- | --- | --- | --- | --- |
  | 8x8 | 0.02603 | 0.1638 | 0.0105 | 0.01638 | 0 |
  | 16x16 | 0.08338 | 0.6554 | 0.03507 | 0.06554 | 0 |
  | 32x32 | 0.2964 | 2.621 | 0.1334 | 0.2621 | 0 |
  | 64x64 | 1.116 | 10.49 | 0.5266 | 1.049 | 0 |
  | 128x128 | 4.327 | 41.94 | 2.099 | 4.194 | 0 |

  | largest difference, relative | loops | im2col | lax | jax | native |
  | --- | --- | --- | --- | --- | --- |
  | 8x8 | 3.66e-07 ± 6.1e-08 | 3.74e-07 ± 6.1e-08 | 3.16e-07 ± 4.5e-08 | 3.16e-07 ± 4.5e-08 | 3.66e-07 ± 6.1e-08 |
  | 16x16 | 9.65e-07 ± 2.7e-07 | 6.79e-07 ± 1.1e-07 | 3.87e-07 ± 6.9e-08 | 3.87e-07 ± 6.9e-08 | 9.65e-07 ± 2.7e-07 |
  | 32x32 | 1.74e-06 ± 9.7e-08 | 1.2e-06 ± 4.8e-07 | 3.51e-07 ± 1.2e-08 | 3.51e-07 ± 1.2e-08 | 1.74e-06 ± 9.7e-08 |
  | 64x64 | 3.21e-06 ± 1.1e-06 | 1.01e-06 ± 1.7e-07 | 3.69e-07 ± 2.8e-08 | 3.69e-07 ± 2.8e-08 | 3.21e-06 ± 1.1e-06 |
  | 128x128 | 8.69e-06 ± 2.1e-06 | 8.51e-07 ± 2.6e-07 | 5.37e-07 ± 6e-08 | 5.37e-07 ± 6e-08 | 8.69e-06 ± 2.1e-06 |

Command:
  python -m experiments.three_implementations --seeds 0 1 2

Cost:
  25 seconds a seed, where the result comes from.
"""

import argparse
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.timing import alternate, spread
from experiments.form import Claim, Document, Experiment, Tables, mean, number, say
from jaxcnn import ops

FORWARD, BOTH = "output, ms", "output and gradients, ms"
MEMORY, DIFFER = "temporaries, MB", "largest difference, relative"
BATCH, CHANNELS, MAPS, WINDOW = 4, 8, 8, 3
SIZES, QUICK = (8, 16, 32, 64, 128), (8, 16)
METHODS = ("loops", "im2col", "lax", "jax", "native")


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Times, memory and differences by size of the picture and method."""
    found: Tables = {FORWARD: {}, BOTH: {}, MEMORY: {}, DIFFER: {}}
    onednn = ops.native.available() and jax.default_backend() == "cpu"
    if not onednn:
        say(f"oneDNN not run: {ops.native.reason()}")
    rounds = 3 if options.quick else 9
    for size in QUICK if options.quick else SIZES:
        row, random = f"{size}x{size}", np.random.default_rng([seed, size])
        shapes = (BATCH, size, size, MAPS), (BATCH, size, size, CHANNELS), (WINDOW, WINDOW, CHANNELS, MAPS)
        arrays = [random.standard_normal(shape, np.float32) for shape in shapes]
        with jax.enable_x64(True):
            exact = compiled("lax", size, True)(*(array.astype(np.float64) for array in arrays))
        methods = [name for name in METHODS if name != "native" or onednn]
        placed = jax.device_put(arrays)
        programs = {name: compiled(name, size, False) for name in methods}
        found[DIFFER][row] = {name: difference(program(*placed), exact) for name, program in programs.items()}
        found[MEMORY][row] = {
            name: program.memory_analysis().temp_size_in_bytes / 1e6 for name, program in programs.items()
        }
        calls = {name: partial(done, output(name, size), *placed[1:]) for name in methods}
        found[FORWARD][row] = medians(alternate(calls, rounds=rounds))
        calls = {name: partial(done, program, *placed) for name, program in programs.items()}
        found[BOTH][row] = medians(alternate(calls, rounds=rounds))
        say(f"seed {seed}: {row}, ms:", {name: f"{value:.3g}" for name, value in found[BOTH][row].items()})
    return found


def convolution(method: Any, inputs: jax.Array, kernel: jax.Array) -> jax.Array:
    """The one that is written in all ways."""
    return ops.conv(inputs, kernel, method=method)


@cache
def output(method: str, size: int) -> Callable[..., Any]:
    """The output alone, compiled."""
    shapes = (BATCH, size, size, CHANNELS), (WINDOW, WINDOW, CHANNELS, MAPS)
    return jax.jit(partial(convolution, method)).lower(*(jax.ShapeDtypeStruct(s, np.float32) for s in shapes)).compile()


@cache
def compiled(method: str, size: int, wide: bool) -> Any:
    """Output and both gradients, compiled for pictures of this size."""

    def run(error: jax.Array, *arrays: jax.Array) -> tuple[jax.Array, ...]:
        outputs, pull_back = jax.vjp(partial(convolution, method), *arrays)
        return outputs, *pull_back(error)

    shapes = (BATCH, size, size, MAPS), (BATCH, size, size, CHANNELS), (WINDOW, WINDOW, CHANNELS, MAPS)
    kind = np.float64 if wide else np.float32
    return jax.jit(run).lower(*(jax.ShapeDtypeStruct(shape, kind) for shape in shapes)).compile()


def difference(found: Any, exact: Any) -> float:
    """The largest of output and gradients, each over the largest exact value."""
    pairs = [tuple(np.asarray(array, np.float64) for array in pair) for pair in zip(found, exact, strict=True)]
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def done(program: Callable[..., Any], *arrays: jax.Array) -> None:
    """Calls, and waits for the end of the work."""
    jax.block_until_ready(program(*arrays))


def medians(samples: dict[str, list[float]]) -> dict[str, float]:
    """In milliseconds."""
    return {name: 1e3 * spread(values).median for name, values in samples.items()}


def claims(document: Document) -> list[Claim]:
    """Equal values, then time, then memory."""
    tables = document["tables"]
    worst = max(max(cell["values"]) for row in tables[DIFFER].values() for cell in row.values())
    largest = list(tables[BOTH])[-1]
    faster = {row: mean(document, BOTH, row, "loops") / mean(document, BOTH, row, "im2col") for row in tables[BOTH]}
    others = [name for name in tables[BOTH][largest] if name not in ("loops", "im2col")]
    against = {name: mean(document, BOTH, largest, "im2col") / mean(document, BOTH, largest, name) for name in others}
    inputs = {row: BATCH * CHANNELS * int(row.partition("x")[0]) ** 2 * 4e-6 for row in tables[MEMORY]}
    columns = {row: mean(document, MEMORY, row, "im2col") / size for row, size in inputs.items()}
    direct = {name: mean(document, MEMORY, largest, name) / inputs[largest] for name in others}
    missing = "" if "native" in others else "; oneDNN not run here"
    return [
        Claim(
            "all implementations compute the same values and gradients, to 1e-5 of the largest",
            worst <= 1e-5,
            f"largest difference {worst:.1e}{missing}",
        ),
        Claim(
            "with gradients, one matrix product (im2col) is faster than loops at every size",
            min(faster.values()) > 1,
            ", ".join(f"{number(float(f'{ratio:.3g}'))} times at {row}" for row, ratio in faster.items()),
        ),
        Claim(
            f"on the largest pictures, {largest}, a convolution as one operation is faster than im2col",
            min(against.values()) > 1,
            ", ".join(f"{name} {ratio:.3g} times" for name, ratio in against.items()),
        ),
        Claim(
            f"at every size im2col needs temporary memory of at least {WINDOW**2} times the input, "
            "and the convolution less",
            min(columns.values()) >= WINDOW**2 and max(direct.values()) < WINDOW**2,
            f"im2col {min(columns.values()):.3g} to {max(columns.values()):.3g} inputs; at {largest} "
            + ", ".join(f"{name} {share:.3g}" for name, share in direct.items()),
        ),
    ]


def figure(document: Document) -> Any:
    """Time and memory over the number of pixels, on logarithmic axes."""
    from matplotlib.figure import Figure

    tables = document["tables"]
    drawn = Figure(figsize=(11, 4), layout="constrained")
    heads = {FORWARD: "Time of the output", BOTH: "Time with both gradients", MEMORY: "Temporaries with both gradients"}
    styles = dict(zip(METHODS, (("o", "-"), ("s", "-"), ("^", "--"), ("D", ":"), ("v", "-.")), strict=True))
    for axes, (title, head) in zip(drawn.subplots(1, 3), heads.items(), strict=True):
        rows = tables[title]
        sizes = {row: int(row.partition("x")[0]) for row in rows}
        for name, (marker, line) in styles.items():
            with_it = [row for row in rows if name in rows[row]]
            values = [max(rows[row][name]["mean"], 1e-4) for row in with_it]
            shade = "black" if name in ("loops", "im2col") else "0.45"
            at = [sizes[row] for row in with_it]
            axes.plot(at, values, marker=marker, linestyle=line, color=shade, label=name if at else None, markersize=5)
        axes.set(xscale="log", yscale="log", xlabel="side of the square picture, pixels", title=head)
        axes.set_ylabel("MB (0 drawn at 0.0001)" if title == MEMORY else "ms")
        axes.set_xticks(list(sizes.values()), list(sizes.values()))
        axes.minorticks_off()
        axes.grid(color="0.92")
    drawn.legend(*drawn.axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=5)
    return drawn


EXPERIMENT = Experiment("experiments.three_implementations", __doc__, one_seed, claims, figure)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
