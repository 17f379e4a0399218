"""Shifted and strided views of arrays, for the lowerings."""

import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.conv.problem import Spec

MOST_TAPS = 49  # a sum of more terms takes long to compile
MOST_GROUPS = 16  # to be computed one after the other


def reordered(array: jax.Array, axes: Sequence[int], wanted: Sequence[int]) -> jax.Array:
    """Transposes an array from one order of its axes to another.

    Batch, channels and spatial axes are at `axes`; they come to `wanted`.
    """
    order = [0] * array.ndim
    for source, target in zip(axes, wanted, strict=True):
        order[target] = source
    return lax.transpose(array, order)


def flipped(kernel: jax.Array, spec: Spec) -> jax.Array:
    """Returns the kernel in the order that a correlation reads."""
    return lax.rev(kernel, spec.dims.rhs_spec[2:]) if spec.flip else kernel


def padded(inputs: jax.Array, spec: Spec) -> jax.Array:
    """Applies input dilation and padding to the inputs."""
    borders, window = [(0, 0, 0)] * inputs.ndim, spec.window
    for axis, (low, high), dilation in zip(spec.dims[0][2:], window.padding, window.input_dilation, strict=True):
        borders[axis] = (low, high, dilation - 1)
    return lax.pad(inputs, jnp.zeros((), inputs.dtype), borders)


def views(
    array: jax.Array,
    axes: Sequence[int],
    counts: Sequence[int],
    steps: Sequence[int],
    sizes: Sequence[int],
    strides: Sequence[int],
) -> Iterator[jax.Array]:
    """Yields a view for every index below `counts`, row-major.

    It has `sizes` cells from `index * steps` on, `strides` apart.
    """
    for index in itertools.product(*map(range, counts)):
        starts, limits, apart = [0] * array.ndim, list(array.shape), [1] * array.ndim
        for axis, i, step, size, stride in zip(axes, index, steps, sizes, strides, strict=True):
            starts[axis], limits[axis], apart[axis] = i * step, i * step + (size - 1) * stride + 1, stride
        yield lax.slice(array, starts, limits, apart)
