"""LeNet-5 and a small ResNet in six ways: Equinox, Keras, Haiku, Linen, NNX, and plain lax.

Each is a loss of arrays alone, `loss(parameters, images, labels)`, and its arguments; images are 8 of `(12, 12, 1)`, or
`(1, 12, 12)` where the library puts channels first.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

KINDS = ("lenet", "resnet")
CLASSES = 3


class Network(NamedTuple):
    """A network as a user has it."""

    loss: Callable[..., jax.Array]
    parameters: Any
    images: np.ndarray
    labels: np.ndarray


def _data(channels_last: bool) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    images = random.normal(size=(8, 12, 12, 1) if channels_last else (8, 1, 12, 12)).astype(np.float32)
    return images, random.integers(0, CLASSES, 8)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean over examples."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def in_lax(kind: str) -> Network:
    """Functions of arrays, channels first."""
    random = np.random.default_rng(1)

    def weights(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    def pool(x: jax.Array) -> jax.Array:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def lenet(w: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        x = pool(jnp.maximum(lax.conv(x, w["one"], (1, 1), "SAME"), 0))
        x = pool(jnp.maximum(lax.conv(x, w["two"], (1, 1), "VALID"), 0))
        return x.reshape(x.shape[0], -1) @ w["dense"]

    def resnet(w: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        x = jax.nn.relu(lax.conv(x, w["stem"], (1, 1), "SAME"))
        for name in ("one", "two"):
            y = jax.nn.relu(lax.conv(x, w[f"{name}a"], (2, 2), "SAME"))
            x = jax.nn.relu(lax.conv(y, w[f"{name}b"], (1, 1), "SAME") + lax.conv(x, w[f"{name}c"], (2, 2), "SAME"))
        return x.mean((2, 3)) @ w["dense"]

    if kind == "lenet":
        parameters = {"one": weights(4, 1, 5, 5), "two": weights(6, 4, 3, 3), "dense": weights(24, CLASSES)}
    else:
        parameters = {"stem": weights(4, 1, 3, 3), "dense": weights(8, CLASSES)}
        for name, (before, after) in {"one": (4, 4), "two": (4, 8)}.items():
            parameters[f"{name}a"], parameters[f"{name}b"] = weights(after, before, 3, 3), weights(after, after, 3, 3)
            parameters[f"{name}c"] = weights(after, before, 1, 1)
    model = lenet if kind == "lenet" else resnet
    return Network(lambda w, x, labels: cross_entropy(model(w, x), labels), parameters, *_data(channels_last=False))


def in_equinox(kind: str) -> Network:
    """Modules of one example, mapped over the batch."""
    import equinox as eqx

    keys = iter(jax.random.split(jax.random.key(0), 20))

    class Block(eqx.Module):
        one: eqx.nn.Conv2d
        two: eqx.nn.Conv2d
        shortcut: eqx.nn.Conv2d

        def __init__(self, before: int, after: int):
            self.one = eqx.nn.Conv2d(before, after, 3, stride=2, padding=1, key=next(keys))
            self.two = eqx.nn.Conv2d(after, after, 3, padding=1, key=next(keys))
            self.shortcut = eqx.nn.Conv2d(before, after, 1, stride=2, key=next(keys))

        def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
            return jax.nn.relu(self.two(jax.nn.relu(self.one(x))) + self.shortcut(x))

    relu, pool = eqx.nn.Lambda(jax.nn.relu), eqx.nn.MaxPool2d(2, 2)
    if kind == "lenet":
        first, second = (eqx.nn.Conv2d(*sizes, key=next(keys)) for sizes in ((1, 4, 5), (4, 6, 3)))
        layers = [first, relu, pool, second, relu, pool, eqx.nn.Lambda(jnp.ravel)]
        layers.append(eqx.nn.Linear(6, CLASSES, key=next(keys)))
    else:
        layers = [eqx.nn.Conv2d(1, 4, 3, padding=1, key=next(keys)), relu, Block(4, 4), Block(4, 8)]
        layers += [eqx.nn.AdaptiveAvgPool2d(1), eqx.nn.Lambda(jnp.ravel), eqx.nn.Linear(8, CLASSES, key=next(keys))]
    parameters, rest = eqx.partition(eqx.nn.Sequential(layers), eqx.is_inexact_array)

    def loss(parameters: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        return cross_entropy(jax.vmap(eqx.combine(parameters, rest))(x), labels)

    return Network(loss, parameters, *_data(channels_last=False))


def in_keras(kind: str) -> Network:
    """A Keras 3 model on its JAX backend, called without state."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    keras.utils.set_random_seed(0)
    usual = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")  # to which a model rounds whatever it gets
    keras.config.set_dtype_policy("float64")
    try:
        model = _keras_model(keras, kind)
    finally:
        keras.config.set_floatx(usual[0])
        keras.config.set_dtype_policy(usual[1])

    def loss(parameters: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        return cross_entropy(model.stateless_call(parameters, [], x)[0], labels)

    return Network(loss, [variable.value for variable in model.trainable_variables], *_data(channels_last=True))


def _keras_model(keras: Any, kind: str) -> Any:
    inputs = keras.Input((12, 12, 1))
    if kind == "lenet":
        x = keras.layers.Conv2D(4, 5, padding="same", activation="relu")(inputs)
        x = keras.layers.MaxPooling2D()(x)
        x = keras.layers.Conv2D(6, 3, activation="relu")(x)
        x = keras.layers.Flatten()(keras.layers.MaxPooling2D()(x))
    else:
        x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
        for filters in (4, 8):
            y = keras.layers.Conv2D(filters, 3, 2, padding="same", activation="relu")(x)
            y = keras.layers.Conv2D(filters, 3, padding="same")(y)
            x = keras.layers.ReLU()(keras.layers.Add()([y, keras.layers.Conv2D(filters, 1, 2)(x)]))
        x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


def in_haiku(kind: str) -> Network:
    """A transformed function."""
    import haiku as hk

    def lenet(x: jax.Array) -> jax.Array:
        x = hk.max_pool(jax.nn.relu(hk.Conv2D(4, 5)(x)), (2, 2, 1), (2, 2, 1), "VALID")
        x = hk.max_pool(jax.nn.relu(hk.Conv2D(6, 3, padding="VALID")(x)), (2, 2, 1), (2, 2, 1), "VALID")
        return hk.Linear(CLASSES)(hk.Flatten()(x))

    def resnet(x: jax.Array) -> jax.Array:
        x = jax.nn.relu(hk.Conv2D(4, 3)(x))
        for channels in (4, 8):
            y = hk.Conv2D(channels, 3)(jax.nn.relu(hk.Conv2D(channels, 3, 2)(x)))
            x = jax.nn.relu(y + hk.Conv2D(channels, 1, 2)(x))
        return hk.Linear(CLASSES)(hk.avg_pool(x, (3, 3, 1), (3, 3, 1), "VALID").reshape(x.shape[0], -1))

    images, labels = _data(channels_last=True)
    model = hk.without_apply_rng(hk.transform(lenet if kind == "lenet" else resnet))
    parameters = model.init(jax.random.key(0), images)
    return Network(lambda w, x, labels: cross_entropy(model.apply(w, x), labels), parameters, images, labels)


def in_linen(kind: str) -> Network:
    """A Linen module."""
    from flax import linen as nn

    class LeNet(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.max_pool(nn.relu(nn.Conv(4, (5, 5))(x)), (2, 2), (2, 2))
            x = nn.max_pool(nn.relu(nn.Conv(6, (3, 3), padding="VALID")(x)), (2, 2), (2, 2))
            return nn.Dense(CLASSES)(x.reshape(x.shape[0], -1))

    class ResNet(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.relu(nn.Conv(4, (3, 3))(x))
            for channels in (4, 8):
                y = nn.Conv(channels, (3, 3))(nn.relu(nn.Conv(channels, (3, 3), 2)(x)))
                x = nn.relu(y + nn.Conv(channels, (1, 1), 2)(x))
            return nn.Dense(CLASSES)(nn.avg_pool(x, (3, 3), (3, 3)).reshape(x.shape[0], -1))

    images, labels = _data(channels_last=True)
    model = LeNet() if kind == "lenet" else ResNet()
    parameters = model.init(jax.random.key(0), images)
    return Network(lambda w, x, labels: cross_entropy(model.apply(w, x), labels), parameters, images, labels)


def in_nnx(kind: str) -> Network:
    """An NNX module, as a graph and a state."""
    from flax import nnx

    rngs = nnx.Rngs(0)

    class LeNet(nnx.Module):
        def __init__(self) -> None:
            self.one, self.two = nnx.Conv(1, 4, (5, 5), rngs=rngs), nnx.Conv(4, 6, (3, 3), padding="VALID", rngs=rngs)
            self.dense = nnx.Linear(24, CLASSES, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            x = nnx.max_pool(nnx.relu(self.one(x)), (2, 2), (2, 2))
            x = nnx.max_pool(nnx.relu(self.two(x)), (2, 2), (2, 2))
            return self.dense(x.reshape(x.shape[0], -1))

    class Block(nnx.Module):
        def __init__(self, before: int, after: int) -> None:
            self.one = nnx.Conv(before, after, (3, 3), 2, rngs=rngs)
            self.two, self.shortcut = (
                nnx.Conv(after, after, (3, 3), rngs=rngs),
                nnx.Conv(before, after, (1, 1), 2, rngs=rngs),
            )

        def __call__(self, x: jax.Array) -> jax.Array:
            return nnx.relu(self.two(nnx.relu(self.one(x))) + self.shortcut(x))

    class ResNet(nnx.Module):
        def __init__(self) -> None:
            self.stem, self.one, self.two = nnx.Conv(1, 4, (3, 3), rngs=rngs), Block(4, 4), Block(4, 8)
            self.dense = nnx.Linear(8, CLASSES, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.dense(self.two(self.one(nnx.relu(self.stem(x)))).mean((1, 2)))

    graph, state = nnx.split(LeNet() if kind == "lenet" else ResNet())

    def loss(state: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        return cross_entropy(nnx.merge(graph, state)(x), labels)

    return Network(loss, state, *_data(channels_last=True))


WAYS = {
    "lax": in_lax,
    "equinox": in_equinox,
    "keras": in_keras,
    "haiku": in_haiku,
    "linen": in_linen,
    "nnx": in_nnx,
}
