"""`jaxcnn check`."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jaxcnn.cli.progress import Working
from jaxcnn.training import write_atomically

if TYPE_CHECKING:
    from rich.table import Table

    from jaxcnn.check import Report

_COLUMNS = {"Jacobian": "Jacobian", "adjoint": "adjoint", "second order": "second order", "any": ""}


@dataclasses.dataclass(frozen=True)
class Check:
    """Prove every op's hand-written gradient, and print the largest errors."""

    full: bool = False
    """Prove every combination of arguments; this takes long."""
    op: str | None = None
    """Name of the only op to prove; None proves all."""
    jobs: int | None = None
    """Number of processes that share the work; None means one for each core, and a single one on an accelerator."""
    json: Path | None = None
    """File to write the findings to, as JSON."""

    def __call__(self) -> int:
        """Prints a line for every op.

        The exit status is 1 if a proof fails.
        """
        from rich.console import Console

        from jaxcnn.ops.cases import cases

        if self.jobs is not None and self.jobs < 1:
            raise ValueError(f"`jobs` must be positive; got {self.jobs}.")
        if self.json is not None and not self.json.parent.is_dir():
            raise ValueError(f"`json` must lie in a folder that exists; got {str(self.json)!r}.")
        _several_devices()
        planned = cases(self.full, self.op)
        if not planned:
            known = sorted({case.op for case in cases()})
            raise ValueError(f"`op` must be one of {', '.join(known)}; got {self.op!r}.")
        reports: dict[str, list[Report]] = {}
        console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 110)  # a file takes the whole table
        work = Working("proven", len(planned), 0, console)
        with console.status("proving") as status, self._reports(len(planned)) as proven:
            for number, (case, report) in enumerate(zip(planned, proven, strict=True), start=1):
                work.at(number)  # prints where a status line cannot be seen
                told = filter(None, [f"{number} of {len(planned)} proven", work.left(), f"{case.op}: {case.label}"])
                status.update("; ".join(told))
                reports.setdefault(case.op, []).append(report)
                if not report.passed:
                    console.print(str(report), style="red", markup=False)
        console.print(_table(reports))
        console.print("Each column gives the largest relative error of a kind of proof; `any` is the largest of all.")
        if self.json is not None:
            rows = [dataclasses.asdict(report) for of_op in reports.values() for report in of_op]
            write_atomically(self.json, json.dumps(rows, indent=1) + "\n")
        return int(any(not report.passed for of_op in reports.values() for report in of_op))

    @contextlib.contextmanager
    def _reports(self, count: int) -> "Iterator[Iterator[Report]]":
        """The reports of the first `count` cases, in order.

        Each is proven in one of the processes.
        """
        import jax

        cores = os.cpu_count() or 1
        jobs = min(self.jobs or (cores if jax.default_backend() == "cpu" else 1), -(-count // 4))
        prove = functools.partial(_prove, self.full, self.op)
        if jobs == 1:
            yield map(prove, range(count))
            return
        spawn = multiprocessing.get_context("spawn")  # a forked JAX hangs
        with concurrent.futures.ProcessPoolExecutor(jobs, spawn, _several_devices) as pool:
            try:
                yield pool.map(prove, range(count))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _several_devices() -> None:
    import jax

    with contextlib.suppress(RuntimeError):  # JAX already runs: it keeps the devices it has
        jax.config.update("jax_num_cpu_devices", 4)  # for the proofs on several devices


def _prove(full: bool, op: str | None, number: int) -> "Report":
    from jaxcnn import check
    from jaxcnn.ops.cases import cases

    case = cases(full, op)[number]
    return check.check_vjp(case.function, *case.args, name=f"{case.op} ({case.label})", **case.options)


def _table(reports: dict[str, list["Report"]]) -> "Table":
    from rich.table import Column, Table

    wide = [Column(name, no_wrap=True) for name in ("op", "result")]
    table = Table(wide[0], "cases", "proofs", *_COLUMNS, wide[1], box=None)
    for op, of_op in sorted(reports.items()):
        findings = [finding for report in of_op for finding in report.findings if not finding.skipped]
        errors = [[f.error for f in findings if f.kind.startswith(prefix)] for prefix in _COLUMNS.values()]
        worst = [f"{max(some):.0e}" if some else "-" for some in errors]
        failed = sum(not report.passed for report in of_op)
        result = f"{failed} FAILED" if failed else "proven"
        table.add_row(op, str(len(of_op)), str(len(findings)), *worst, result)
    return table
