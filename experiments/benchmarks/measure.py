"""From rows to figures: one row after the other, each with all its contestants alive at once."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from experiments.benchmarks import timing
from experiments.benchmarks.contestants import Contestant, LeftOut, forget
from experiments.benchmarks.networks import Task
from experiments.benchmarks.rows import OURS, Row
from experiments.provenance import commit
from jaxcnn.training.speed import peak_flops


def measure(row: Row, names: Sequence[str], *, rounds: int, budget: float, say: Callable[[str], None]) -> dict:
    """Measures one row.

    Args:
      row: what.
      names: who; the first is what the ratios are against.
      rounds: at most so many, where the row has no number of its own.
      budget: seconds for the rounds.
      say: takes lines on who is left out.

    Returns:
      The contestants' times, the ratios to `jaxcnn` (and to its other methods), who was left out and why.
    """
    contestants, left_out = {}, {}
    for name in names:
        try:
            contestants[name] = _build(row, name)
        except LeftOut as reason:
            left_out[name] = str(reason)
            say(f"{row.name}: {name} is left out: {reason}")
    result: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}", "commit": commit()}
    if hasattr(os, "getloadavg"):
        result["load"] = round(os.getloadavg()[0], 2)
    calls = {name: contestant.call for name, contestant in contestants.items()}
    samples = timing.alternate(calls, rounds=row.rounds or rounds, budget=budget, warm_up=row.warm_up)
    result["contestants"] = {
        name: {"ms": _rounded(timing.spread([1e3 * s for s in times])), "rounds": len(times), **contestant.facts}
        for (name, contestant), times in zip(contestants.items(), samples.values(), strict=True)
    }
    result["ratios"] = {
        ours: {name: _rounded(timing.ratios(samples[name], samples[ours])) for name in samples if name != ours}
        for ours in OURS
        if ours in samples
    }
    result["left_out"] = left_out
    if row.task is not None:
        _add_throughput(result["contestants"], row.task)
    del contestants, calls
    forget()
    return result


def _build(row: Row, name: str) -> Contestant:
    try:
        return row.build(name)
    except ModuleNotFoundError as error:
        raise LeftOut(f"{error.name} is not installed") from error


def _add_throughput(contestants: dict[str, Any], task: Task) -> None:
    """Images a second, and the share of the device's peak where it is known, by one count of operations for all."""
    import jax

    peak = peak_flops(jax.devices()[0].device_kind, task.dtype)
    counts = [found["flops"] for name in ("flax", "jaxcnn") if (found := contestants.get(name, {})).get("flops")]
    for found in contestants.values():
        seconds = found["ms"]["median"] / 1e3
        found["images_per_s"] = float(f"{task.batch / seconds:.4g}")
        if peak and counts:
            found["utilization"] = float(f"{counts[0] / seconds / peak:.4g}")


def _rounded(values: timing.Spread) -> dict[str, float]:
    return {key: float(f"{value:.4g}") for key, value in values._asdict().items()}
