"""What one convolution is, and the problem that a lowering solves: one of its three arrays from the two others."""

import functools
import math
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.sharding import NamedSharding

from jaxcnn.geometry import Window
from jaxcnn.ops.sharding import explicit_sharding

Part = Literal["inputs", "kernel", "outputs"]


class Spec(NamedTuple):
    """Everything static about one convolution; `dims` says which axis of each array plays which part."""

    window: Window
    dims: lax.ConvDimensionNumbers
    feature_groups: int = 1
    batch_groups: int = 1
    flip: bool = False
    precision: Any = None
    element_type: Any = None
    out_sharding: NamedSharding | None = None
    method: str = "auto"


@functools.cache
def channels_last(rank: int) -> lax.ConvDimensionNumbers:
    """Inputs and outputs `(N, *spatial, C)`, and a kernel `(*window, I, O)`, of arrays of `rank` axes."""
    images = (0, rank - 1, *range(1, rank - 1))
    return lax.ConvDimensionNumbers(images, (rank - 1, rank - 2, *range(rank - 2)), images)


class Problem(NamedTuple):
    """The array `wanted` of a convolution, to be computed from the two others; all that decides how."""

    wanted: Part
    spec: Spec
    inputs_shape: tuple[int, ...]
    kernel_shape: tuple[int, ...]
    dtype: np.dtype  # of the two arrays that are given
    sharded: bool  # whether the mesh of one of them has explicit axes

    @property
    def batch(self) -> int:
        """Examples; in a kernel gradient that is expressed as a convolution, input channels."""
        return self.inputs_shape[self.spec.dims.lhs_spec[0]]

    @property
    def channels(self) -> int:
        """Input channels, of all groups."""
        return self.inputs_shape[self.spec.dims.lhs_spec[1]]

    @property
    def group_channels(self) -> int:
        """Input channels of one group."""
        return self.kernel_shape[self.spec.dims.rhs_spec[1]]

    @property
    def output_channels(self) -> int:
        """Output channels, of all groups."""
        return self.kernel_shape[self.spec.dims.rhs_spec[0]]

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """The inputs' spatial shape."""
        return tuple(self.inputs_shape[axis] for axis in self.spec.dims.lhs_spec[2:])

    @property
    def output_sizes(self) -> tuple[int, ...]:
        """The outputs' spatial shape."""
        return self.spec.window.output_shape(self.input_sizes)

    @property
    def grouped(self) -> bool:
        """Whether no output sees all channels."""
        return self.spec.feature_groups > 1 or self.spec.batch_groups > 1

    @property
    def is_depthwise_kernel_gradient(self) -> bool:
        """Whether it is the kernel gradient, as a convolution, of one that has one channel in each group."""
        return 1 < self.spec.batch_groups == self.batch

    @property
    def on_one_cpu_device(self) -> bool:
        """Whether XLA compiles it for CPU, whole, with something to compute and sizes that are known.

        A size is left open where a function is traced for export, to any device.
        """
        if jax.default_backend() != "cpu" or self.sharded or self.spec.out_sharding is not None:
            return False
        sizes = (*self.inputs_shape, *self.kernel_shape)
        return all(isinstance(size, int) for size in sizes) and 0 not in (*sizes, *self.output_sizes)

    @property
    def is_plain_forward(self) -> bool:
        """Whether the outputs are wanted, of at least 32 bits and in the operands' dtype."""
        own = self.spec.element_type is None or self.spec.element_type == self.dtype  # None equals float64
        return own and self.wanted == "outputs" and self.dtype.itemsize >= 4

    def has_taps(self, most: int) -> bool:
        """Whether the window has at most so many."""
        return math.prod(self.spec.window.shape) <= most


def problem_of(wanted: Part, first: jax.Array, second: jax.Array, spec: Spec, inputs: Any, kernel: Any) -> Problem:
    """The problem of computing `wanted` from two arrays, given the shapes of `inputs` and `kernel`."""
    sharded = explicit_sharding(first, second) is not None
    return Problem(wanted, spec, inputs.shape, kernel.shape, first.dtype, sharded)


# a lowering is one operation where nothing else is jitted
compiled = functools.partial(jax.jit, static_argnums=2, inline=True)
