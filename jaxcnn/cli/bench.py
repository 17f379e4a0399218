"""`jaxcnn bench`."""

import dataclasses
import sys
from pathlib import Path

import jaxcnn


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure time, memory and compile time, and compare with other libraries."""

    rows: tuple[str, ...] = ()
    """Rows to measure, for example lenet* or step/*; without it all."""
    peers: tuple[str, ...] = ()
    """Libraries to compare with, for example flax, or torch for all its forms; without it all that are installed."""
    quick: bool = False
    """Measure only a few rounds of small rows, in half a minute."""
    rounds: int = 15
    """Largest number of rounds for a row; the libraries take turns in each round."""
    budget: float = 20.0
    """Seconds after which a row gets no further round."""
    out: Path | None = None
    """File to write; None means that of the device in experiments/results, and no file with `--quick`."""
    list: bool = False
    """Print the rows and the libraries in each, and measure nothing."""
    report: tuple[Path, ...] = ()
    """Files of earlier measurements to print as tables and to draw."""
    readme: bool = False
    """Write the tables of the documentation from experiments/results."""
    choices: bool = False
    """Write the table by which `ops.conv(method="auto")` chooses, from experiments/results."""

    def __call__(self) -> None:
        """Runs the benchmarks of the checkout."""
        for root in (Path(jaxcnn.__file__).parent.parent, Path.cwd()):
            if (root / "experiments" / "benchmarks" / "command.py").is_file():
                break
        else:
            raise ValueError("`jaxcnn bench` must run in a checkout of the repository; this folder is none.")
        sys.path.insert(0, str(root))
        from experiments.benchmarks.command import run

        run(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})
