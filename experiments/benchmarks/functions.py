"""The single operations as each framework's users call them: functions of arrays, found by `FUNCTIONS[name]`."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax import lax

from jaxcnn import ops

Function = Callable[..., Any]


class Conv(NamedTuple):
    """A convolution, padded by half its kernel on each side."""

    inputs: tuple[int, int, int, int]
    window: int
    outputs: int
    strides: int = 1
    groups: int = 1

    @property
    def kernel(self) -> tuple[int, int, int, int]:
        """The kernel's shape."""
        return self.window, self.window, self.inputs[3] // self.groups, self.outputs

    @property
    def pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """On each side of each axis."""
        pads = self.window // 2, self.window // 2
        return pads, pads


class Pool(NamedTuple):
    """A max-pool."""

    inputs: tuple[int, int, int, int]
    window: int
    strides: int
    padding: int = 0


class Flax:
    """What the layers and functions of `flax.nnx` compute."""

    def conv(self, case: Conv) -> Function:
        """Of `(x, w)`: the call that `nnx.Conv` makes."""
        strides, numbers = (case.strides, case.strides), ("NHWC", "HWIO", "NHWC")
        return lambda x, w: lax.conv_general_dilated(
            x, w, strides, case.pads, dimension_numbers=numbers, feature_group_count=case.groups
        )

    def max_pool(self, case: Pool) -> Function:
        """Of `x`."""
        pads: Any = ((case.padding, case.padding),) * 2  # Flax takes them; its annotation says otherwise
        return lambda x: nnx.max_pool(x, (case.window,) * 2, strides=(case.strides,) * 2, padding=pads)

    def norm_relu(self, channels: int) -> Function:
        """Of `(x, scale, bias)`: training-mode batch norm, then ReLU."""

        def function(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
            norm: Any = nnx.BatchNorm(channels, rngs=nnx.Rngs(0))
            norm.scale[...], norm.bias[...] = scale, bias
            return nnx.relu(norm(x))

        return function

    def stage(self, case: Conv) -> Function:
        """Of `(x, w, b)`: convolution, bias, ReLU, 2x2 max-pool."""
        conv = self.conv(case)
        return lambda x, w, b: nnx.max_pool(nnx.relu(conv(x, w) + b), (2, 2), strides=(2, 2))


class Jaxcnn:
    """The ops of jaxcnn; without oneDNN unless that is asked for."""

    def __init__(self, method: str | None = None):
        self.options: dict[str, Any] = {"method": "jax"}
        if method is not None:
            from experiments.benchmarks.peers_jaxcnn import require

            require(method)
            self.options = {"method": method}

    def conv(self, case: Conv) -> Function:
        """Of `(x, w)`."""
        given = {"strides": case.strides, "padding": case.pads, "feature_group_count": case.groups}
        return partial(ops.conv, **given, **self.options)

    def max_pool(self, case: Pool) -> Function:
        """Of `x`."""
        given = {"window_shape": case.window, "strides": case.strides, "padding": case.padding}
        return partial(ops.max_pool, **given, **self.options)

    def norm_relu(self, channels: int) -> Function:
        """Of `(x, scale, bias)`."""
        del channels
        return lambda x, scale, bias: ops.batch_norm_relu(x, scale, bias, **self.options)[0]

    def stage(self, case: Conv) -> Function:
        """Of `(x, w, b)`."""
        return partial(ops.conv_relu_pool, padding=case.pads, **self.options)


class Keras:
    """`keras.ops`, on JAX."""

    def __init__(self):
        from experiments.benchmarks.peers_keras import keras

        self.ops: Any = keras.ops

    def conv(self, case: Conv) -> Function:
        """Of `(x, w)`; where it strides, "same" would pad on one side only."""
        if case.strides == 1:
            return lambda x, w: self.ops.conv(x, w, 1, "same", "channels_last")
        borders = [(0, 0), *case.pads, (0, 0)]
        return lambda x, w: self.ops.conv(self.ops.pad(x, borders), w, case.strides, "valid", "channels_last")

    def max_pool(self, case: Pool) -> Function:
        """Of `x`."""
        borders = [(0, 0), (case.padding,) * 2, (case.padding,) * 2, (0, 0)]

        def function(x: jax.Array) -> jax.Array:
            x = self.ops.pad(x, borders, constant_values=-np.inf) if case.padding else x
            return self.ops.max_pool(x, case.window, case.strides, "valid", "channels_last")

        return function

    def norm_relu(self, channels: int) -> Function:
        """Of `(x, scale, bias)`."""
        del channels

        def function(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
            mean, variance = self.ops.moments(x, (0, 1, 2))
            return self.ops.relu(self.ops.batch_normalization(x, mean, variance, -1, bias, scale, 1e-5))

        return function

    def stage(self, case: Conv) -> Function:
        """Of `(x, w, b)`."""
        conv = self.conv(case)
        return lambda x, w, b: self.ops.max_pool(self.ops.relu(conv(x, w) + b), 2, 2, "valid", "channels_last")


class Torch:
    """`torch.nn.functional`, on tensors whose channels are the second axis."""

    def __init__(self):
        from experiments.benchmarks.peers_torch import torch

        self.torch: Any = torch
        self.functional: Any = torch.nn.functional

    def _options(self, case: Conv) -> dict[str, int]:
        return {"stride": case.strides, "padding": case.window // 2, "groups": case.groups}

    def conv(self, case: Conv) -> Function:
        """Of `(x, w)`; nothing is kept for a gradient."""
        return self.torch.no_grad()(lambda x, w: self.functional.conv2d(x, w, **self._options(case)))

    def conv_gradient(self, case: Conv, towards: tuple[bool, bool]) -> Function:
        """Of `(x, w, error)`: the call that autograd makes, towards the input, the kernel, or both."""
        strides, pads, ones = (case.strides,) * 2, (case.window // 2,) * 2, (1, 1)
        backward = self.torch.ops.aten.convolution_backward

        def function(x: Any, w: Any, error: Any) -> Any:
            options = strides, pads, ones, False, (0, 0), case.groups, (*towards, False)
            found = [part for part in backward(error, x, w, None, *options) if part is not None]
            return found if all(towards) else found[0]

        return function

    def max_pool(self, case: Pool) -> Function:
        """Of `x`."""
        return lambda x: self.functional.max_pool2d(x, case.window, case.strides, case.padding)

    def norm_relu(self, channels: int) -> Function:
        """Of `(x, scale, bias)`."""
        del channels
        f = self.functional
        return lambda x, scale, bias: f.relu(f.batch_norm(x, None, None, scale, bias, training=True))

    def stage(self, case: Conv) -> Function:
        """Of `(x, w, b)`."""
        f = self.functional
        return lambda x, w, b: f.max_pool2d(f.relu(f.conv2d(x, w, b, **self._options(case))), 2)


FUNCTIONS: dict[str, Callable[[], Any]] = {
    "jaxcnn": Jaxcnn,
    "jaxcnn-onednn": partial(Jaxcnn, "native"),
    "flax": Flax,
    "keras": Keras,
    "torch-nchw": Torch,
    "torch-channels-last": Torch,
    "torch-compile": Torch,
}
