"""`jaxcnn bench`."""

import dataclasses
import sys
from pathlib import Path

import jaxcnn


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure time, memory and compile time against Flax, Keras, Equinox and PyTorch."""

    rows: tuple[str, ...] = ()
    """Rows to measure, as `lenet*` or `step/*`; by default all."""
    peers: tuple[str, ...] = ()
    """Peers, as `flax`, or `torch` for all its forms; by default all that are installed."""
    quick: bool = False
    """Few rounds of small rows, in half a minute."""
    rounds: int = 15
    """Alternating rounds of a row, at most."""
    budget: float = 20.0
    """Seconds for the rounds of a row."""
    out: Path | None = None
    """File that gets the figures; by default that of the device in experiments/results, and none with `--quick`."""
    list: bool = False
    """Print the rows and who takes part."""
    report: tuple[Path, ...] = ()
    """Files to print as tables, and to draw beside them."""
    readme: bool = False
    """Write the README's table from experiments/results."""
    choices: bool = False
    """Write, from there too, the table by which `ops.conv(method="auto")` chooses."""

    def __call__(self) -> None:
        """Runs the benchmarks of the checkout."""
        for root in (Path(jaxcnn.__file__).parent.parent, Path.cwd()):
            if (root / "experiments" / "benchmarks" / "command.py").is_file():
                break
        else:
            raise ValueError("`jaxcnn bench` needs a checkout of the repository, in which to run it; here is none.")
        sys.path.insert(0, str(root))
        from experiments.benchmarks.command import run

        run(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})
