"""What the proofs found, and how two arrays are held against each other."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Finding:
    """The outcome of one proof."""

    kind: str
    passed: bool
    error: float  # the largest relative error
    tolerance: float
    detail: str = ""  # the first places that differ, or why the proof was skipped
    skipped: bool = False


@dataclasses.dataclass(frozen=True)
class Report:
    """All that was found about one rule; prints as a table."""

    name: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether something was proven, and no proof failed."""
        return all(f.passed for f in self.findings) and not all(f.skipped for f in self.findings)

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The proofs that failed."""
        return tuple(finding for finding in self.findings if not finding.passed)

    def __str__(self) -> str:
        nothing = "" if any(not f.skipped for f in self.findings) else ", nothing was examined"
        lines = [f"{self.name}: {'proven' if self.passed else 'NOT proven'}{nothing}"]
        for finding in self.findings:
            state = "skipped" if finding.skipped else "ok" if finding.passed else "FAILED"
            error = f"{finding.error:.1e} (tolerance {finding.tolerance:.0e})"
            told = finding.detail if finding.skipped else error
            if finding.passed and not finding.skipped and finding.detail:
                told = f"{told}, {finding.detail}"
            lines.append(f"  {finding.kind:28s} {state:8s} {told}")
            if not finding.passed:
                lines += [f"    {line}" for line in finding.detail.splitlines()]
        return "\n".join(lines)


def skipped(kind: str, why: str) -> Finding:
    """A proof that does not apply, and why."""
    return Finding(kind, True, 0.0, 0.0, why, skipped=True)


def attempt(kind: str, proof: Callable[[], Finding]) -> Finding:
    """Does a proof; whatever goes wrong inside a foreign rule is a finding, not an end."""
    try:
        return proof()
    except Exception as error:
        return failed(kind, error)


def failed(kind: str, error: Exception) -> Finding:
    """A proof that ended in an exception."""
    first = (str(error).strip().splitlines() or [""])[0]
    return Finding(kind, False, float("inf"), 0.0, f"{type(error).__name__}: {first}")


def compare_arrays(
    kind: str, names: Iterable[str], found: Iterable, expected: Iterable, tolerance: float, noise: float = 1e-30
) -> Finding:
    """Holds arrays against each other, element by element.

    The error of an element is relative to its own size, or to a hundredth of its array's largest element where it is
    smaller than that; so a small element that is wrong cannot hide behind large ones. Infinities must be equal, and NaN
    stand in the same places.

    Args:
      kind: of proof.
      names: of the arrays, for the message.
      found: what the rule gives.
      expected: what is right.
      tolerance: largest relative error allowed.
      noise: what an element's size is taken to be at least.
    """
    worst, details = 0.0, []
    for name, a, b in zip(names, found, expected, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape:
            return Finding(kind, False, np.inf, tolerance, f"{name}: shape {a.shape} instead of {b.shape}")
        a, b = a.astype(np.float64), b.astype(np.float64)
        if not b.size:
            continue
        with np.errstate(invalid="ignore"):
            alike = (a == b) | (np.isnan(a) & np.isnan(b))
            finite = np.abs(b[np.isfinite(b)])
            floor = max(1e-2 * finite.max(initial=0.0), noise)
            errors = np.where(alike, 0.0, np.abs(a - b) / np.maximum(np.abs(b), floor))
        errors = np.where(np.isnan(errors), np.inf, errors)
        worst = max(worst, float(errors.max()))
        wrong = np.argwhere(errors > tolerance)
        for index in wrong[:3]:
            place = tuple(map(int, index))
            details.append(f"{name}{list(place)}: rule {a[place]:.9g}, expected {b[place]:.9g}")
        if len(wrong) > 3:
            details.append(f"{name}: {len(wrong)} of {b.size} elements differ")
    return Finding(kind, worst <= tolerance, worst, tolerance, "\n".join(details))
