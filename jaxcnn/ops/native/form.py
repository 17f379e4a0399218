"""The description of one call.

It tells which array of a convolution is computed from the two others.
"""

import ctypes
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.geometry import Window
from jaxcnn.ops.native import backend

Part = Literal["inputs", "kernel", "outputs"]
DTYPES = (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16))  # by their codes in call.h

PARTS: tuple[Part, ...] = ("inputs", "kernel", "outputs")  # by their numbers in call.h


class Form(NamedTuple):
    """Everything static about one call."""

    window: Window
    sizes: tuple[int, ...]  # the input's spatial shape
    dims: lax.ConvDimensionNumbers  # the axes of the three arrays, in any order
    groups: int
    wanted: Part
    dtype: np.dtype  # of the result
    devices: int = 1  # that call at once, and share the cores

    @property
    def divisible(self) -> set[str]:
        """The indices of which any part is the same call.

        It is of the same kind; with groups, channels are bound to each other.
        """
        return {"n", "c", "o"} if self.groups == 1 else {"n"}

    @property
    def axes(self) -> dict[Part, dict[str, int]]:
        """For each of the three arrays the axes of its indices.

        Three indices run through the arrays, each through two of them: n numbers examples, c input channels, o
        outputs. This is all that vmap and devices need. An index that one operand shares with the result passes
        through, so a mapped or spread axis may be part of it; the index that both operands share is summed, so its
        shares are added.
        """
        lhs, rhs, out = self.dims
        return {
            "inputs": {"n": lhs[0], "c": lhs[1]},
            "kernel": {"c": rhs[1], "o": rhs[0]},
            "outputs": {"n": out[0], "o": out[1]},
        }

    def with_axes(self, part: Part, axes: Sequence[int]) -> "Form":
        """The same with the axes of one array elsewhere."""
        every: list[Any] = list(self.dims)
        every[PARTS.index(part)] = tuple(axes)
        return self._replace(dims=lax.ConvDimensionNumbers(*every))


def operands(wanted: Part) -> tuple[Part, Part]:
    """The two arrays from which the third is computed, in order.

    The order is that of a call's arguments.
    """
    if wanted == "inputs":
        return "kernel", "outputs"
    return ("inputs", "outputs") if wanted == "kernel" else ("inputs", "kernel")


def passed(part: Part, wanted: Part) -> str:
    """The index that an operand shares with the result."""
    indices: dict[Part, set[str]] = {"inputs": {"n", "c"}, "kernel": {"c", "o"}, "outputs": {"n", "o"}}
    (index,) = indices[part] & indices[wanted]
    return index


def summed(wanted: Part) -> str:
    """The index that the operands share with each other."""
    first, second = operands(wanted)
    return passed(first, second)


def shapes(first: jax.Array, second: jax.Array, form: Form) -> dict[Part, tuple[int, ...]]:
    """The shapes of all three arrays."""
    known = dict(zip(operands(form.wanted), (first.shape, second.shape), strict=True))
    axes = form.axes
    size = {index: shape[axis] for part, shape in known.items() for index, axis in axes[part].items()}
    channels = known["inputs"][axes["inputs"]["c"]] if "inputs" in known else size["c"] * form.groups
    lhs, rhs, out = form.dims
    return {
        "inputs": _placed((size["n"], channels, *form.sizes), lhs),
        "kernel": _placed((size["o"], channels // form.groups, *form.window.shape), rhs),
        "outputs": _placed((size["n"], size["o"], *form.window.output_shape(form.sizes)), out),
    }


def _placed(sizes: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """The shape of which the axes have these sizes."""
    return tuple(size for _, size in sorted(zip(axes, sizes, strict=True)))


def describe(first: jax.Array, second: jax.Array, form: Form) -> np.ndarray:
    """The call as call.h reads it."""
    every, window, (lhs, rhs, out) = shapes(first, second, form), form.window, form.dims
    steps = []
    for part, axes in zip(PARTS, form.dims, strict=True):
        apart = [math.prod(every[part][axis + 1 :]) for axis in range(len(axes))]
        steps.append([apart[axis] for axis in axes])
    batch, channels = (every["inputs"][axis] for axis in lhs[:2])
    fields = [
        [PARTS.index(form.wanted), DTYPES.index(first.dtype), DTYPES.index(form.dtype), form.devices],
        [form.groups, batch, channels, every["kernel"][rhs[0]]],
        [*form.sizes, *window.shape, *(every["outputs"][axis] for axis in out[2:]), *window.strides, *window.dilation],
        [low for low, _ in window.padding],
        [high for _, high in window.padding],
        *steps,
    ]
    return np.array([value for field in fields for value in field], np.int64)


def computed(dtype: np.dtype) -> np.dtype:
    """The type in which arrays of this one are multiplied.

    16-bit floats are multiplied in float32, where that is faster; it is as exact.
    """
    native = dtype == jnp.bfloat16 and backend.multiplies_bfloat16()
    return dtype if native else DTYPES[0]


def whole_is_fast(first: jax.Array, second: jax.Array, form: Form) -> bool:
    """Whether oneDNN has fast code for all three arrays.

    Then every derivative is fast too.
    """
    form = form._replace(dtype=computed(form.dtype))
    kinds = {part: jax.ShapeDtypeStruct(shape, form.dtype) for part, shape in shapes(first, second, form).items()}
    for wanted in PARTS:
        first_kind, second_kind = (kinds[part] for part in operands(wanted))
        if not is_fast(first_kind, second_kind, form._replace(wanted=wanted)):
            return False
    return True


def is_fast(first: Any, second: Any, form: Form) -> bool:
    """Whether oneDNN has more than its reference code for a call."""
    name = implementation(first, second, form)
    return bool(name) and not name.startswith("ref")


def implementation(first: jax.Array, second: jax.Array, form: Form) -> str:
    """The name of the code that oneDNN would run.

    It is empty where oneDNN has none.
    """
    call = describe(first, second, form)
    pointer = call.ctypes.data_as(ctypes.POINTER(ctypes.c_int64))
    return backend.library().jaxcnn_onednn_implementation(pointer, ctypes.c_int64(len(call))).decode()
