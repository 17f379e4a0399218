"""`jaxcnn check`."""

import dataclasses
import json
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Check:
    """Prove every op's hand-written gradient, and print what was found."""

    full: bool = False
    """The whole product of configurations; takes long."""
    op: str | None = None
    """Only this op."""
    json: Path | None = None
    """Also write the findings to this file."""

    def __call__(self) -> int:
        """Prints a line for every op; exit status 1 if a proof fails."""
        import jax

        jax.config.update("jax_num_cpu_devices", 4)  # for the proofs on several devices
        from rich.console import Console
        from rich.table import Table

        from jaxcnn import check, ops
        from jaxcnn.cli.check_cases import cases

        if self.op is not None and not callable(getattr(ops, self.op, None)):
            raise ValueError(
                f"`op` must be one of {', '.join(n for n in ops.__all__ if n != 'filters')}; got {self.op!r}."
            )
        reports: dict[str, list[check.Report]] = {}
        console = Console(soft_wrap=True)
        with console.status("proving") as status:
            for case in cases(self.full, self.op):
                status.update(f"proving {case.op}: {case.label}")
                report = check.check_vjp(case.function, *case.args, name=f"{case.op} ({case.label})", **case.options)
                reports.setdefault(case.op, []).append(report)
                if not report.passed:
                    console.print(str(report), style="red", markup=False)
        groups = {"Jacobian": "Jacobian", "adjoint": "adjoint", "second order": "second order", "other": ""}
        table = Table("op", "cases", "proofs", *groups, "result", box=None)
        for op, found in sorted(reports.items()):
            findings = [finding for report in found for finding in report.findings if not finding.skipped]
            worst = dict.fromkeys(groups, "")
            for name, prefix in reversed(groups.items()):
                errors = [f.error for f in findings if f.kind.startswith(prefix)]
                worst[name] = f"{max(errors):.0e}" if errors else "-"
            failed = sum(not report.passed for report in found)
            table.add_row(
                op, str(len(found)), str(len(findings)), *worst.values(), f"{failed} FAILED" if failed else "proven"
            )
        console.print(table)
        console.print("largest relative error of each kind of proof; `other`: the largest of all kinds")
        if self.json is not None:
            self.json.write_text(
                json.dumps([dataclasses.asdict(r) for found in reports.values() for r in found], indent=1)
            )
        return int(any(not report.passed for found in reports.values() for report in found))
