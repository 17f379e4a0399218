"""Keras 3 on JAX: functional models, channels last, and the training loop of Keras's own guide to JAX."""

import os
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmarks.contestants import LeftOut, Program
from experiments.benchmarks.networks import LEARNING_RATE, MOMENTUM, SHAPES, Task

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras  # noqa: E402
from keras import layers as kl  # noqa: E402

if keras.backend.backend() != "jax":
    raise LeftOut(f"Keras runs on {keras.backend.backend()} here, not on jax")


def lenet5(x, classes: int):
    x = kl.MaxPooling2D(2)(kl.Conv2D(6, 5, padding="same", activation="relu")(x))
    x = kl.MaxPooling2D(2)(kl.Conv2D(16, 5, activation="relu")(x))
    x = kl.Dense(120, activation="relu")(kl.Flatten()(x))
    return kl.Dense(classes)(kl.Dense(84, activation="relu")(x))


class LocalResponseNorm(kl.Layer):
    """Over 5 neighboring channels; Keras has none."""

    def call(self, x: Any) -> Any:
        channels = x.shape[-1]
        padded: Any = keras.ops.pad(keras.ops.square(x), [(0, 0)] * 3 + [(2, 2)])
        energy = sum(padded[..., shift : shift + channels] for shift in range(5))
        return x / keras.ops.power(2 + 1e-4 * energy, 0.75)


def dense(x, classes: int, drops_first: bool):
    """The dense layers of AlexNet, which drops units before the hidden ones, and of VGG, which drops them after."""
    x = kl.Flatten()(x)
    x = kl.Dense(4096, activation="relu")(kl.Dropout(0.5)(x) if drops_first else x)
    x = kl.Dense(4096, activation="relu")(kl.Dropout(0.5)(x))
    return kl.Dense(classes)(x if drops_first else kl.Dropout(0.5)(x))


def alexnet(x, classes: int):
    x = kl.Conv2D(96, 11, 4, activation="relu")(kl.ZeroPadding2D(((1, 2), (1, 2)))(x))
    x = kl.MaxPooling2D(3, 2)(LocalResponseNorm()(x))
    x = kl.Conv2D(256, 5, padding="same", groups=2, activation="relu")(x)
    x = kl.MaxPooling2D(3, 2)(LocalResponseNorm()(x))
    x = kl.Conv2D(384, 3, padding="same", activation="relu")(x)
    x = kl.Conv2D(384, 3, padding="same", groups=2, activation="relu")(x)
    x = kl.Conv2D(256, 3, padding="same", groups=2, activation="relu")(x)
    return dense(kl.MaxPooling2D(3, 2)(x), classes, drops_first=True)


def vgg11(x, classes: int):
    for maps, layers in ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2)):
        for _ in range(layers):
            x = kl.Conv2D(maps, 3, padding="same", activation="relu")(x)
        x = kl.MaxPooling2D(2)(x)
    return dense(x, classes, drops_first=False)


def conv_norm(x, maps: int, kernel: int, strides: int = 1):
    if kernel > 1 and strides > 1:  # "same" would pad on one side only
        x, padding = kl.ZeroPadding2D(kernel // 2)(x), "valid"
    else:
        padding = "same"
    x = kl.Conv2D(maps, kernel, strides, padding=padding, use_bias=False)(x)
    return kl.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def resnet20(x, classes: int):
    x = kl.ReLU()(conv_norm(x, 16, 3))
    for maps in (16, 32, 64):
        for _ in range(3):
            extra = (maps - x.shape[-1]) // 2
            y = kl.ReLU()(conv_norm(x, maps, 3, 2 if extra else 1))
            if extra:
                x = kl.Lambda(lambda x, extra=extra: keras.ops.pad(x[:, ::2, ::2], [(0, 0)] * 3 + [(extra, extra)]))(x)
            x = kl.ReLU()(kl.Add()([x, conv_norm(y, maps, 3)]))
    return kl.Dense(classes)(kl.GlobalAveragePooling2D()(x))


def resnet50(x, classes: int):
    x = kl.ReLU()(conv_norm(x, 64, 7, 2))
    x = kl.MaxPooling2D(3, 2)(kl.ZeroPadding2D(1)(x))  # zeros are as good as minus infinity after a ReLU
    for width, layers in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for place in range(layers):
            strides = 2 if width > 64 and not place else 1
            y = kl.ReLU()(conv_norm(x, width, 1))
            y = conv_norm(kl.ReLU()(conv_norm(y, width, 3, strides)), 4 * width, 1)
            x = kl.ReLU()(kl.Add()([y, x if place else conv_norm(x, 4 * width, 1, strides)]))
    return kl.Dense(classes)(kl.GlobalAveragePooling2D()(x))


NETWORKS = {"lenet5": lenet5, "alexnet": alexnet, "vgg11": vgg11, "resnet20": resnet20, "resnet50": resnet50}


def network(name: str, classes: int, size: int | None = None) -> keras.Model:
    """A network."""
    shape = SHAPES[name]
    inputs = keras.Input((size or shape.size, size or shape.size, shape.channels))
    return keras.Model(inputs, NETWORKS[name](inputs, classes))


def program(task: Task) -> Program:
    """A training step by `stateless_call` and `stateless_apply`."""
    keras.utils.set_random_seed(0)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if task.dtype == "bfloat16" else "float32")
    try:
        model = network(task.network, task.classes, task.size)
    finally:
        keras.config.set_dtype_policy(policy)
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM)
    optimizer.build(model.trainable_variables)
    loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def loss_of(trainable, rest, images, labels):
        found: Any = model.stateless_call(trainable, rest, images, training=True)
        logits, rest = found
        return loss_function(labels, jnp.asarray(logits, jnp.float32)), rest

    def step(state: Any, images: jax.Array, labels: jax.Array):
        trainable, rest, opt_state = state
        (loss, rest), gradient = jax.value_and_grad(loss_of, has_aux=True)(trainable, rest, images, labels)
        trainable, opt_state = optimizer.stateless_apply(opt_state, gradient, trainable)
        return (trainable, rest, opt_state), loss

    variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    state = tuple([jnp.copy(variable.value) for variable in part] for part in variables)
    return Program(step, state, task.arrays(), sum(leaf.size for leaf in state[0]))
