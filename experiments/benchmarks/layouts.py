"""Rows of convolutions in every layout: channels first and last, one and three axes, depthwise, grouped, in a loop.

Each is the value and both gradients, by lax's own arguments: XLA's convolution against ours (`method="auto"`, with the
C++ backend) and PyTorch's. What is asked is how fast the convolutions of others' networks become.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.benchmarks.contestants import Contestant, timed_function
from experiments.benchmarks.rows import Row
from jaxcnn import ops


class Layout(NamedTuple):
    """A convolution, padded by half its window; sizes with channels first, `(N, C, *spatial)`."""

    inputs: tuple[int, ...]
    outputs: int
    window: int
    groups: int = 1
    dtype: str = "float32"
    steps: int = 0  # of a `lax.scan` that sums the loss, above 0

    @property
    def kernel(self) -> tuple[int, ...]:
        """The kernel's shape, outputs first."""
        return (self.outputs, self.inputs[1] // self.groups, *(self.window,) * (len(self.inputs) - 2))

    def dims(self, channels_last: bool) -> tuple[str, str, str]:
        """The names of the axes."""
        spatial = "DHW"[5 - len(self.inputs) :]
        images = f"N{spatial}C" if channels_last else f"NC{spatial}"
        return images, f"{spatial}IO" if channels_last else f"OI{spatial}", images


LAYOUTS = {
    "depthwise": Layout((1, 512, 64, 64), 512, 3, 512),
    "one-axis": Layout((16, 64, 2000), 64, 9),
    "three-axes": Layout((2, 16, 32, 32, 16), 32, 3),
    "three-axes-bfloat16": Layout((2, 16, 32, 32, 16), 32, 3, dtype="bfloat16"),
    "two-groups": Layout((16, 96, 27, 27), 256, 5, 2),
    "scan": Layout((32, 8, 28, 28), 16, 3, steps=4),
}


def rows() -> Iterator[Row]:
    """The rows."""
    for name, case in LAYOUTS.items():
        for form, channels_last in (("channels-first", False), ("channels-last", True)):
            torch = "torch-channels-last" if channels_last and len(case.inputs) == 4 else "torch-nchw"
            build = partial(layout, case, channels_last)
            yield Row(f"layout/{name}/{form}", build, ("jaxcnn-onednn", "flax", torch))


def layout(case: Layout, channels_last: bool, peer: str) -> Contestant:
    """The sum of the squared outputs, and its gradients towards inputs and kernel."""
    random = np.random.default_rng(0)
    x, w = (random.standard_normal(shape, np.float32) for shape in (case.inputs, case.kernel))
    if peer.startswith("torch"):
        from experiments.benchmarks import peers_torch

        options: dict[str, Any] = {"groups": case.groups, "dtype": case.dtype, "steps": max(case.steps, 1)}
        form: Any = peer
        return peers_torch.timed_function(peers_torch.layer_gradients(x, w, form, **options), form)
    if peer == "jaxcnn-onednn":
        from experiments.benchmarks.peers_jaxcnn import require

        require("native")
    function: Any = ops.conv_general_dilated if peer == "jaxcnn-onednn" else lax.conv_general_dilated
    if channels_last:
        x, w = np.moveaxis(x, 1, -1), np.moveaxis(w, (0, 1), (-1, -2))
    pads = ((case.window // 2,) * 2,) * (x.ndim - 2)
    options = {"dimension_numbers": case.dims(channels_last), "feature_group_count": case.groups}

    def loss(x: jax.Array, w: jax.Array) -> jax.Array:
        outputs = function(x, w, (1,) * (x.ndim - 2), pads, **options)
        return jnp.sum(jnp.square(outputs.astype(jnp.float32)))

    def whole(x: jax.Array, w: jax.Array) -> Any:
        if not case.steps:
            return loss(x, w)
        return lax.scan(lambda total, _: (total + loss(x, w * (1 + total * 0)), None), 0.0, None, case.steps)[0]

    arrays = (jnp.asarray(np.ascontiguousarray(array), case.dtype) for array in (x, w))
    return timed_function(jax.value_and_grad(whole, (0, 1)), *arrays)
