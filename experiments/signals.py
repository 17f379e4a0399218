"""Small networks for signals, `(N, T, 1)`, which several experiments share."""

import contextlib
import tempfile
from collections.abc import Iterator
from functools import cache

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import layers, models, ops, training

LENGTH = 40


class Block(nnx.Module):
    """Two units of three taps, with the identity past them or without; an activation ends it."""

    def __init__(self, width: int, *, residual: bool, batch_norm: bool, activation: str, rngs: nnx.Rngs):
        options = {"batch_norm": batch_norm, "rngs": rngs}
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
        width: int = 16,
        rngs: nnx.Rngs,
    ):
        options = {"batch_norm": batch_norm, "activation": activation, "rngs": rngs}
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
    training.keep_compiled(_compiled().name)
    try:
        yield
    finally:
        training.keep_compiled("off")


@cache
def _compiled() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="jaxcnn-compiled-")
