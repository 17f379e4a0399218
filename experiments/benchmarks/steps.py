"""Rows of whole training steps, of compiling them, and of how they grow with the batch and the images."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

from experiments.benchmarks.contestants import Contestant, LeftOut, Program, timed_compilation, timed_step
from experiments.benchmarks.networks import Task
from experiments.benchmarks.rows import OURS, PEERS, Row

STEPS = {
    "lenet5": Task("lenet5", 128),
    "alexnet": Task("alexnet", 32),
    "vgg11": Task("vgg11", 8),
    "resnet20": Task("resnet20", 128),
    "resnet50": Task("resnet50", 8),
}
ON_GPU = Task("resnet50", 256, dtype="bfloat16")
GROWTH = {
    **{f"lenet5/batch{n}": Task("lenet5", n) for n in (8, 32, 512)},  # 128 is above
    **{f"resnet20/batch{n}": Task("resnet20", n) for n in (8, 32)},
    **{f"resnet20/size{n}": Task("resnet20", 32, n) for n in (16, 64)},
}
COMPILED = ("lenet5", "resnet20", "resnet50")


def rows() -> Iterator[Row]:
    """The rows."""
    everyone = (*OURS, *PEERS)
    for name, task in STEPS.items():
        yield Row(f"step/{name}", partial(step, task), everyone, quick=name == "lenet5", task=task)
    yield Row("step/resnet50-gpu", partial(step, ON_GPU), everyone, gpu=True, task=ON_GPU)
    eager = tuple(name for name in everyone if name != "torch-compile")  # which takes minutes for each size
    for name, task in GROWTH.items():
        yield Row(f"growth/{name}", partial(step, task), eager, task=task)
    for name in COMPILED:
        compilers = ("jaxcnn", "flax", "keras", "equinox", "torch-compile")
        yield Row(f"compile/{name}", partial(_compilation, STEPS[name]), compilers, rounds=3, warm_up=False)


def step(task: Task, peer: str) -> Contestant:
    """A contestant's training steps."""
    if peer.startswith("torch"):
        from experiments.benchmarks import peers_torch

        form: Any = peer
        return peers_torch.train_step(task, form)
    return _quietly(lambda: timed_step(program(task, peer)))


def _compilation(task: Task, peer: str) -> Contestant:
    if peer.startswith("torch"):
        from experiments.benchmarks import peers_torch

        return peers_torch.timed_compilation(task)
    return timed_compilation(program(task, peer))


def program(task: Task, peer: str) -> Program:
    """The training step of a contestant on JAX."""
    family, _, method = peer.partition("-")
    module = import_module(f"experiments.benchmarks.peers_{family}")
    return module.program(task, method) if method else module.program(task)


def _quietly(build: Callable[[], Contestant]) -> Contestant:
    """A contestant; where the device's memory ends, none."""
    try:
        return build()
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise LeftOut("the device's memory is too small") from error
