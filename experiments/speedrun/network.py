"""The network of airbench94 (Jordan 2024, arXiv:2404.00498), of jaxcnn's layers."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from jaxcnn import layers

WIDTHS = (64, 256, 256)


class Block(nnx.Module):
    """Twice convolution, normalization, GELU; the first with a pool that halves the sides."""

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs, options: layers.Options):
        window: dict[str, Any] = {"kernel_size": (3, 3), "use_bias": False, "kernel_init": identity_first}
        convolution = functools.partial(layers.Conv, **window, rngs=rngs, options=options)
        norm = functools.partial(layers.BatchNorm, out_features, momentum=0.6, rngs=rngs, options=options)
        self.conv1, self.norm1 = convolution(in_features, out_features), norm()
        self.conv2, self.norm2 = convolution(out_features, out_features), norm()
        self.pool = layers.MaxPool(2, options=options)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `(N, H, W, C)` to `(N, H / 2, W / 2, O)`."""
        x = jax.nn.gelu(self.norm1(self.pool(self.conv1(x))))
        return jax.nn.gelu(self.norm2(self.conv2(x)))


class SpeedNet(nnx.Module):
    """The network of airbench94, for pictures of 32x32."""

    def __init__(self, classes: int, features: int, width: float, *, rngs: nnx.Rngs, dtype: DTypeLike):
        options = layers.Options(dtype=dtype)
        widths = [max(features * 4, round(width * maps)) for maps in WIDTHS]
        whitened = 2 * 4 * features
        self.whiten = layers.Conv(features, whitened, (2, 2), padding="VALID", rngs=rngs, options=options)
        ins = [whitened, *widths[:-1]]
        self.blocks = nnx.List([Block(i, o, rngs=rngs, options=options) for i, o in zip(ins, widths, strict=True)])
        self.pool = layers.MaxPool(3, options=options)
        self.head = nnx.Linear(widths[-1], classes, use_bias=False, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `(N, 32, 32, C)` to logits."""
        x = jax.nn.gelu(self.whiten(x))
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(x).reshape(len(x), -1)) / 9


def identity_first(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32, **_: Any) -> jax.Array:
    """A kernel whose first outputs are its inputs; the others are drawn within +-1 / sqrt(fan-in)."""
    *window, inputs, outputs = shape
    bound = (np.prod(window) * inputs) ** -0.5
    kernel = jax.random.uniform(key, tuple(shape), dtype, -bound, bound)
    middle, kept = tuple(size // 2 for size in window), min(inputs, outputs)
    kernel = kernel.at[..., :kept].set(0)
    return kernel.at[(*middle, np.arange(kept), np.arange(kept))].set(1)


def whitening_kernel(images: jax.Array) -> jax.Array:
    """`(2, 2, C, 8 C)`: the principal directions of 2x2 patches, each to variance 1, and their negatives."""
    patches = jnp.stack([images[:, i : i + 31, j : j + 31] for i in (0, 1) for j in (0, 1)], -2)
    patches = patches.reshape(-1, 4 * images.shape[-1])
    values, vectors = jnp.linalg.eigh(patches.T @ patches / len(patches))
    directions = (vectors / jnp.sqrt(values + 5e-4)[None]).reshape(2, 2, images.shape[-1], -1)
    return jnp.concatenate([directions, -directions], -1)
