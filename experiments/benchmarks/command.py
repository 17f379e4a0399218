"""`jaxcnn bench`: what its options do."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

QUICK_ROUNDS, QUICK_BUDGET, QUICK_LIMIT = 3, 0.5, 20.0  # seconds: for a row, and until the last one begins


def run(
    *,
    rows: Sequence[str] = (),
    peers: Sequence[str] = (),
    quick: bool = False,
    rounds: int = 15,
    budget: float = 20.0,
    out: Path | None = None,
    list: bool = False,
    report: Sequence[Path] = (),
    readme: bool = False,
    choices: bool = False,
) -> None:
    """Measures, or lists, or reports.

    Args:
      rows: patterns of rows; by default all.
      peers: names or families of peers; by default all.
      quick: few rounds, small rows, and no `torch.compile`, unless they are asked for.
      rounds: alternating rounds of a row, at most.
      budget: seconds for the rounds of a row.
      out: file that gets the figures and keeps those of other rows; by default that of the device and version of jax
        in experiments/results, and none with `quick`.
      list: print the rows and who takes part.
      report: files to print, with their figures drawn beside them.
      readme: write the tables of the README and of `docs/speed.md`.
      choices: write the table by which `ops.conv(method="auto")` chooses.

    Raises:
      ValueError: if a row or peer is unknown, or a file is not of this machine and these versions.
    """
    from experiments.benchmarks import choices as table
    from experiments.benchmarks import plots, results, tables

    if rounds < 1 or budget <= 0:
        raise ValueError(f"`rounds` and `budget` must be positive; got {rounds} and {budget}.")
    if readme:
        tables.write_tables(results.all_documents())
    if report:
        documents = [results.read(Path(path)) for path in report]
        print(tables.section(documents))
        for path, document in zip(report, documents, strict=True):
            print(f"\n{tables.row_table(document)}\n")
            for drawn in plots.write_plots(document, Path(path).with_suffix("").absolute()):
                print(drawn)
    if choices:
        table.write(results.all_documents())
    if not (readme or report or choices):
        _measure(rows, peers, quick, rounds, budget, out, list)


def _measure(
    patterns: Sequence[str],
    peers: Sequence[str],
    quick: bool,
    rounds: int,
    budget: float,
    out: Path | None,
    only_list: bool,
) -> None:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    from experiments import provenance
    from experiments.benchmarks import measure, results, tables
    from experiments.benchmarks.rows import PEERS
    from experiments.benchmarks.selection import chosen_contestants, chosen_rows

    chosen = chosen_rows(patterns, quick)
    if quick:
        rounds, budget = min(rounds, QUICK_ROUNDS), min(budget, QUICK_BUDGET)
        peers = peers or [peer for peer in PEERS if peer != "torch-compile"]
    if only_list:
        for row in chosen:
            print(f"{row.name:36s} {' '.join(chosen_contestants(row, peers))}")
        return
    import jax

    jax.config.update("jax_enable_compilation_cache", False)  # compile times are those of a first start
    about = provenance.about()
    out = Path(out) if out else None if quick else results.path_for(about)
    document = results.opened(out, about)
    done, started = [], time.perf_counter()
    for row in chosen:
        if quick and time.perf_counter() - started > QUICK_LIMIT:
            print(f"{row.name}: not run, {QUICK_LIMIT:g} s are over", flush=True)
            continue
        if row.gpu and jax.default_backend() == "cpu":
            print(f"{row.name}: not run, it needs a GPU", flush=True)
            continue
        began = time.perf_counter()
        names = chosen_contestants(row, peers)
        found = measure.measure(row, names, rounds=rounds, budget=budget, say=lambda line: print(line, flush=True))
        document["rows"][row.name] = found
        done.append(row.name)
        now = time.perf_counter()
        left = (now - started) / len(done) * (len(chosen) - 1 - chosen.index(row)) / 60
        print(f"{row.name}: done in {now - began:.0f} s, about {left:.0f} min left", flush=True)
        if out is not None:
            results.write(out, document)
    shown = {**document, "rows": {name: document["rows"][name] for name in done}}
    print("", tables.row_table(shown), *tables.verdict_lines(shown), sep="\n")
    if out is not None:
        print(f"\nwritten to {out}")
