"""Quantizes weights to eight bits."""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxcnn.ops.arrays import along_last

Model = TypeVar("Model", bound=nnx.Module)

# Symmetric, one scale for each output channel o: s_o = max |w_o| / 127, q = round(w / s_o), and w is taken to be s_o q.
# The channel's largest weight is 127 s_o, so quantizing again changes nothing but the last bit.


class Quantized(NamedTuple):
    """A kernel as `int8 * scale`, one scale per output channel.

    The output channel is the last axis.
    """

    values: np.ndarray
    scale: np.ndarray

    def whole(self, dtype: Any) -> jax.Array:
        """Returns the kernel in a floating dtype."""
        values = jnp.asarray(self.values).astype(jnp.float32)
        return (values * along_last(jnp.asarray(self.scale), values)).astype(dtype)


def quantized(kernel: Any) -> Quantized:
    """Rounds a kernel `(..., O)` to int8."""
    kernel = np.asarray(kernel, np.float32)
    largest = np.abs(kernel).max(tuple(range(kernel.ndim - 1)), initial=0)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return Quantized(np.clip(np.rint(kernel / scale), -127, 127).astype(np.int8), scale)


def is_kernel(path: tuple[Any, ...], variable: nnx.Variable) -> bool:
    """Whether a variable is quantized.

    Kernels and word vectors are, biases and statistics are not.
    """
    value = variable.get_value()
    if not isinstance(value, jax.Array) or value.ndim < 2 or "bias" in str(path[-1]):
        return False
    return jnp.issubdtype(value.dtype, jnp.floating)


def quantize(model: Model) -> Model:
    """Rounds every kernel to eight bits, symmetrically.

    There is one scale per output channel. The result still computes in floats. It loses the same accuracy as an export
    with `weights="int8"`, whose file contains the same numbers as bytes.

    Args:
      model: a trained network; it stays unchanged.

    Returns:
      A network of the same class with the rounded kernels.

    Source: Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only
    inference"; per channel, Krishnamoorthi 2018.
    """
    rounded = nnx.clone(model)
    state = nnx.state(rounded)
    for path, variable in nnx.to_flat_state(state):
        if is_kernel(path, variable):
            kernel = variable.get_value()
            variable.set_value(quantized(kernel).whole(kernel.dtype))
    nnx.update(rounded, state)
    return rounded
