"""Stock Flax NNX: layers of `flax.nnx`, derivatives by `jax.grad`. jaxcnn runs through the same step."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from experiments.benchmarks.contestants import Program, count
from experiments.benchmarks.networks import LEARNING_RATE, MOMENTUM, Task, cross_entropy


class LeNet5(nnx.Module):
    def __init__(self, classes: int, *, rngs: nnx.Rngs, **options: Any):
        self.conv1 = nnx.Conv(1, 6, (5, 5), padding="SAME", rngs=rngs, **options)
        self.conv2 = nnx.Conv(6, 16, (5, 5), padding="VALID", rngs=rngs, **options)
        self.dense1 = nnx.Linear(400, 120, rngs=rngs, **options)
        self.dense2 = nnx.Linear(120, 84, rngs=rngs, **options)
        self.head = nnx.Linear(84, classes, rngs=rngs, **options)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.conv1(x)), (2, 2), strides=(2, 2))
        x = nnx.max_pool(nnx.relu(self.conv2(x)), (2, 2), strides=(2, 2))
        x = x.reshape(x.shape[0], -1)
        return self.head(nnx.relu(self.dense2(nnx.relu(self.dense1(x)))))


def local_response_norm(x):
    """Over 5 neighboring channels; Flax has none."""
    padded = jnp.pad(x * x, [(0, 0)] * 3 + [(2, 2)])
    energy = sum(padded[..., shift : shift + x.shape[-1]] for shift in range(5))
    return x / (2 + 1e-4 * energy) ** 0.75


class Dense(nnx.Module):
    """The dense layers of AlexNet, which drops units before the hidden ones, and of VGG, which drops them after."""

    def __init__(self, features: int, classes: int, *, drops_first: bool, rngs: nnx.Rngs, **options: Any):
        self.dense1 = nnx.Linear(features, 4096, rngs=rngs, **options)
        self.dense2 = nnx.Linear(4096, 4096, rngs=rngs, **options)
        self.head = nnx.Linear(4096, classes, rngs=rngs, **options)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.drops_first = drops_first

    def __call__(self, x):
        x = self.dense1(self.dropout(x) if self.drops_first else x)
        x = nnx.relu(self.dense2(self.dropout(nnx.relu(x))))
        return self.head(x if self.drops_first else self.dropout(x))


class AlexNet(nnx.Module):
    def __init__(self, classes: int, *, rngs: nnx.Rngs, **options: Any):
        options["rngs"] = rngs
        self.conv1 = nnx.Conv(3, 96, (11, 11), 4, padding=((1, 2), (1, 2)), **options)
        self.conv2 = nnx.Conv(96, 256, (5, 5), padding="SAME", feature_group_count=2, **options)
        self.conv3 = nnx.Conv(256, 384, (3, 3), padding="SAME", **options)
        self.conv4 = nnx.Conv(384, 384, (3, 3), padding="SAME", feature_group_count=2, **options)
        self.conv5 = nnx.Conv(384, 256, (3, 3), padding="SAME", feature_group_count=2, **options)
        self.dense = Dense(6 * 6 * 256, classes, drops_first=True, **options)

    def __call__(self, x):
        x = nnx.max_pool(local_response_norm(nnx.relu(self.conv1(x))), (3, 3), strides=(2, 2))
        x = nnx.max_pool(local_response_norm(nnx.relu(self.conv2(x))), (3, 3), strides=(2, 2))
        x = nnx.relu(self.conv4(nnx.relu(self.conv3(x))))
        x = nnx.max_pool(nnx.relu(self.conv5(x)), (3, 3), strides=(2, 2))
        return self.dense(x.reshape(x.shape[0], -1))


class VGG11(nnx.Module):
    def __init__(self, classes: int, *, rngs: nnx.Rngs, **options: Any):
        blocks, features = [], 3
        for maps, layers in ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2)):
            block = []
            for _ in range(layers):
                block.append(nnx.Conv(features, maps, (3, 3), padding="SAME", rngs=rngs, **options))
                features = maps
            blocks.append(nnx.List(block))
        self.blocks = nnx.List(blocks)
        self.dense = Dense(7 * 7 * 512, classes, drops_first=False, rngs=rngs, **options)

    def __call__(self, x):
        for block in self.blocks:
            for conv in block:
                x = nnx.relu(conv(x))
            x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        return self.dense(x.reshape(x.shape[0], -1))


class ConvNorm(nnx.Module):
    def __init__(self, features: int, maps: int, kernel: int, strides: int = 1, *, rngs: nnx.Rngs, **options: Any):
        padding = ((kernel // 2, kernel // 2),) * 2
        self.conv = nnx.Conv(
            features, maps, (kernel, kernel), strides, padding=padding, use_bias=False, rngs=rngs, **options
        )
        self.norm = nnx.BatchNorm(maps, momentum=0.9, rngs=rngs, **options)

    def __call__(self, x):
        return self.norm(self.conv(x))


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions; where the shape changes, the shortcut is decimated and padded with zeros."""

    def __init__(self, features: int, maps: int, strides: int, **options: Any):
        self.unit1 = ConvNorm(features, maps, 3, strides, **options)
        self.unit2 = ConvNorm(maps, maps, 3, **options)
        self.strides, self.extra = strides, (maps - features) // 2

    def __call__(self, x):
        y = self.unit2(nnx.relu(self.unit1(x)))
        if self.extra:
            x = jnp.pad(x[:, :: self.strides, :: self.strides], [(0, 0)] * 3 + [(self.extra, self.extra)])
        return nnx.relu(x + y)


class ResNet20(nnx.Module):
    def __init__(self, classes: int, *, rngs: nnx.Rngs, **options: Any):
        options["rngs"] = rngs
        self.stem = ConvNorm(3, 16, 3, **options)
        blocks, features = [], 16
        for maps in (16, 32, 64):
            for _ in range(3):
                blocks.append(BasicBlock(features, maps, 2 if maps != features else 1, **options))
                features = maps
        self.blocks = nnx.List(blocks)
        self.head = nnx.Linear(64, classes, **options)

    def __call__(self, x):
        x = nnx.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


class Bottleneck(nnx.Module):
    def __init__(self, features: int, width: int, strides: int, **options: Any):
        self.unit1 = ConvNorm(features, width, 1, **options)
        self.unit2 = ConvNorm(width, width, 3, strides, **options)
        self.unit3 = ConvNorm(width, 4 * width, 1, **options)
        changes = features != 4 * width
        self.shortcut = nnx.data(ConvNorm(features, 4 * width, 1, strides, **options) if changes else None)

    def __call__(self, x):
        y = self.unit3(nnx.relu(self.unit2(nnx.relu(self.unit1(x)))))
        return nnx.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet50(nnx.Module):
    def __init__(self, classes: int, *, rngs: nnx.Rngs, **options: Any):
        options["rngs"] = rngs
        self.stem = ConvNorm(3, 64, 7, 2, **options)
        blocks, features = [], 64
        for width, layers in ((64, 3), (128, 4), (256, 6), (512, 3)):
            for place in range(layers):
                blocks.append(Bottleneck(features, width, 2 if width > 64 and not place else 1, **options))
                features = 4 * width
        self.blocks = nnx.List(blocks)
        self.head = nnx.Linear(2048, classes, **options)

    def __call__(self, x):
        x = nnx.relu(self.stem(x))
        borders: Any = ((1, 1), (1, 1))  # Flax takes them; its annotation says otherwise
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=borders)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


NETWORKS = {"lenet5": LeNet5, "alexnet": AlexNet, "vgg11": VGG11, "resnet20": ResNet20, "resnet50": ResNet50}


def network(name: str, classes: int, dtype: str = "float32") -> nnx.Module:
    """A network, in training mode."""
    return NETWORKS[name](classes, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0))


def program(task: Task) -> Program:
    """A training step of stock Flax."""
    return nnx_program(network(task.network, task.classes, task.dtype), task)


def nnx_program(model: Any, task: Task) -> Program:
    """SGD with momentum on a network of NNX, taken apart once, as Flax's guide to performance has it."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    optimizer = optax.sgd(LEARNING_RATE, momentum=MOMENTUM)

    def step(state, images, labels):
        params, rest, opt_state = state

        def loss_of(params):
            model = nnx.merge(graph, params, rest, copy=True)
            loss = cross_entropy(model(images), labels)
            return loss, nnx.split(model, nnx.Param, ...)[2]

        (loss, rest), gradient = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return (optax.apply_updates(params, updates), rest, opt_state), loss

    return Program(step, (params, rest, optimizer.init(params)), task.arrays(), count(params))
