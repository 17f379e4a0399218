"""Small networks for the signals of MNIST-1D, which several experiments share."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import data, layers, models, ops, training

LENGTH = 40
HE_NORMAL = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")  # that of the library's residual networks


class Dense(models.Network):
    """Dense layers with ReLU; what keeps the width is added to its input. Without hidden layers, logistic regression.

    Source: `MLPBase` of the authors of MNIST-1D.
    """

    def __init__(self, hidden: tuple[int, ...] = (), *, rngs: nnx.Rngs):
        widths = (LENGTH, *hidden)
        self.dense = nnx.List(nnx.Linear(i, o, rngs=rngs) for i, o in zip(widths[:-1], widths[1:], strict=True))
        self.head = nnx.Linear(widths[-1], 10, rngs=rngs)
        self.input_shape = (LENGTH, 1)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations."""
        x = x.reshape(x.shape[0], -1)
        for number, layer in enumerate(self.dense, start=1):
            y = ops.relu(layer(x))
            yield f"dense{number}", (x := x + y if x.shape == y.shape else y)
        yield "head", self.head(x)


class Strided(models.Network):
    """Three convolutions of stride 2, one dense layer: 5,210 parameters; `ConvBase` of the authors of MNIST-1D."""

    def __init__(self, *, rngs: nnx.Rngs):
        widths, taps = (1, 25, 25, 25), (5, 3, 3)
        self.convs = nnx.List(
            layers.Conv(i, o, k, 2, padding=1, rngs=rngs) for i, o, k in zip(widths[:-1], widths[1:], taps, strict=True)
        )
        self.head = nnx.Linear(5 * 25, 10, rngs=rngs)
        self.input_shape = (LENGTH, 1)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations."""
        for number, conv in enumerate(self.convs, start=1):
            yield f"conv{number}", (x := ops.relu(conv(x)))
        yield "head", self.head(x.reshape(x.shape[0], -1))


class Pooled(models.Network):
    """Convolutions with ReLU, each followed by a pooling, and one dense layer.

    Args:
      kind: one of `POOLINGS`.
      count: of the convolutions.
      taps: of their kernels.
      width: of all of them.
      circular: whether signals go on at the other end; otherwise zeros are around them.
      mean: whether the dense layer gets the mean over time; otherwise all samples.
      rngs: random streams, of which `params` is used.
    """

    def __init__(
        self,
        kind: str,
        *,
        count: int = 2,
        taps: int = 3,
        width: int = 20,
        circular: bool = False,
        mean: bool = False,
        rngs: nnx.Rngs,
    ):
        self.kind, self.border, self.mean = kind, "wrap" if circular else "constant", mean
        padding, stride = "CIRCULAR" if circular else taps // 2, 2 if kind == "stride 2" else 1
        self.convs = nnx.List(
            layers.Conv(1 if first else width, width, taps, stride, padding=padding, rngs=rngs)
            for first in (True, *[False] * (count - 1))
        )
        samples = LENGTH if kind == "none" else LENGTH // 2**count
        self.head = nnx.Linear(width if mean else width * samples, 10, rngs=rngs)
        self.input_shape = (LENGTH, 1)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations."""
        for number, conv in enumerate(self.convs, start=1):
            yield f"conv{number}", (x := ops.relu(conv(x)))
            yield f"pool{number}", (x := POOLINGS[self.kind](x, self.border))
        yield "head", self.head(ops.global_avg_pool(x) if self.mean else x.reshape(x.shape[0], -1))


def _max_blur(x: jax.Array, border: str) -> jax.Array:
    """The larger of every two neighbors, blurred, every second one (Zhang 2019)."""
    after = jnp.pad(x, ((0, 0), (0, 1), (0, 0)), mode=border)  # zeros are neutral after ReLU
    return ops.blur_pool(ops.max_pool(after, 2, strides=1), border=border)


POOLINGS = {
    "none": lambda x, _: x,
    "stride 2": lambda x, _: x,  # its convolutions stride
    "max": lambda x, _: ops.max_pool(x, 2),
    "average": lambda x, _: ops.avg_pool(x, 2),
    "L2": lambda x, _: ops.lp_pool(x, 2),
    "blur": lambda x, border: ops.blur_pool(x, border=border),
    "max-blur": _max_blur,
}


class Block(nnx.Module):
    """Two units of three taps, with the identity past them or without; an activation ends it."""

    def __init__(self, width: int, *, residual: bool, activation: str, **options: Any):
        self.first = layers.ConvUnit(width, width, (3,), activation=activation, **options)
        self.second = layers.ConvUnit(width, width, (3,), activation=None, **options)
        self.activation = layers.Activation(activation)
        self.residual = residual

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.second(self.first(x))
        return self.activation(x + y if self.residual else y)


class Deep(models.Network):
    """Convolutions of one width one after the other, the mean over time, one dense layer; `depth` with weights."""

    def __init__(
        self,
        depth: int,
        *,
        residual: bool = False,
        batch_norm: bool = True,
        activation: str = "relu",
        kernel_init: nnx.Initializer = HE_NORMAL,
        width: int = 16,
        rngs: nnx.Rngs,
    ):
        options = {"batch_norm": batch_norm, "activation": activation, "kernel_init": kernel_init, "rngs": rngs}
        self.stem = layers.ConvUnit(1, width, (3,), **options)
        self.blocks = nnx.List(Block(width, residual=residual, **options) for _ in range((depth - 2) // 2))
        self.head = nnx.Linear(width, 10, rngs=rngs)
        self.input_shape = (LENGTH, 1)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations."""
        yield "stem", (x := self.stem(x))
        for number, block in enumerate(self.blocks, start=1):
            yield f"block{number}", (x := block(x))
        yield "mean", (x := ops.global_avg_pool(x))
        yield "head", self.head(x)


def gradient_norms(model: nnx.Module, inputs: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """The L2 norm of the mean cross-entropy's gradient, in training mode, for the kernel of each convolution.

    They are numbered from the input on, for networks of a stem and `blocks`.
    """
    twin = nnx.clone(model)
    twin.train()
    nnx.update(twin, _gradient(twin, jnp.asarray(inputs), jnp.asarray(labels)))
    found = [(path, module) for path, module in nnx.iter_modules(twin) if isinstance(module, layers.Conv)]
    found.sort(key=lambda pair: ("blocks" in pair[0], pair[0]))
    return {str(n): float(jnp.linalg.norm(conv.kernel[...])) for n, (_, conv) in enumerate(found, start=1)}


@nnx.jit
def _gradient(model: nnx.Module, inputs: jax.Array, labels: jax.Array) -> nnx.State:
    return nnx.grad(lambda model: ops.softmax_cross_entropy(model(inputs), labels).mean())(model)


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
    """Within it, what this process has compiled for one seed serves the others."""
    if jax.config.values["jax_compilation_cache_dir"] is not None:  # as the user wants it anyway
        yield
        return
    training.keep_compiled(_compiled().name)
    try:
        yield
    finally:
        training.keep_compiled("off")


@cache
def _compiled() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="jaxcnn-compiled-")


def trained(
    model: models.Network, train: data.Dataset, config: training.TrainConfig, seed: int, quick: bool = False
) -> training.TrainResult:
    """Trains a network in place; `quick` makes it two steps."""
    some = train.take(2 * config.batch_size) if quick else train
    config = dataclasses.replace(config, seed=seed, epochs=1 if quick else config.epochs)
    return training.fit(model, some, config=config, observer=None)


def accuracy(model: models.Network, test: data.Dataset, run: training.TrainResult) -> float:
    """In percent, of a trained network."""
    return 100 * training.evaluate(model, test, run.scaling, len(test.labels)).accuracy
