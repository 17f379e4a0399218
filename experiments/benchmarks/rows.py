"""A row of the benchmark: one comparison, and who takes part in it."""

from collections.abc import Callable
from typing import NamedTuple

from experiments.benchmarks.contestants import Contestant
from experiments.benchmarks.networks import Task

OURS = ("jaxcnn", "jaxcnn-onednn")
PEERS = ("flax", "keras", "equinox", "torch-nchw", "torch-channels-last", "torch-compile")
LAYOUTS = ("torch-nchw", "torch-channels-last")


class Row(NamedTuple):
    """One comparison."""

    name: str
    build: Callable[[str], Contestant]  # by contestant; raises LeftOut
    contestants: tuple[str, ...]
    rounds: int | None = None  # where it is not that of the run
    warm_up: bool = True
    quick: bool = False  # part of the selection of `--quick`
    gpu: bool = False  # needs one
    task: Task | None = None  # of a training step
