"""Networks and layers of which people complain in public that they are slow: their kind of code, and PyTorch's.

Each builder gives a function of parameters and arrays, whose value and gradients towards them are wanted, the arrays,
and the same in PyTorch. Sizes are those of the threads, or what runs in seconds on two cores.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.benchmarks.layouts import LAYOUTS, Layout

REPOSITORIES = {"equinox": "patrick-kidger/equinox", "flax": "google/flax", "jax": "jax-ml/jax", "xla": "openxla/xla"}


class Case(NamedTuple):
    """What somebody runs."""

    function: Callable[..., jax.Array]  # its first argument, and the second if `both`, are differentiated
    arguments: tuple[Any, ...]
    torch: Callable[[], Callable[[], Any]]  # PyTorch's function of none, ready to run
    both: bool = True


class Complaint(NamedTuple):
    """A thread, in a few words, and its code."""

    thread: str  # repository and number
    code: str  # the kind of code
    build: Callable[[], Case]

    @property
    def link(self) -> str:
        """The thread, as Markdown."""
        short, number = self.thread.split()
        return f"[{short} {number}](https://github.com/{REPOSITORIES[short]}/issues/{number})"


def _arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.standard_normal(shape, np.float32) for shape in shapes]


def squared(outputs: jax.Array) -> jax.Array:
    """The loss of a single layer."""
    return jnp.sum(jnp.square(outputs.astype(jnp.float32)))


def _torch_layer(x: np.ndarray, w: np.ndarray, last: bool = False, **how: Any) -> Callable[[], Callable[[], Any]]:
    """PyTorch's layer; `x` and `w` with channels first in shape, if `last` not in memory."""

    def build() -> Callable[[], Any]:
        from experiments.benchmarks.peers_torch import layer_gradients

        return layer_gradients(x, w, "torch-channels-last" if last else "torch-nchw", **how)

    return build


def depthwise_in_equinox() -> Case:
    """One example, mapped over the batch; channels first."""
    import equinox as eqx

    layer = eqx.nn.Conv2d(512, 512, 3, padding=1, groups=512, use_bias=False, key=jax.random.key(0))
    (x,) = _arrays((1, 512, 64, 64))
    torch = _torch_layer(x, np.asarray(layer.weight), groups=512)
    return Case(lambda layer, x: squared(jax.vmap(layer)(x)), (layer, x), torch)


def depthwise_in_flax() -> Case:
    """A Linen layer; channels last."""
    from flax import linen as nn

    layer = nn.Conv(256, (3, 3), feature_group_count=256, use_bias=False)
    (x,) = _arrays((1, 124, 124, 256))
    parameters = layer.init(jax.random.key(0), x)
    w = np.moveaxis(np.asarray(parameters["params"]["kernel"]), (-1, -2), (0, 1))
    torch = _torch_layer(np.moveaxis(x, -1, 1), w, last=True, groups=256)
    return Case(lambda parameters, x: squared(layer.apply(parameters, x)), (parameters, x), torch)


def one_axis_in_equinox() -> Case:
    """A layer of signals."""
    import equinox as eqx

    layer = eqx.nn.Conv1d(64, 64, 9, padding=4, use_bias=False, key=jax.random.key(0))
    (x,) = _arrays((16, 64, 2000))
    torch = _torch_layer(x, np.asarray(layer.weight))
    return Case(lambda layer, x: squared(jax.vmap(layer)(x)), (layer, x), torch)


def in_lax(case: Layout) -> Case:
    """`lax.conv_general_dilated`, channels first."""
    inputs, kernel = _arrays(case.inputs, case.kernel)
    padding = ((case.window // 2,) * 2,) * (inputs.ndim - 2)

    def function(w: jax.Array, x: jax.Array) -> jax.Array:
        options = {"dimension_numbers": case.dims(channels_last=False), "feature_group_count": case.groups}
        return squared(lax.conv_general_dilated(x, w, (1,) * (x.ndim - 2), padding, **options))

    arguments = jnp.asarray(kernel, case.dtype), jnp.asarray(inputs, case.dtype)
    return Case(function, arguments, _torch_layer(inputs, kernel, groups=case.groups, dtype=case.dtype))


def in_a_loop() -> Case:
    """The gradients of a convolution inside `lax.scan`."""
    x, w = _arrays((32, 28, 28, 8), (3, 3, 8, 16))

    def function(w: jax.Array, x: jax.Array) -> jax.Array:
        def step(total: jax.Array, _: None) -> tuple[jax.Array, None]:
            names = ("NHWC", "HWIO", "NHWC")
            outputs = lax.conv_general_dilated(x, w * (1 + 0 * total), (1, 1), "SAME", dimension_numbers=names)
            return total + squared(outputs), None

        return lax.scan(step, jnp.zeros(()), None, 4)[0]

    torch = _torch_layer(np.moveaxis(x, -1, 1), np.moveaxis(w, (-1, -2), (0, 1)), last=True, steps=4)
    return Case(function, (w, x), torch)


# Whole networks, batches of 128 digits; those of the libraries' own first examples.

_DIGITS = (128, 28, 28, 1)


def _entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def _torch_network(layers: Callable[[Any], list[Any]], x: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    def build() -> Callable[[], Any]:
        import torch
        from torch import nn

        model = nn.Sequential(*layers(nn))
        inputs, targets = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1))), torch.from_numpy(labels)

        def run() -> Any:
            loss = nn.functional.cross_entropy(model(inputs), targets)
            return torch.autograd.grad(loss, list(model.parameters()))

        return run

    return build


def _digits() -> tuple[np.ndarray, np.ndarray]:
    return _arrays(_DIGITS)[0], np.random.default_rng(1).integers(0, 10, _DIGITS[0])


def quick_start_of_flax() -> Case:
    """The network of Flax's first page."""
    from flax import linen as nn

    class CNN(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.avg_pool(nn.relu(nn.Conv(32, (3, 3))(x)), (2, 2), (2, 2))
            x = nn.avg_pool(nn.relu(nn.Conv(64, (3, 3))(x)), (2, 2), (2, 2))
            return nn.Dense(10)(nn.relu(nn.Dense(256)(x.reshape(x.shape[0], -1))))

    x, labels = _digits()
    parameters = CNN().init(jax.random.key(0), x)
    torch = _torch_network(
        lambda nn: [
            *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(3136, 256), nn.ReLU(), nn.Linear(256, 10)),
        ],
        x,
        labels,
    )
    return Case(lambda w, x, y: _entropy(CNN().apply(w, x), y), (parameters, x, labels), torch, both=False)


def network_in_equinox() -> Case:
    """The convolutional network of Equinox's examples: one example, channels first, mapped."""
    import equinox as eqx

    keys = jax.random.split(jax.random.key(0), 4)
    model = eqx.nn.Sequential(
        [
            *(eqx.nn.Conv2d(1, 3, 4, key=keys[0]), eqx.nn.MaxPool2d(2, 2), eqx.nn.Lambda(jax.nn.relu)),
            *(eqx.nn.Lambda(jnp.ravel), eqx.nn.Linear(432, 512, key=keys[1]), eqx.nn.Lambda(jax.nn.sigmoid)),
            *(eqx.nn.Linear(512, 64, key=keys[2]), eqx.nn.Lambda(jax.nn.relu), eqx.nn.Linear(64, 10, key=keys[3])),
        ]
    )
    parameters, rest = eqx.partition(model, eqx.is_inexact_array)
    x, labels = _digits()

    def function(parameters: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        return _entropy(jax.vmap(eqx.combine(parameters, rest))(x), labels)

    torch = _torch_network(
        lambda nn: [
            *(nn.Conv2d(1, 3, 4), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(432, 512), nn.Sigmoid()),
            *(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)),
        ],
        x,
        labels,
    )
    return Case(function, (parameters, np.moveaxis(x, -1, 1), labels), torch, both=False)


def network_in_keras() -> Case:
    """The convolutional network of Keras's examples, on its JAX backend."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    layers = keras.layers
    model = keras.Sequential([keras.Input(_DIGITS[1:])])
    for filters in (32, 64):
        model.add(layers.Conv2D(filters, 3, activation="relu"))
        model.add(layers.MaxPooling2D(2))
    model.add(layers.Flatten())
    model.add(layers.Dense(10))
    x, labels = _digits()

    def function(parameters: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        return _entropy(model.stateless_call(parameters, [], x)[0], labels)

    torch = _torch_network(
        lambda nn: [
            *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(1600, 10)),
        ],
        x,
        labels,
    )
    return Case(function, ([v.value for v in model.trainable_variables], x, labels), torch, both=False)


COMPLAINTS = {
    "depthwise, channels first": Complaint("equinox 970", "Equinox", depthwise_in_equinox),
    "depthwise, channels last": Complaint("flax 4207", "Linen", depthwise_in_flax),
    "one axis": Complaint("jax 29874", "Equinox", one_axis_in_equinox),
    "three axes": Complaint("jax 31662", "lax", partial(in_lax, LAYOUTS["three-axes"])),
    "three axes, bfloat16": Complaint("xla 34273", "lax", partial(in_lax, LAYOUTS["three-axes-bfloat16"])),
    "two groups": Complaint("jax 13800", "lax", partial(in_lax, LAYOUTS["two-groups"])),
    "in a loop": Complaint("jax 12868", "lax", in_a_loop),
    "first network of Flax": Complaint("flax 3551", "Linen", quick_start_of_flax),
    "network of Equinox's examples": Complaint("equinox 970", "Equinox", network_in_equinox),
    "network of Keras's examples": Complaint("flax 3551", "Keras", network_in_keras),
}
