"""`jaxcnn models`."""

import dataclasses
import json as json_module
import re

from flax import nnx

from jaxcnn import models


@dataclasses.dataclass(frozen=True)
class Models:
    """List the networks: paper, size, work, and what the paper reached."""

    json: bool = False
    """Print JSON instead of a table."""

    def __call__(self) -> None:
        """Prints the table, oldest paper first."""
        from rich.console import Console
        from rich.table import Column, Table

        rows = [_row(name) for name in sorted(models.MODELS, key=_age)]
        if self.json:
            print(json_module.dumps(rows, indent=1))
            return
        table = Table(
            Column("name", no_wrap=True),
            Column("input", no_wrap=True),
            Column("parameters", justify="right", no_wrap=True),
            Column("multiply-adds", justify="right", no_wrap=True),
            "paper",
            "published",
            box=None,
        )
        for row in rows:
            sizes = "x".join(map(str, row["input_shape"]))
            numbers = f"{row['parameters']:,}", _short(row["multiply_adds"])
            table.add_row(
                row["name"], sizes, *numbers, f"{row['paper'].partition(',')[0]} {row['year']}", row["published"]
            )
        Console(soft_wrap=True).print(table)


def _age(name: str) -> tuple:
    """By year; within a family, by depth."""
    return models.CARDS[name].year, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _row(name: str) -> dict:
    card = models.CARDS[name]
    model = nnx.eval_shape(lambda: models.create(name, rngs=nnx.Rngs(0)))
    found = models.summary(model, (1, *card.input_shape))
    return {"name": name, **card._asdict(), "parameters": found.parameters, "multiply_adds": found.multiply_adds}


def _short(count: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {letter}"
    return str(count)
