"""Progress on a terminal: a live bar; elsewhere: lines."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from jaxcnn import training
from jaxcnn.training.formatting import format_fields, format_metrics, format_speed


@contextlib.contextmanager
def observing(total_steps: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """An observer for `training.fit`, live on a terminal, plain lines elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    console = Console()
    if not console.is_terminal:
        yield training.print_epoch
        return
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        TextColumn("{task.fields[state]}", table_column=Column(ratio=1, no_wrap=True)),  # what is cut when it is narrow
    )
    with Progress(*columns, console=console, expand=True) as bar:
        task = bar.add_task("training", total=total_steps, epoch="-", state="")

        def observe(row: dict[str, Any]) -> None:
            bar.update(task, completed=row["step"], epoch=row.get("epoch", "-"), state=state(row))
            if row["kind"] == "epoch":
                training.print_epoch(row)  # rich lifts printed lines above the bar

        yield observe


@contextlib.contextmanager
def counting(total: int) -> Iterator[Callable[[int, str], None]]:
    """An observer of named parts, which is called before each.

    It shows a bar on a terminal, plain lines elsewhere.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console()
    if not console.is_terminal:
        yield lambda number, name: print(f"{number + 1}/{total} {name}", flush=True)
        return
    columns = (BarColumn(bar_width=16), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda number, name: bar.update(task, completed=number, description=name)


def state(row: dict[str, Any]) -> str:
    """The text of the bar for a row of the log.

    Values that the row lacks are left out.
    """
    result = format_metrics(row)
    use = format_fields(row, {"input_wait": "input wait {:.0%}", "flops_utilization": "MFU {:.0%}"})
    return "  ".join(filter(None, (result, format_speed(row), use)))
