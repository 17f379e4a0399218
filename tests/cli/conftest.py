"""Calls of the command line, in this process and in others, and a trained run to ask about."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from jaxcnn.cli import main

TINY = ["mlp", "--model-options", "hidden=(8,)"]  # trains and compiles in a second


class Outcome(NamedTuple):
    """What a command left: exit status, and the text on its two streams."""

    status: int
    out: str
    err: str


def call(*arguments: str) -> Outcome:
    """Runs a command in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    return Outcome(status, *(stream.buffer.getvalue().decode() for stream in (out, err)))


@pytest.fixture(scope="session")
def jaxcnn() -> Callable[..., Outcome]:
    """`jaxcnn("train", ...)`, in this process."""
    return call


@pytest.fixture(scope="session")
def spawn() -> Callable[..., subprocess.Popen]:
    """`spawn("train", ..., cwd=folder)`, in another process; what one compiles, the next ones find."""
    flags = [flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag]

    def start(*arguments: str, cwd: Path, devices: int = 1, **environment: str) -> subprocess.Popen:
        xla_flags = " ".join([*flags, f"--xla_force_host_platform_device_count={devices}"])
        return subprocess.Popen(
            [sys.executable, "-m", "jaxcnn", *map(str, arguments)],
            cwd=cwd,
            env=os.environ | {"PYTHONIOENCODING": "utf-8", "XLA_FLAGS": xla_flags} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    return start


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """The arguments of a network that trains in a second."""
    return TINY


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> tuple[Path, Outcome]:
    """The folder of a LeNet-5 after one epoch, made by `jaxcnn train` in an empty folder, and what was printed."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        outcome = call("train", "--epochs", "1")
    return folder / "runs" / "lenet5-digits-seed0", outcome


@pytest.fixture
def alone(tmp_path, monkeypatch) -> Path:
    """An empty folder to be in, with no data sets around."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXCNN_DATA_DIR", raising=False)
    return tmp_path
