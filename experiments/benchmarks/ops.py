"""Rows of single operations: convolution in three directions, max-pool, batch norm with ReLU, the fused stage.

Stock Flax and Keras go through JAX's derivative. PyTorch comes in two layouts, and compiled where there is something to
fuse. Equinox has no functions of its own.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.contestants import Contestant, timed_function
from experiments.benchmarks.functions import FUNCTIONS, Conv, Flax, Function, Pool
from experiments.benchmarks.rows import LAYOUTS, Row

CONVS = {
    "lenet-conv1": Conv((128, 28, 28, 1), 5, 6),
    "lenet-conv2": Conv((128, 14, 14, 6), 5, 16),
    "resnet20-stage1": Conv((128, 32, 32, 16), 3, 16),
    "resnet20-strided": Conv((128, 32, 32, 16), 3, 32, 2),
    "resnet20-stage3": Conv((128, 8, 8, 64), 3, 64),
    "resnet50-stage1": Conv((8, 56, 56, 64), 3, 64),
    "resnet50-stage3": Conv((8, 14, 14, 256), 3, 256),
    "resnet50-stem": Conv((8, 224, 224, 3), 7, 64, 2),
    "resnet50-expand": Conv((8, 56, 56, 64), 1, 256),
    "alexnet-conv2": Conv((16, 27, 27, 96), 5, 256, 1, 2),
    "vgg-conv1_2": Conv((4, 224, 224, 64), 3, 64),
    "depthwise": Conv((32, 56, 56, 64), 3, 64, 1, 64),
}
DIRECTIONS = ("forward", "input-gradient", "kernel-gradient")
POOLS = {
    "k2s2": Pool((128, 32, 32, 64), 2, 2),
    "k3s2": Pool((8, 112, 112, 64), 3, 2, 1),
    "few-channels": Pool((128, 28, 28, 6), 2, 2),
}
STAGES = {"lenet": Conv((128, 28, 28, 1), 5, 6), "cifar": Conv((128, 32, 32, 16), 3, 32)}
NORMS = {"resnet20": (128, 32, 32, 16), "resnet50": (8, 56, 56, 256)}
GROWTH = (8, 16, 64, 128)  # sizes of the images of a pool

_EAGER = ("jaxcnn", "flax", "keras", *LAYOUTS)
_CONV = ("jaxcnn", "jaxcnn-onednn", "flax", "keras", *LAYOUTS)


def rows() -> Iterator[Row]:
    """The rows."""
    for name, case in CONVS.items():
        both = ("gradient",) if case.groups > 1 else ()
        for direction in (*DIRECTIONS, *both):
            build = partial(conv, case, direction)
            yield Row(f"conv/{name}/{direction}", build, _CONV, quick=name == "lenet-conv1")
    for name, pool in POOLS.items():
        yield Row(f"max-pool/{name}", partial(max_pool, pool), _CONV, quick=name == "k2s2")
    for size in GROWTH:
        yield Row(f"growth/max-pool/size{size}", partial(max_pool, Pool((32, size, size, 64), 2, 2)), _EAGER)
    for name, shape in NORMS.items():
        yield Row(f"batch-norm-relu/{name}", partial(norm_relu, shape), (*_CONV, "torch-compile"))
    for name, case in STAGES.items():
        yield Row(f"stage/{name}", partial(stage, case), (*_CONV, "torch-compile"))


def conv(case: Conv, direction: str, peer: str) -> Contestant:
    """A convolution, or what its rule computes, without the convolution itself."""
    x, w = _normal(case.inputs, case.kernel)
    error = _error(Flax().conv(case), x, w)
    functions = FUNCTIONS[peer]()
    if peer.startswith("torch"):
        towards = {"input-gradient": (True, False), "kernel-gradient": (False, True), "gradient": (True, True)}
        if direction == "forward":
            return _torch(functions.conv(case), peer, x, _outputs_first(w))
        return _torch(functions.conv_gradient(case, towards[direction]), peer, x, _outputs_first(w), error)
    function = functions.conv(case)
    if direction == "forward":
        return timed_function(function, x, w)
    if direction == "input-gradient":
        return timed_function(lambda x, w, e: jax.vjp(lambda x: function(x, w), x)[1](e)[0], x, w, error)
    if direction == "kernel-gradient":
        return timed_function(lambda x, w, e: jax.vjp(lambda w: function(x, w), w)[1](e)[0], x, w, error)
    return timed_function(lambda x, w, e: jax.vjp(function, x, w)[1](e), x, w, error)


def max_pool(case: Pool, peer: str) -> Contestant:
    """The maxima, and where the errors go."""
    (x,) = _normal(case.inputs)
    return _with_gradient(FUNCTIONS[peer]().max_pool(case), peer, x, _error(Flax().max_pool(case), x))


def norm_relu(shape: tuple[int, ...], peer: str) -> Contestant:
    """Batch norm and ReLU, and all three gradients."""
    channels = shape[-1]
    x, scale, bias = _normal(shape, (channels,), (channels,))
    error = _error(Flax().norm_relu(channels), x, scale, bias)
    return _with_gradient(FUNCTIONS[peer]().norm_relu(channels), peer, x, scale, bias, error)


def stage(case: Conv, peer: str) -> Contestant:
    """Convolution, bias, ReLU and max-pool, and all three gradients."""
    x, w, b = _normal(case.inputs, case.kernel, (case.outputs,))
    error = _error(Flax().stage(case), x, w, b)
    w = _outputs_first(w) if peer.startswith("torch") else w
    return _with_gradient(FUNCTIONS[peer]().stage(case), peer, x, w, b, error)


def _normal(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.standard_normal(shape, np.float32) for shape in shapes]


def _error(function: Function, *arrays: np.ndarray) -> np.ndarray:
    """What comes back to a function's outputs."""
    return np.random.default_rng(1).standard_normal(jax.eval_shape(function, *arrays).shape, np.float32)


def _outputs_first(kernel: np.ndarray) -> np.ndarray:
    """A kernel in the layout from which PyTorch's comes as images' does: outputs, window, inputs."""
    return kernel.transpose(3, 0, 1, 2)


def _with_gradient(function: Callable[..., Any], peer: str, *arrays: np.ndarray) -> Contestant:
    """The value and all gradients, for an error that is the last array."""
    if not peer.startswith("torch"):

        def both(*arrays: jax.Array):
            outputs, pull_back = jax.vjp(function, *arrays[:-1])
            return outputs, pull_back(arrays[-1])

        return timed_function(both, *arrays)
    from experiments.benchmarks import peers_torch

    run: Any = peers_torch.compiled(function) if peer == "torch-compile" else function

    def in_torch(*tensors: Any):
        outputs = run(*tensors[:-1])
        return outputs, peers_torch.torch.autograd.grad(outputs, tensors[:-1], tensors[-1])

    return _torch(in_torch, peer, *arrays, gradient=True)


def _torch(function: Function, peer: Any, *arrays: np.ndarray, gradient: bool = False) -> Contestant:
    from experiments.benchmarks import peers_torch

    tensors = [peers_torch.tensor(array, peer) for array in arrays]
    for tensor in tensors[:-1] if gradient else ():
        tensor.requires_grad_()
    return peers_torch.timed_function(function, peer, *tensors)
