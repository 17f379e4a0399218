"""Max-pooling with switches, and back, in C++ (pool.cc).

The loops work on devices and under `vmap`.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcnn.geometry import Window
from jaxcnn.ops.native import backend
from jaxcnn.ops.native.form import DTYPES
from jaxcnn.ops.native.spread import devices_at_once, like_on_device, partly_mapped
from jaxcnn.ops.sharding import explicit_sharding, varying_like

_MOST_TAPS = 253  # numbered in a byte, which has two values more to tell


class Pooling(NamedTuple):
    """Everything static about one call."""

    window: Window
    sizes: tuple[int, ...]  # the input's spatial shape
    devices: int = 1  # that call at once, and share the cores

    @property
    def results(self) -> tuple[int, ...]:
        """The output's spatial shape."""
        return self.window.output_shape(self.sizes)


def can_pool(array: jax.Array, window: Window) -> bool:
    """Whether there is a call for either side of this window."""
    if not all(isinstance(size, int) for size in array.shape) or array.size == 0:
        return False  # a size left open: this is traced for export, to any device
    if array.dtype not in DTYPES or math.prod(window.shape) > _MOST_TAPS or set(window.input_dilation) != {1}:
        return False
    return not partly_mapped()


def winners(inputs: jax.Array, window: Window) -> tuple[jax.Array, jax.Array]:
    """The largest value of every window, and its switch.

    This is (1) of `ops.pool.max`.
    """
    if explicit_sharding(inputs) is not None:
        return _on_explicit_mesh(lambda inputs: winners(inputs, window), inputs)
    return _pooled(inputs, Pooling(window, inputs.shape[1:-1], devices_at_once()))


def route(values: jax.Array, switches: jax.Array, sizes: tuple[int, ...], window: Window) -> jax.Array:
    """The sum of values for each cell of the input.

    They are those whose switches point to it: (2) of `ops.pool.max`.
    """
    if explicit_sharding(values, switches) is not None:
        return _on_explicit_mesh(lambda e, w: route(e, w, sizes, window), values, switches)
    values, switches = varying_like(values, switches), varying_like(switches, values)
    return _routed(values, switches, Pooling(window, sizes, devices_at_once()))


def _on_explicit_mesh(share: Any, *operands: jax.Array) -> Any:
    """A call whose operands' types say how they are spread.

    Batches and channels may stay so.
    """
    sharding = explicit_sharding(*operands)
    assert sharding is not None
    kept = _batch_and_channels(sharding.spec, operands[0].ndim)
    placed = [jax.sharding.reshard(operand, NamedSharding(sharding.mesh, kept)) for operand in operands]
    return jax.shard_map(share, mesh=sharding.mesh, in_specs=(kept,) * len(placed), out_specs=kept)(*placed)


def _batch_and_channels(spec: PartitionSpec, rank: int) -> PartitionSpec:
    entries = (*spec, *[None] * (rank - len(spec)))
    return PartitionSpec(entries[0], *[None] * (rank - 2), entries[-1])


@functools.partial(jax.jit, static_argnums=1, inline=True)
def _pooled(inputs: jax.Array, form: Pooling) -> tuple[jax.Array, jax.Array]:
    return _mapped(_spread_winners, form)(inputs)


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _routed(values: jax.Array, switches: jax.Array, form: Pooling) -> jax.Array:
    return _mapped(_spread_route, form)(values, switches)


def _mapped(function: Any, form: Pooling) -> Any:
    """The function under `vmap` too.

    A mapped axis becomes part of the batch.
    """

    @custom_vmap
    def call(*operands: jax.Array) -> Any:
        return function(*operands, form)

    @call.def_vmap
    def rule(size: int, batched: list[bool], *operands: jax.Array):
        whole = [a if there else jnp.repeat(a[None], size, 0) for a, there in zip(operands, batched, strict=True)]
        count = whole[0].shape[1]
        results = _mapped(function, form)(*(a.reshape(size * count, *a.shape[2:]) for a in whole))
        split = jax.tree.map(lambda a: a.reshape(size, count, *a.shape[1:]), results)
        return split, jax.tree.map(lambda _: True, results)

    return call


def _winners(inputs: jax.Array, form: Pooling) -> tuple[jax.Array, jax.Array]:
    shape = (inputs.shape[0], *form.results, inputs.shape[-1])
    kinds = tuple(like_on_device(inputs, shape, dtype) for dtype in (inputs.dtype, jnp.uint8))
    return _call(backend.MAX_POOL, kinds, form, inputs)


def _route(values: jax.Array, switches: jax.Array, form: Pooling) -> jax.Array:
    shape = (values.shape[0], *form.sizes, values.shape[-1])
    return _call(backend.MAX_ROUTE, like_on_device(values, shape, values.dtype), form, values, switches)


def _call(target: str, results: Any, form: Pooling, *operands: jax.Array) -> Any:
    backend.library()
    window = form.window
    axes = [form.sizes, window.shape, form.results, window.strides, window.dilation]
    three = [_of_three(numbers, 1) for numbers in axes] + [_of_three([low for low, _ in window.padding], 0)]
    fields = [[form.devices, operands[0].shape[0], operands[0].shape[-1]], *three]
    description = np.array([value for field in fields for value in field], np.int64)
    return jax.ffi.ffi_call(target, results)(*operands, call=description)


def _of_three(numbers: Sequence[int], missing: int) -> list[int]:
    """One for each of three axes.

    Those in front are the missing ones.
    """
    return [missing] * (3 - len(numbers)) + list(numbers)


# Batches and channels may be spread over devices; spatial axes become whole on each.


def _spread(function: Any, static: int, words: str) -> Any:
    spread = custom_partitioning(function, static_argnums=(static,))

    def partition(form: Pooling, mesh: Mesh, operands: Any, results: Any):
        sharding = NamedSharding(mesh, _batch_and_channels(operands[0].sharding.spec, len(form.sizes) + 2))
        local = form._replace(devices=devices_at_once(mesh.size))
        return (
            mesh,
            lambda *operands: function(*operands, local),
            jax.tree.map(lambda _: sharding, results),
            (sharding,) * static,
        )

    def rule(form: Pooling, mesh: Any, operand_types: Any, result_types: Any):
        del mesh, operand_types, result_types
        letters = {side: [f"{side}{axis}" for axis in range(len(form.sizes))] for side in "io"}
        told = words.format(**{side: f"n {' '.join(axes)} c" for side, axes in letters.items()})
        first = sorted(letters.items(), key=lambda item: words.index(f"{{{item[0]}}}"))
        return told, {"need_replication_factors": tuple(letter for _, axes in first for letter in axes)}

    spread.def_partition(
        partition,
        infer_sharding_from_operands=lambda form, mesh, operands, results: partition(form, mesh, operands, results)[2],
        sharding_rule=rule,
    )
    return spread


_spread_winners = _spread(_winners, 1, "{i} -> {o}, {o}")
_spread_route = _spread(_route, 2, "{o}, {o} -> {i}")
