"""Progress on a terminal: a live bar; elsewhere: a line an epoch."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from jaxcnn import training


@contextlib.contextmanager
def observing(total_steps: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """An observer for `training.fit`, live on a terminal, plain lines elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console()
    if not console.is_terminal:
        yield training.print_epoch
        return
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}  accuracy {task.fields[accuracy]}  {task.fields[rate]} images/s  left"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("training", total=total_steps, epoch="-", loss="-", accuracy="-", rate="-")

        def observe(row: dict[str, Any]) -> None:
            bar.update(
                task,
                completed=row["step"],
                epoch=row["epoch"],
                loss=f"{row['loss']:.4f}",
                accuracy=f"{row['accuracy']:.4f}",
                rate=f"{row['images_per_second']:,.0f}",
            )
            if row["kind"] == "epoch":
                training.print_epoch(row)  # rich lifts printed lines above the bar

        yield observe
