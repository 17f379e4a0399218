"""Equinox: one example, channels first, as its layers want it, and `jax.vmap` over the batch."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from experiments.benchmarks.contestants import Program, count
from experiments.benchmarks.networks import LEARNING_RATE, MOMENTUM, SHAPES, Task, cross_entropy

relu = jax.nn.relu


class Keys:
    """As many random keys as are asked for."""

    def __init__(self):
        self.key = jax.random.key(0)

    def __call__(self) -> jax.Array:
        self.key, key = jax.random.split(self.key)
        return key


def conv(features: int, maps: int, kernel: int, *args: Any, keys: Keys, **options: Any) -> eqx.nn.Conv2d:
    return eqx.nn.Conv2d(features, maps, kernel, *args, key=keys(), **options)


class LeNet5(eqx.Module):
    convs: list
    dense: list
    pool: eqx.nn.MaxPool2d

    def __init__(self, classes: int, keys: Keys):
        self.convs = [conv(1, 6, 5, padding=2, keys=keys), conv(6, 16, 5, keys=keys)]
        widths = ((400, 120), (120, 84), (84, classes))
        self.dense = [eqx.nn.Linear(i, o, key=keys()) for i, o in widths]
        self.pool = eqx.nn.MaxPool2d(2, 2)

    def __call__(self, x, state, key):
        for layer in self.convs:
            x = self.pool(relu(layer(x)))
        x = relu(self.dense[1](relu(self.dense[0](x.ravel()))))
        return self.dense[2](x), state


def local_response_norm(x):
    """Over 5 neighboring channels, the first axis here; Equinox's LayerNorm and GroupNorm are other things."""
    padded = jnp.pad(x * x, [(2, 2), (0, 0), (0, 0)])
    energy = sum(padded[shift : shift + len(x)] for shift in range(5))
    return x / (2 + 1e-4 * energy) ** 0.75


class Dense(eqx.Module):
    """The dense layers of AlexNet, which drops units before the hidden ones, and of VGG, which drops them after."""

    layers: list
    dropout: eqx.nn.Dropout
    drops_first: bool = eqx.field(static=True)

    def __init__(self, features: int, classes: int, drops_first: bool, keys: Keys):
        widths = ((features, 4096), (4096, 4096), (4096, classes))
        self.layers = [eqx.nn.Linear(i, o, key=keys()) for i, o in widths]
        self.dropout = eqx.nn.Dropout(0.5)
        self.drops_first = drops_first

    def __call__(self, x, key):
        first, second = jax.random.split(key)
        x = x.ravel()
        x = relu(self.layers[0](self.dropout(x, key=first) if self.drops_first else x))
        x = relu(self.layers[1](self.dropout(x, key=second if self.drops_first else first)))
        return self.layers[2](x if self.drops_first else self.dropout(x, key=second))


class AlexNet(eqx.Module):
    convs: list
    dense: Dense
    pool: eqx.nn.MaxPool2d

    def __init__(self, classes: int, keys: Keys):
        self.convs = [
            conv(3, 96, 11, 4, ((1, 2), (1, 2)), keys=keys),
            conv(96, 256, 5, padding=2, groups=2, keys=keys),
            conv(256, 384, 3, padding=1, keys=keys),
            conv(384, 384, 3, padding=1, groups=2, keys=keys),
            conv(384, 256, 3, padding=1, groups=2, keys=keys),
        ]
        self.dense = Dense(6 * 6 * 256, classes, True, keys)
        self.pool = eqx.nn.MaxPool2d(3, 2)

    def __call__(self, x, state, key):
        for layer in self.convs[:2]:
            x = self.pool(local_response_norm(relu(layer(x))))
        for layer in self.convs[2:]:
            x = relu(layer(x))
        return self.dense(self.pool(x), key), state


class VGG11(eqx.Module):
    blocks: list
    dense: Dense
    pool: eqx.nn.MaxPool2d

    def __init__(self, classes: int, keys: Keys):
        self.blocks, features = [], 3
        for maps, layers in ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2)):
            block = []
            for _ in range(layers):
                block.append(conv(features, maps, 3, padding=1, keys=keys))
                features = maps
            self.blocks.append(block)
        self.dense = Dense(7 * 7 * 512, classes, False, keys)
        self.pool = eqx.nn.MaxPool2d(2, 2)

    def __call__(self, x, state, key):
        for block in self.blocks:
            for layer in block:
                x = relu(layer(x))
            x = self.pool(x)
        return self.dense(x, key), state


class ConvNorm(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm

    def __init__(self, features: int, maps: int, kernel: int, strides: int, keys: Keys):
        self.conv = conv(features, maps, kernel, strides, kernel // 2, use_bias=False, keys=keys)
        self.norm = eqx.nn.BatchNorm(maps, "batch", momentum=0.9, mode="batch")

    def __call__(self, x, state):
        return self.norm(self.conv(x), state)


class Block(eqx.Module):
    """Units, of which the last has no ReLU of its own, and the shortcut: projected, padded, or neither."""

    units: list
    shortcut: ConvNorm | None
    strides: int = eqx.field(static=True)
    extra: int = eqx.field(static=True)

    def __init__(self, features: int, width: int, strides: int, bottleneck: bool, keys: Keys):
        maps = 4 * width if bottleneck else width
        plan = [(features, width, 3, strides), (width, width, 3, 1)]
        if bottleneck:
            plan = [(features, width, 1, 1), (width, width, 3, strides), (width, maps, 1, 1)]
        self.units = [ConvNorm(*sizes, keys) for sizes in plan]
        projects = bottleneck and features != maps
        self.shortcut = ConvNorm(features, maps, 1, strides, keys) if projects else None
        self.strides, self.extra = strides, 0 if bottleneck else (maps - features) // 2

    def __call__(self, x, state):
        y = x
        for unit in self.units[:-1]:
            y, state = unit(y, state)
            y = relu(y)
        y, state = self.units[-1](y, state)
        if self.shortcut is not None:
            x, state = self.shortcut(x, state)
        if self.extra:
            x = jnp.pad(x[:, :: self.strides, :: self.strides], [(self.extra, self.extra), (0, 0), (0, 0)])
        return relu(x + y), state


class ResNet(eqx.Module):
    stem: ConvNorm
    pool: eqx.nn.MaxPool2d | None
    blocks: list
    head: eqx.nn.Linear

    def __init__(self, classes: int, keys: Keys, *, bottleneck: bool):
        features = 64 if bottleneck else 16
        self.stem = ConvNorm(3, features, *((7, 2) if bottleneck else (3, 1)), keys)
        self.pool = eqx.nn.MaxPool2d(3, 2, 1) if bottleneck else None
        stages = ((64, 3), (128, 4), (256, 6), (512, 3)) if bottleneck else ((16, 3), (32, 3), (64, 3))
        self.blocks = []
        for number, (width, layers) in enumerate(stages):
            for place in range(layers):
                self.blocks.append(Block(features, width, 2 if number and not place else 1, bottleneck, keys))
                features = 4 * width if bottleneck else width
        self.head = eqx.nn.Linear(features, classes, key=keys())

    def __call__(self, x, state, key):
        x, state = self.stem(x, state)
        x = relu(x) if self.pool is None else self.pool(relu(x))
        for block in self.blocks:
            x, state = block(x, state)
        return self.head(x.mean((1, 2))), state


def resnet20(classes: int, keys: Keys) -> ResNet:
    return ResNet(classes, keys, bottleneck=False)


def resnet50(classes: int, keys: Keys) -> ResNet:
    return ResNet(classes, keys, bottleneck=True)


NETWORKS = {"lenet5": LeNet5, "alexnet": AlexNet, "vgg11": VGG11, "resnet20": resnet20, "resnet50": resnet50}


def network(name: str, classes: int) -> Any:
    """A network and its state."""
    return eqx.nn.make_with_state(NETWORKS[name])(classes, Keys())


def forward(model: Any, state: Any, images: jax.Array, key: jax.Array) -> Any:
    """Logits and the new state, of images `(N, C, H, W)`."""
    keys = jax.random.split(key, images.shape[0])
    return jax.vmap(model, in_axes=(0, None, 0), out_axes=(0, None), axis_name="batch")(images, state, keys)


def program(task: Task) -> Program:
    """A training step; what is static stays outside, as `eqx.filter_jit` would keep it, without its cost per call."""
    assert task.network in SHAPES
    model, state = network(task.network, task.classes)
    params, static = eqx.partition(model, eqx.is_inexact_array)
    optimizer = optax.sgd(LEARNING_RATE, momentum=MOMENTUM)
    dtype = jnp.dtype(task.dtype)

    def step(everything: Any, images: jax.Array, labels: jax.Array):
        params, state, opt_state, key = everything
        key, now = jax.random.split(key)

        def loss_of(params):
            cast = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
            logits, new = forward(eqx.combine(cast, static), state, images.astype(dtype), now)
            return cross_entropy(logits, labels), jax.tree.map(lambda a, b: a.astype(b.dtype), new, state)

        (loss, state), gradient = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return (optax.apply_updates(params, updates), state, opt_state, key), loss

    images, labels = task.arrays()
    images = images.transpose(0, 3, 1, 2).copy()
    first = (params, state, optimizer.init(params), jax.random.key(1))
    return Program(step, first, (images, labels), count(params))
