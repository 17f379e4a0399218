"""A convolution's description, and the problem of a lowering.

It is to compute one of the three arrays from the two others.
"""

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
    """Everything static about one convolution.

    The roles of the axes of each array are in `dims`.
    """

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
    """Returns the channels-last layout for arrays of `rank` axes.

    Inputs and outputs are `(N, *spatial, C)`, a kernel is `(*window, I, O)`.
    """
    images = (0, rank - 1, *range(1, rank - 1))
    return lax.ConvDimensionNumbers(images, (rank - 1, rank - 2, *range(rank - 2)), images)


class Problem(NamedTuple):
    """The problem of computing one of a convolution's three arrays.

    This array is `wanted`; the two others are given.
    """

    wanted: Part
    spec: Spec
    inputs_shape: tuple[int, ...]
    kernel_shape: tuple[int, ...]
    input_sizes: tuple[int, ...]  # spatial, like the next
    output_sizes: tuple[int, ...]
    batch: int  # examples; in a kernel gradient that is expressed as a convolution, the input channels
    channels: int  # of the inputs, in all groups
    group_channels: int  # in one group
    output_channels: int  # in all groups
    taps: int  # of the window
    grouped: bool  # whether each output reads only some of the channels
    dtype: np.dtype  # of the two arrays that are given
    on_unsharded_cpu: bool  # whether the arrays are on a CPU, not empty, of known sizes, and of no explicit sharding
    is_forward: bool  # whether outputs are wanted (or a gradient written as such), in the operands' own 32 or 64 bits
    is_depthwise_kernel_gradient: bool  # of one channel in each group, written as outputs: a group for each "example"
    reads_real_cells: bool  # whether the window reads no padding and no gap; it may leave cells unread


def problem_of(wanted: Part, first: jax.Array, second: jax.Array, spec: Spec, inputs: Any, kernel: Any) -> Problem:
    """Makes the problem of computing `wanted` from two arrays.

    The shapes of `inputs` and `kernel` are given.
    """
    (lhs, rhs, _), window, shape, dtype = spec.dims, spec.window, inputs.shape, first.dtype
    input_sizes = tuple([shape[axis] for axis in lhs[2:]])
    output_sizes = window.output_shape(input_sizes)
    sizes = (*shape, *kernel.shape, *output_sizes)
    # a size is left open where a function is traced for export, to any device
    known = all([isinstance(size, int) for size in sizes]) and 0 not in sizes
    here = known and jax.default_backend() == "cpu" and spec.out_sharding is None
    own_type = spec.element_type is None or spec.element_type == dtype  # NumPy says that float64 == None
    return Problem(
        wanted=wanted,
        spec=spec,
        inputs_shape=shape,
        kernel_shape=kernel.shape,
        input_sizes=input_sizes,
        output_sizes=output_sizes,
        batch=shape[lhs[0]],
        channels=shape[lhs[1]],
        group_channels=kernel.shape[rhs[1]],
        output_channels=kernel.shape[rhs[0]],
        taps=math.prod(window.shape),
        grouped=spec.feature_groups > 1 or spec.batch_groups > 1,
        dtype=dtype,
        on_unsharded_cpu=here and explicit_sharding(first, second) is None,
        is_depthwise_kernel_gradient=1 < spec.batch_groups == shape[lhs[0]],
        reads_real_cells=all([low == 0 and high <= 0 for low, high in window.padding])
        and set(window.input_dilation) == {1},
        is_forward=own_type and wanted == "outputs" and dtype.itemsize >= 4,
    )


# a lowering is one operation where nothing else is jitted
compiled = functools.partial(jax.jit, static_argnums=2, inline=True)
