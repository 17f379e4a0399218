"""PyTorch: modules, eager in both layouts and compiled; on CPU with a thread for every core."""

import os
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks.contestants import Contestant, LeftOut, time_limit
from experiments.benchmarks.networks import LEARNING_RATE, MOMENTUM, Task

Form = Literal["torch-nchw", "torch-channels-last", "torch-compile"]

COMPILE_LIMIT = 300.0  # seconds
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
torch.set_num_threads(THREADS)


def lenet5(classes: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes)),
    )


def alexnet(classes: int) -> nn.Module:
    def norm():
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)

    return nn.Sequential(
        *(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(3, 96, 11, 4), nn.ReLU(), norm(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, classes),
    )


def vgg11(classes: int) -> nn.Module:
    layers, features = [], 3
    for maps, number in ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2)):
        for _ in range(number):
            layers += [nn.Conv2d(features, maps, 3, padding=1), nn.ReLU(inplace=True)]
            features = maps
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers,
        *(nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(4096, classes)),
    )


def conv_norm(features: int, maps: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(features, maps, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(maps))


class Block(nn.Module):
    """Units, of which the last has no ReLU of its own, and the shortcut: projected, padded, or neither."""

    def __init__(self, features: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        maps = 4 * width if bottleneck else width
        relu = nn.ReLU(inplace=True)
        if bottleneck:
            units = [conv_norm(features, width, 1), relu, conv_norm(width, width, 3, stride), relu]
            units.append(conv_norm(width, maps, 1))
        else:
            units = [conv_norm(features, width, 3, stride), relu, conv_norm(width, width, 3)]
        self.units = nn.Sequential(*units)
        self.shortcut = conv_norm(features, maps, 1, stride) if bottleneck and features != maps else None
        self.stride, self.extra = stride, 0 if bottleneck else (maps - features) // 2

    def forward(self, x):
        y = self.units(x)
        if self.shortcut is not None:
            x = self.shortcut(x)
        if self.extra:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra, self.extra))
        return F.relu(x + y, inplace=True)


def resnet(classes: int, bottleneck: bool) -> nn.Module:
    if bottleneck:
        features, stages = 64, ((64, 3), (128, 4), (256, 6), (512, 3))
        layers = [conv_norm(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    else:
        features, stages = 16, ((16, 3), (32, 3), (64, 3))
        layers = [conv_norm(3, 16, 3), nn.ReLU(inplace=True)]
    for number, (width, count) in enumerate(stages):
        for place in range(count):
            layers.append(Block(features, width, 2 if number and not place else 1, bottleneck))
            features = 4 * width if bottleneck else width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes))


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "lenet5": lenet5,
    "alexnet": alexnet,
    "vgg11": vgg11,
    "resnet20": lambda classes: resnet(classes, bottleneck=False),
    "resnet50": lambda classes: resnet(classes, bottleneck=True),
}


def tensor(array: Any, form: Form = "torch-nchw") -> torch.Tensor:
    """An array, channels last, as PyTorch's, whose channels come first in the shape and, by form, in memory."""
    found = torch.from_numpy(np.array(array)).to(DEVICE)
    if found.ndim != 4:
        return found
    found = found.permute(0, 3, 1, 2)
    return found.contiguous(memory_format=_memory(form))


def _memory(form: Form) -> torch.memory_format:
    return torch.contiguous_format if form == "torch-nchw" else torch.channels_last


def finish() -> None:
    """Waits for the accelerator; on CPU, sees to it that PyTorch still has its threads.

    Raises:
      RuntimeError: if another library in this process has changed their number.
    """
    if DEVICE.type == "cpu" and torch.get_num_threads() != THREADS:
        raise RuntimeError(f"PyTorch must be measured with {THREADS} threads; it has {torch.get_num_threads()}.")
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def compiled(function: Any) -> Any:
    """`torch.compile`, with what it cannot do as a reason to leave it out."""
    try:
        return torch.compile(function)
    except RuntimeError as error:
        raise LeftOut(f"torch.compile: {str(error).splitlines()[0]}") from error


def train_step(task: Task, form: Form) -> Contestant:
    """Training steps."""
    torch.manual_seed(0)
    model: Any = NETWORKS[task.network](task.classes).to(DEVICE)
    model = model.to(memory_format=_memory(form)).train()
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)
    images, labels = task.arrays()
    images, labels = tensor(images, form), torch.from_numpy(labels).long().to(DEVICE)
    run = compiled(model) if form == "torch-compile" else model
    half = torch.autocast(DEVICE.type, torch.bfloat16, enabled=task.dtype == "bfloat16")

    def call() -> None:
        with half:
            loss = F.cross_entropy(run(images).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        finish()

    facts: dict[str, float | int] = {"parameters": sum(p.numel() for p in model.parameters())}
    if form == "torch-compile":
        began = time.perf_counter()
        _first(call)
        facts["compile_s"] = time.perf_counter() - began
    return Contestant(call, facts)


def timed_compilation(task: Task) -> Contestant:
    """A network, and its first step through `torch.compile`, with nothing remembered."""
    from torch._inductor.utils import fresh_cache

    def call() -> None:
        torch.compiler.reset()
        with fresh_cache():
            train_step(task, "torch-compile")

    return Contestant(call, {})


def _first(call: Callable[[], Any]) -> None:
    try:
        with time_limit(COMPILE_LIMIT):
            call()
    except LeftOut:
        raise
    except Exception as error:  # a C++ compiler that is not there shows in many ways
        raise LeftOut(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}") from error


def layer_gradients(
    x: np.ndarray, kernel: np.ndarray, form: Form, *, groups: int = 1, dtype: str = "float32", steps: int = 1
) -> Callable[[], Any]:
    """Both gradients of the sum of a convolution's squared outputs, padded by half its window.

    Args:
      x: inputs, channels first, with one to three spatial axes.
      kernel: outputs first.
      form: the layout in memory, of two spatial axes.
      groups: of channels.
      dtype: of inputs and kernel.
      steps: how many such sums are added.
    """
    layout = _memory(form) if x.ndim == 4 else torch.contiguous_format
    tensors = [torch.from_numpy(np.array(a)).to(DEVICE, getattr(torch, dtype)) for a in (x, kernel)]
    tensors = [tensor.contiguous(memory_format=layout).requires_grad_() for tensor in tensors]
    convolve = (F.conv1d, F.conv2d, F.conv3d)[x.ndim - 3]

    def run() -> Any:
        total: Any = 0
        for _ in range(steps):
            outputs = convolve(*tensors, padding=kernel.shape[-1] // 2, groups=groups)
            total = total + outputs.float().square().sum()
        return torch.autograd.grad(total, tensors)

    return run


def timed_function(function: Callable[..., Any], form: Form, *tensors: torch.Tensor) -> Contestant:
    """A function of tensors; where it gets compiled, that is done."""

    def call() -> Any:
        outputs = function(*tensors)
        finish()
        return outputs

    if form == "torch-compile":
        _first(call)
    return Contestant(call, {})
