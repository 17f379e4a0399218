"""Which method of an operation is fastest on a CPU.

This is the table that `jaxcnn bench --choices` writes.
"""

import functools
import json
import math
import warnings
from pathlib import Path
from typing import Any

import jax

from jaxcnn.geometry import Window
from jaxcnn.ops.arrays import choice

TABLE = Path(__file__).with_name("choices.json")
PARTS = {"outputs": "forward", "inputs": "input gradient", "kernel": "kernel gradient"}

_NOISE = 0.1  # XLA's own is taken where "jax" was measured slower by more; closer is noise, or the same

# Operations are told apart by what decides their speed; each kind has rows in the benchmark, by these names.
POOL_KINDS = ("max-pool", "max-pool, few channels")
NORM = "batch norm, ReLU"
WHOLE = "value and gradient"  # the part that pools and norms have
KINDS = ("depthwise", "grouped", "pointwise", "one channel", "few channels", "narrow", "strided", "dense")


def kind(window: Window, channels: int, groups: int) -> str:
    """Returns the kind of a convolution, a key of the table.

    It has `channels` input channels.
    """
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
    """Returns the kind of a max-pool, a key of the table."""
    return POOL_KINDS[channels < 16]


@functools.cache
def table() -> dict[str, Any]:
    """Reads the table of speeds relative to XLA's convolution.

    They are by version of jax, kind, part and method.
    """
    return json.loads(TABLE.read_text())


def ratios(kind: str, part: str) -> dict[str, float]:
    """Returns the table's entry for this version of jax.

    Without one, it is that of the nearest version; it is empty if nothing was measured.
    """
    versions = [version for version, kinds in table().items() if part in kinds.get(kind, {})]
    if not versions:
        return {}
    major, minor = _numbers(jax.__version__)
    near = min(versions, key=lambda name: (abs(_numbers(name)[0] - major), abs(_numbers(name)[1] - minor)))
    return table()[near][kind][part]


@functools.cache
def fastest(kind: str, part: str, with_native: bool) -> str:
    """Returns the fastest method.

    It is `"native"` (C++), `"jax"` (`ops.conv.lowerings`) or `"lax"` (XLA's own).
    """
    known = {"lax": 1 - _NOISE, "jax": 1.0, **ratios(kind, part)}
    if not with_native:
        known.pop("native", None)
    return max(known, key=lambda method: known[method])


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def method_named(method: Any, methods: tuple[str, ...]) -> Any:
    """Returns `method`, if it is one of `methods`.

    The old name of `"native"`, `"onednn"`, gives a warning.

    Raises:
      ValueError: if it is none of them.
    """
    if method == "onednn":
        warnings.warn("method='onednn' is now called method='native'.", DeprecationWarning, stacklevel=3)
        return "native"
    return choice("method", method, methods)
