"""One call of oneDNN, under every transformation of JAX but differentiation."""

import ctypes
import functools
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from jaxcnn.geometry import Window
from jaxcnn.ops import arrays
from jaxcnn.ops.onednn import backend

Part = Literal["inputs", "kernel", "outputs"]
DTYPES = (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16))  # by their codes in conv.cc


class Form(NamedTuple):
    """Everything static about one call: of the three arrays of a convolution, `wanted` is computed of the others."""

    window: Window
    sizes: tuple[int, ...]  # the input's spatial shape
    groups: int
    wanted: Part
    dtype: np.dtype  # of the result
    sharding: NamedSharding | None = None  # of the result, on an explicit mesh
    devices: int = 1  # that call at once, and share the cores


# Three indices run through the arrays, each through two of them: n numbers examples, c input channels, o outputs. This
# table is all that vmap and partitioning need. An index that one operand shares with the result passes through, so a
# mapped or sharded axis may be part of it; an index that both operands share is summed, so its shards are added.
_AXES: dict[Part, dict[str, int]] = {
    "inputs": {"n": 0, "c": -1},
    "kernel": {"c": -2, "o": -1},
    "outputs": {"n": 0, "o": -1},
}


def operands(wanted: Part) -> tuple[Part, Part]:
    """The two arrays of which the third is computed, in the order of a call's arguments."""
    first, second = (part for part in _AXES if part != wanted)
    return first, second


def product(first: jax.Array, second: jax.Array, form: Form) -> jax.Array:
    """The array `form.wanted`, computed from the two others by oneDNN."""
    first, second = arrays.varying_like(first, second), arrays.varying_like(second, first)
    manual = jax.sharding.get_abstract_mesh()
    devices = math.prod(manual.shape[name] for name in manual.manual_axes)
    return _product(first, second, form._replace(devices=devices))


def implementation(first: jax.Array, second: jax.Array, form: Form) -> str:
    """The name of the code that oneDNN would run; empty where it has none."""
    call = _describe(first, second, form)
    pointer = call.ctypes.data_as(ctypes.POINTER(ctypes.c_int64))
    return backend.library().jaxcnn_onednn_implementation(pointer, ctypes.c_int64(len(call))).decode()


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _product(first: jax.Array, second: jax.Array, form: Form) -> jax.Array:
    @custom_vmap
    def mapped(first: jax.Array, second: jax.Array) -> jax.Array:
        return _partitioned(first, second, form)

    @mapped.def_vmap
    def rule(size: int, batched: list[bool], first: jax.Array, second: jax.Array):
        del size
        return _batched(batched, (first, second), form), True

    return mapped(first, second)


def _batched(batched: list[bool], pair: tuple[jax.Array, jax.Array], form: Form) -> jax.Array:
    """A batch of calls; one call where its axis can be part of an index that passes through, else one by one."""
    if all(batched):
        return lax.map(lambda pair: _product(*pair, form), pair)
    place = batched.index(True)
    part = operands(form.wanted)[place]
    (index,) = _AXES[part].keys() & _AXES[form.wanted].keys()
    if form.groups > 1 and index != "n":
        return lax.map(lambda array: _product(*_put(pair, place, array), form), pair[place])
    array, axis = pair[place], _AXES[part][index]
    moved = jnp.moveaxis(array, 0, 0 if axis == 0 else axis - 1)
    axis %= array.ndim - 1
    folded = moved.reshape(*moved.shape[:axis], -1, *moved.shape[axis + 2 :])
    result = _product(*_put(pair, place, folded), form)
    axis = _AXES[form.wanted][index] % result.ndim
    split = result.reshape(*result.shape[:axis], len(array), -1, *result.shape[axis + 1 :])
    return jnp.moveaxis(split, axis, 0)


def _put(pair: tuple[jax.Array, jax.Array], place: int, array: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (array, pair[1]) if place == 0 else (pair[0], array)


@functools.partial(custom_partitioning, static_argnums=(2,))
def _partitioned(first: jax.Array, second: jax.Array, form: Form) -> jax.Array:
    call = _describe(first, second, form)
    like = jax.ShapeDtypeStruct(
        _shapes(first, second, form)[form.wanted],
        form.dtype,
        sharding=form.sharding,
        manual_axis_type=jax.typeof(first).manual_axis_type,
    )
    backend.library()
    return jax.ffi.ffi_call(backend.TARGET, like)(first, second, call=call)


def _partition(form: Form, mesh, operand_shapes, result_shape):
    """Each device computes its share; what it lacks of a sum comes from the others."""
    parts = (*operands(form.wanted), form.wanted)
    shapes = (*operand_shapes, result_shape)
    axes: dict[str, tuple[str, ...]] = {}  # of the mesh, over which each index is spread
    for part, shape in zip(parts, shapes, strict=True):
        spec = (*shape.sharding.spec, *[None] * (len(shape.shape) - len(shape.sharding.spec)))
        for index, axis in _AXES[part].items():
            names = spec[axis] if isinstance(spec[axis], tuple) else (spec[axis],) if spec[axis] else ()
            taken = {name for other in axes if other != index for name in axes[other]}
            if names and not axes.get(index) and not taken & set(names) and (index == "n" or form.groups == 1):
                axes[index] = names

    def sharding(part: Part, shape) -> NamedSharding:
        spec: list[tuple[str, ...] | None] = [None] * len(shape.shape)
        for index, axis in _AXES[part].items():
            spec[axis] = axes.get(index)
        return NamedSharding(mesh, PartitionSpec(*spec))

    found = [sharding(part, shape) for part, shape in zip(parts, shapes, strict=True)]
    (summed,) = _AXES[parts[0]].keys() & _AXES[parts[1]].keys()
    local = form._replace(sharding=None, devices=mesh.size)

    def compute(first: jax.Array, second: jax.Array) -> jax.Array:
        result = _partitioned.fun(first, second, local)
        return lax.psum(result, axes[summed]) if axes.get(summed) else result

    return mesh, compute, found[2], tuple(found[:2])


def _sharding_rule(form: Form, mesh, operand_types, result_types):
    del mesh, operand_types, result_types
    rank = len(form.sizes)
    inner = {part: [f"{part[0]}{axis}" for axis in range(rank)] for part in _AXES}
    group = "c" if form.groups == 1 else "g"  # channels within a group: another size, another factor
    factors = {
        "inputs": ("n", *inner["inputs"], "c"),
        "kernel": (*inner["kernel"], group, "o"),
        "outputs": ("n", *inner["outputs"], "o"),
    }
    names = {part: " ".join(words) for part, words in factors.items()}
    first, second = operands(form.wanted)
    whole = {name for words in inner.values() for name in words} | ({"c", "g", "o"} if form.groups > 1 else set())
    (summed,) = _AXES[first].keys() & _AXES[second].keys()
    options = {"need_replication_factors": tuple(sorted(whole)), "reduction_factors": (summed,)}
    options["reduction_factors"] = tuple({summed} - whole)
    return f"{names[first]}, {names[second]} -> {names[form.wanted]}", options


_partitioned.def_partition(_partition, sharding_rule=_sharding_rule)


def _shapes(first: jax.Array, second: jax.Array, form: Form) -> dict[Part, tuple[int, ...]]:
    """The shapes of all three arrays."""
    index = {}
    for part, array in zip(operands(form.wanted), (first, second), strict=True):
        index |= {name: array.shape[axis] for name, axis in _AXES[part].items() if part != "kernel" or name == "o"}
        if part == "kernel":
            index.setdefault("c", array.shape[-2] * form.groups)
    return {
        "inputs": (index["n"], *form.sizes, index["c"]),
        "kernel": (*form.window.shape, index["c"] // form.groups, index["o"]),
        "outputs": (index["n"], *form.window.output_shape(form.sizes), index["o"]),
    }


def _describe(first: jax.Array, second: jax.Array, form: Form) -> np.ndarray:
    """The call as conv.cc reads it."""
    shapes = _shapes(first, second, form)
    window, outputs = form.window, shapes["outputs"]
    fields = [
        [list(_AXES).index(form.wanted), DTYPES.index(first.dtype), DTYPES.index(form.dtype), form.devices, 0],
        [form.groups, outputs[0], shapes["inputs"][-1], outputs[-1]],
        [*form.sizes, *window.shape, *outputs[1:-1], *window.strides, *window.dilation],
        [low for low, _ in window.padding],
        [high for _, high in window.padding],
    ]
    return np.array([value for field in fields for value in field], np.int64)
