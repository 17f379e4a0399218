"""The description of one call: which array of a convolution is computed from the two others."""

import ctypes
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.geometry import Window
from jaxcnn.ops.native import backend

Part = Literal["inputs", "kernel", "outputs"]
DTYPES = (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16))  # by their codes in conv.cc

# Three indices run through the arrays, each through two of them: n numbers examples, c input channels, o outputs. This
# table is all that vmap and devices need. An index that one operand shares with the result passes through, so a mapped
# or spread axis may be part of it; the index that both operands share is summed, so its shares are added.
AXES: dict[Part, dict[str, int]] = {
    "inputs": {"n": 0, "c": -1},
    "kernel": {"c": -2, "o": -1},
    "outputs": {"n": 0, "o": -1},
}


class Form(NamedTuple):
    """Everything static about one call."""

    window: Window
    sizes: tuple[int, ...]  # the input's spatial shape
    groups: int
    wanted: Part
    dtype: np.dtype  # of the result
    devices: int = 1  # that call at once, and share the cores

    @property
    def divisible(self) -> set[str]:
        """The indices of which any part is a call of the same kind; with groups, channels are bound to each other."""
        return {"n", "c", "o"} if self.groups == 1 else {"n"}


def operands(wanted: Part) -> tuple[Part, Part]:
    """The two arrays of which the third is computed, in the order of a call's arguments."""
    if wanted == "inputs":
        return "kernel", "outputs"
    return ("inputs", "outputs") if wanted == "kernel" else ("inputs", "kernel")


def passed(part: Part, wanted: Part) -> str:
    """The index that an operand shares with the result."""
    (index,) = AXES[part].keys() & AXES[wanted].keys()
    return index


def summed(wanted: Part) -> str:
    """The index that the operands share with each other."""
    first, second = operands(wanted)
    return passed(first, second)


def shapes(first: Any, second: Any, form: Form) -> dict[Part, tuple[int, ...]]:
    """The shapes of all three arrays."""
    known = dict(zip(operands(form.wanted), (first.shape, second.shape), strict=True))
    size = {index: shape[axis] for part, shape in known.items() for index, axis in AXES[part].items()}
    channels = known["inputs"][-1] if "inputs" in known else size["c"] * form.groups
    return {
        "inputs": (size["n"], *form.sizes, channels),
        "kernel": (*form.window.shape, channels // form.groups, size["o"]),
        "outputs": (size["n"], *form.window.output_shape(form.sizes), size["o"]),
    }


def describe(first: jax.Array, second: jax.Array, form: Form) -> np.ndarray:
    """The call as conv.cc reads it."""
    every, window = shapes(first, second, form), form.window
    fields = [
        [list(AXES).index(form.wanted), DTYPES.index(first.dtype), DTYPES.index(form.dtype), form.devices],
        [form.groups, every["inputs"][0], every["inputs"][-1], every["outputs"][-1]],
        [*form.sizes, *window.shape, *every["outputs"][1:-1], *window.strides, *window.dilation],
        [low for low, _ in window.padding],
        [high for _, high in window.padding],
    ]
    return np.array([value for field in fields for value in field], np.int64)


def whole_is_fast(first: Any, second: Any, form: Form) -> bool:
    """Whether oneDNN has fast code for all three arrays, so that every derivative is fast too."""
    kinds = {part: jax.ShapeDtypeStruct(shape, form.dtype) for part, shape in shapes(first, second, form).items()}
    for wanted in AXES:
        first_kind, second_kind = (kinds[part] for part in operands(wanted))
        if not is_fast(first_kind, second_kind, form._replace(wanted=wanted)):
            return False
    return True


def is_fast(first: Any, second: Any, form: Form) -> bool:
    """Whether oneDNN has code for a call that is more than its reference."""
    found = implementation(first, second, form)
    return bool(found) and not found.startswith("ref")


def implementation(first: jax.Array, second: jax.Array, form: Form) -> str:
    """The name of the code that oneDNN would run; empty where it has none."""
    call = describe(first, second, form)
    pointer = call.ctypes.data_as(ctypes.POINTER(ctypes.c_int64))
    return backend.library().jaxcnn_onednn_implementation(pointer, ctypes.c_int64(len(call))).decode()
