"""Sliding windows, receptive fields, and checks of shapes.

The errors about shapes are raised here. Each is one sentence that states the rule and the value.
"""

from jaxcnn.geometry.arrays import (
    check_field,
    check_groups,
    check_kernel,
    check_rank,
    conv_window,
    expect_images,
    local_window,
    pool_window,
)
from jaxcnn.geometry.fields import ReceptiveField, receptive_field
from jaxcnn.geometry.integers import Shape, integer, per_axis, sizes
from jaxcnn.geometry.transposed import tap_window, transposed_output_shape, transposed_padding, transposed_window
from jaxcnn.geometry.windows import (
    PADDING_NAMES,
    Padding,
    Window,
    check_extent,
    dilated_size,
    output_shape,
    resolve_padding,
    resolve_window,
)

__all__ = [
    "PADDING_NAMES",
    "Padding",
    "ReceptiveField",
    "Shape",
    "Window",
    "check_extent",
    "check_field",
    "check_groups",
    "check_kernel",
    "check_rank",
    "conv_window",
    "dilated_size",
    "expect_images",
    "integer",
    "local_window",
    "output_shape",
    "per_axis",
    "pool_window",
    "receptive_field",
    "resolve_padding",
    "resolve_window",
    "sizes",
    "tap_window",
    "transposed_output_shape",
    "transposed_padding",
    "transposed_window",
]
