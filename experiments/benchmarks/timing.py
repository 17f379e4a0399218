"""Alternating measurement: every contestant once a round, and ratios from within the rounds."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

SAMPLE = 0.005  # seconds that one sample takes at least: shorter calls are repeated


class Spread(NamedTuple):
    """A median with its quartiles."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The median and the quartiles of some values."""
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        below = math.floor(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    return Spread(statistics.median(ordered), at(0.25), at(0.75))


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> Spread:
    """How many times as long they take, from the ratios of the single rounds."""
    return spread([their / our for their, our in zip(theirs, ours, strict=True)])


def alternate(
    calls: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 15,
    budget: float = 20.0,
    warm_up: bool = True,
    clock: Callable[[], float] = time.perf_counter,
    rest: Callable[[float], None] = time.sleep,
) -> dict[str, list[float]]:
    """Times every contestant once a round, until the rounds or the budget are used up, but for three rounds at least.

    Each round begins with another contestant. A short call is repeated until a sample takes 5 ms. Before each sample
    come a rest and one call that is not timed: the other frameworks' threads fall asleep, and caches and pages become
    its own, as they are in a run of steps. On a virtual machine pages that others gave back cost a step up to a half.

    Args:
      calls: by name; each returns when its work is done.
      rounds: at most so many.
      budget: seconds for all rounds.
      warm_up: whether every contestant is called twice before, and once before each sample.
      clock: what the time is.
      rest: what waits.

    Returns:
      Seconds for one call, by name, one entry a round.
    """
    usual = dict.fromkeys(calls, math.inf)
    for name, call in calls.items() if warm_up else ():
        call()
        began = clock()
        call()
        usual[name] = clock() - began
    names, samples = list(calls), {name: [] for name in calls}
    began = clock()
    for number in range(rounds):
        if number >= min(3, rounds) and clock() - began > budget:
            break
        first = number % len(names)
        for name in names[first:] + names[:first]:
            repeats = max(1, math.ceil(SAMPLE / max(usual[name], 1e-7)))
            if warm_up:
                rest(SAMPLE)
                calls[name]()
            start = clock()
            for _ in range(repeats):
                calls[name]()
            samples[name].append((clock() - start) / repeats)
    return samples
