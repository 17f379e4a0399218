"""What a newcomer waits for: the import, and the first step of LeNet-5, each in a fresh process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from experiments.benchmarks.contestants import Contestant, LeftOut
from experiments.benchmarks.rows import Row
from experiments.benchmarks.steps import STEPS, step

ROOT = Path(__file__).parent.parent.parent
IMPORTS = {
    "jaxcnn": "import jaxcnn",
    "flax": "import jax, flax.nnx, optax",
    "keras": "import keras",
    "equinox": "import jax, equinox, optax",
    "torch-nchw": "import torch",
}


def rows() -> Iterator[Row]:
    """The rows."""
    names = tuple(IMPORTS)
    yield Row("newcomer/import", partial(_process, IMPORTS), names, rounds=5)
    first = {name: f"from experiments.benchmarks import newcomer; newcomer.first_step({name!r})" for name in names}
    yield Row("newcomer/first-step", partial(_process, first), names, rounds=5)


def first_step(peer: str) -> None:
    """Builds LeNet-5 and trains it for one step."""
    step(STEPS["lenet5"], peer).call()


def _process(codes: dict[str, str], peer: str) -> Contestant:
    """Python from its start to its end, running a line."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": path}

    def call() -> None:
        done = subprocess.run(
            [sys.executable, "-c", codes[peer]], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LeftOut((done.stderr.strip().splitlines() or ["it failed"])[-1])

    call()
    return Contestant(call, {})
