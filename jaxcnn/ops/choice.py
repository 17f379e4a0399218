"""Which method of an operation is fastest on a CPU: the table that `jaxcnn bench --choices` writes."""

import functools
import json
import math
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.geometry import Window
from jaxcnn.ops import arrays, onednn
from jaxcnn.ops.forms import Spec
from jaxcnn.ops.onednn.form import Form, Part, operands

TABLE = Path(__file__).with_name("choices.json")
PARTS: dict[Part, str] = {"outputs": "forward", "inputs": "input gradient", "kernel": "kernel gradient"}

_NOISE = 0.1  # XLA's own is taken where "jax" was measured slower by more; closer is noise, or the same

# Operations are told apart by what decides their speed; each kind has rows in the benchmark, by these names.
POOL_KINDS = ("max-pool", "max-pool, few channels")
NORM = "batch norm, ReLU"
WHOLE = "value and gradient"  # the part that pools and norms have
KINDS = ("depthwise", "grouped", "pointwise", "one channel", "few channels", "narrow", "strided", "dense")


def kind(window: Window, channels: int, groups: int) -> str:
    """The kind of a convolution of `channels` input channels."""
    if groups > 1:
        return "depthwise" if groups == channels else "grouped"
    if math.prod(window.shape) == 1:
        return "pointwise"
    if channels <= 4:
        return "one channel" if channels == 1 else "few channels"
    if set(window.strides) != {1}:
        return "strided"
    return "narrow" if channels < 16 else "dense"


def pool_kind(channels: int) -> str:
    """The kind of a max-pool."""
    return POOL_KINDS[channels < 16]


@functools.cache
def table() -> dict[str, Any]:
    """Speed against XLA's own convolution, by version of jax, kind, part and method."""
    return json.loads(TABLE.read_text())


def ratios(kind: str, part: str) -> dict[str, float]:
    """The table's entry for this version of jax, or the nearest one; empty where nothing was measured."""
    found = [version for version, kinds in table().items() if part in kinds.get(kind, {})]
    if not found:
        return {}
    major, minor = _numbers(jax.__version__)
    near = min(found, key=lambda name: (abs(_numbers(name)[0] - major), abs(_numbers(name)[1] - minor)))
    return table()[near][kind][part]


@functools.cache
def fastest(kind: str, part: str, with_onednn: bool) -> str:
    """`"onednn"`, `"jax"` (the forms of `ops.forms`) or `"lax"`."""
    known = {"lax": 1 - _NOISE, "jax": 1.0, **ratios(kind, part)}
    if not with_onednn:
        known.pop("onednn", None)
    return max(known, key=lambda method: known[method])


@functools.cache
def built() -> bool:
    """Whether oneDNN can be chosen, the same for as long as the process lives; `JAXCNN_ONEDNN=off` forbids it."""
    return os.environ.get("JAXCNN_ONEDNN", "on") != "off" and onednn.available()


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def choose(wanted: Part, first: jax.Array, second: jax.Array, spec: Spec, inputs: jax.Array) -> str:
    """The method that computes the wanted part of a convolution of `inputs`, out of the two others."""
    if spec.method != "auto":
        return spec.method
    if jax.default_backend() != "cpu" or spec.batch_groups > 1:
        return "jax"
    # one spatial axis, and three, go by the rows of two: at sizes of text, speech and MNIST-1D the order was the same
    found = kind(spec.window, inputs.shape[spec.dims[0][1]], spec.feature_groups)
    return fastest(found, wanted, built() and _onednn_can(wanted, first, second, spec, inputs))


def _onednn_can(wanted: Part, first: jax.Array, second: jax.Array, spec: Spec, inputs: jax.Array) -> bool:
    form = _form(wanted, first, spec, inputs)
    if not all(isinstance(size, int) for size in (*first.shape, *second.shape)):
        return False  # a size left open: this is traced for export, to any device
    types = {first.dtype, second.dtype, form.dtype}
    if len(types) > 1 or not types <= set(onednn.DTYPES) or spec.batch_groups > 1:
        return False
    if 0 in (first.size, second.size, *spec.window.output_shape(form.sizes)):
        return False
    if spec.out_sharding is not None or arrays.explicit_sharding(first, second) is not None or onednn.partly_mapped():
        return False
    return onednn.suits(first, second, form)


def by_onednn(wanted: Part, first: jax.Array, second: jax.Array, spec: Spec, inputs: jax.Array) -> jax.Array:
    """That part by oneDNN."""
    form, taps = _form(wanted, first, spec, inputs), spec.dims.rhs_spec[2:]
    if spec.flip and wanted != "kernel":
        pair = zip(operands(wanted), (first, second), strict=True)
        first, second = (lax.rev(array, taps) if part == "kernel" else array for part, array in pair)
    found = onednn.compute(first, second, form)
    return lax.rev(found, taps) if spec.flip and wanted == "kernel" else found


def _form(wanted: Part, first: jax.Array, spec: Spec, inputs: jax.Array) -> Form:
    sizes = tuple(inputs.shape[axis] for axis in spec.dims.lhs_spec[2:])
    dtype = jnp.dtype(spec.element_type or first.dtype) if wanted == "outputs" else first.dtype
    return Form(spec.window, sizes, spec.dims, spec.feature_groups, wanted, dtype)
