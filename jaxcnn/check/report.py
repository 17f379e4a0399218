"""The findings of proofs, and the comparison of two arrays."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Finding:
    """The outcome of one proof.

    Args:
      kind: name of the proof, as `"differences"`.
      passed: whether it holds.
      error: the largest relative error.
      tolerance: the largest relative error allowed.
      detail: the first elements that differ, or why the proof was skipped.
      skipped: whether the proof does not apply.
    """

    kind: str
    passed: bool
    error: float
    tolerance: float
    detail: str = ""
    skipped: bool = False


@dataclasses.dataclass(frozen=True)
class Report:
    """All findings about one function; prints as a table.

    Args:
      name: name of the function.
      findings: one for each proof.
    """

    name: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether at least one proof was done, and none failed."""
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
    """Makes the finding of a proof that does not apply.

    It gives the reason.
    """
    return Finding(kind, True, 0.0, 0.0, why, skipped=True)


def attempt(kind: str, proof: Callable[[], Finding]) -> Finding:
    """Runs a proof.

    An exception inside the tested rule becomes a finding that failed.
    """
    try:
        return proof()
    except Exception as error:
        return failed(kind, error)


def failed(kind: str, error: Exception) -> Finding:
    """Makes the finding of a proof that raised an exception."""
    first = (str(error).strip().splitlines() or [""])[0]
    return Finding(kind, False, float("inf"), 0.0, f"{type(error).__name__}: {first}")


def compare_arrays(
    kind: str, names: Iterable[str], actual: Iterable, expected: Iterable, tolerance: float, noise: float = 1e-30
) -> Finding:
    """Compares arrays element by element.

    The error of an element is relative to its size, but at least to a hundredth of the largest element of its array.
    So a wrong small element is found beside large ones. Infinities must be equal, and NaN in the same places.

    Args:
      kind: name of the proof.
      names: names of the arrays, for the message.
      actual: the arrays under test.
      expected: the correct arrays.
      tolerance: the largest relative error allowed.
      noise: the smallest size that an error is divided by.

    Returns:
      The finding.
    """
    worst, details = 0.0, []
    for name, a, b in zip(names, actual, expected, strict=True):
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
