"""Checksums that prove that checkpoints are read as written."""

import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_FIELDS = {"position", "shapes", "sums"}  # what stands beside the arrays


def sealed(told: dict[str, Any]) -> dict[str, Any]:
    """Adds a digest to the plain values of a checkpoint."""
    return told | {"digest": _digest(told)}


def broken(told: Any) -> str | None:
    """Describes how these values differ from what was written.

    Returns None if they do not; old checkpoints have no digest.
    """
    if not isinstance(told, dict) or told.keys() not in (_FIELDS, _FIELDS | {"digest"}):
        return "what it tells beside its arrays has another form"
    if "digest" in told and told["digest"] != _digest({field: told[field] for field in _FIELDS}):
        return "what it tells beside its arrays does not add up"
    wrong = [field for field in sorted(_FIELDS) if not isinstance(told[field], dict)]
    if wrong:
        return f"its {wrong[0]} has another form"
    if told["shapes"].keys() != told["sums"].keys():
        return "it does not tell the sums of all its arrays"
    return None


def _digest(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@jax.jit
def sums_on_device(leaves: list[jax.Array]) -> jax.Array:
    """Computes a checksum of each array.

    It is a sum over the bits, modulo 2**32. Each word is multiplied by an odd number, so that every change of a single
    word changes the sum. A sum of integers does not depend on the order, and so not on the devices that hold the array.
    """
    return jnp.stack([_sum(leaf) for leaf in leaves])


def _sum(leaf: jax.Array) -> jax.Array:
    if leaf.dtype == jnp.bool_:
        leaf = leaf.astype(jnp.uint8)
    width = min(leaf.dtype.itemsize, 4)
    words = jax.lax.bitcast_convert_type(leaf, {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[width]).astype(jnp.uint32)
    place = jnp.zeros(words.shape, jnp.uint32)
    for axis, size in enumerate(words.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    return jnp.sum(words * (2 * place + 1), dtype=jnp.uint32)


def sums(arrays: dict[str, jax.Array]) -> dict[str, int]:
    """Computes the checksums of arrays, by their names."""
    return dict(zip(arrays, np.asarray(sums_on_device(list(arrays.values()))).tolist(), strict=True))


def sums_of_read(arrays: dict[str, jax.Array]) -> dict[str, int]:
    """Computes the same without compiling, which makes reading faster.

    It compiles if this process does not hold all arrays.
    """
    if all(array.is_fully_addressable for array in arrays.values()):
        return {name: sum_on_host(np.asarray(array)) for name, array in arrays.items()}
    return sums(arrays)


def sum_on_host(array: np.ndarray) -> int:
    """Computes the checksum of `sums_on_device` for one array, by NumPy."""
    flat = np.ascontiguousarray(array).reshape(-1)
    words = flat.view(f"u{min(flat.dtype.itemsize, 4)}").astype(np.uint32)
    return int((words * (2 * np.arange(len(words), dtype=np.uint32) + 1)).sum(dtype=np.uint32))
