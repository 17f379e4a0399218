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
    if wanted == "inputs":
        return "kernel", "outputs"
    return ("inputs", "outputs") if wanted == "kernel" else ("inputs", "kernel")


def product(first: jax.Array, second: jax.Array, form: Form) -> jax.Array:
    """The array `form.wanted`, computed from the two others by oneDNN."""
    explicit = arrays.explicit_sharding(first, second)
    if explicit is not None:
        return _on_explicit_mesh(first, second, form, explicit.mesh)
    first, second = arrays.varying_like(first, second), arrays.varying_like(second, first)
    mesh = jax.sharding.get_abstract_mesh()
    devices = math.prod(mesh.shape[name] for name in mesh.manual_axes)
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


def _call(first: jax.Array, second: jax.Array, form: Form) -> jax.Array:
    call = _describe(first, second, form)
    kind = jax.typeof(first)
    sharding = NamedSharding(kind.sharding.mesh, PartitionSpec()) if kind.manual_axis_type.varying else None
    like = jax.ShapeDtypeStruct(
        _shapes(first, second, form)[form.wanted],
        form.dtype,
        sharding=sharding,  # a type that varies needs its mesh
        manual_axis_type=kind.manual_axis_type,
    )
    backend.library()
    return jax.ffi.ffi_call(backend.TARGET, like)(first, second, call=call)


_partitioned = custom_partitioning(_call, static_argnums=(2,))


def _partition(form: Form, mesh, operand_shapes, result_shape):
    """Each device computes its share; what it lacks of a sum comes from the others."""
    parts = (*operands(form.wanted), form.wanted)
    specs = [shape.sharding.spec for shape in (*operand_shapes, result_shape)]
    shared = _shared(form, dict(zip(parts, specs, strict=True)))
    found = [NamedSharding(mesh, shared.spec(part)) for part in parts]

    def compute(first: jax.Array, second: jax.Array) -> jax.Array:
        return shared.add(_call(first, second, form._replace(devices=mesh.size)))

    return mesh, compute, found[2], tuple(found[:2])


def _on_explicit_mesh(first: jax.Array, second: jax.Array, form: Form, mesh) -> jax.Array:
    """The same where the arrays' types say how they are spread."""
    names = operands(form.wanted)
    pair = dict(zip(names, (first, second), strict=True))
    shared = _shared(form, {name: jax.typeof(array).sharding.spec for name, array in pair.items()})
    specs = tuple(map(shared.spec, names))
    placed = [jax.sharding.reshard(a, NamedSharding(mesh, spec)) for a, spec in zip(pair.values(), specs, strict=True)]

    def compute(first: jax.Array, second: jax.Array) -> jax.Array:
        return shared.add(product(first, second, form))

    return jax.shard_map(compute, mesh=mesh, in_specs=specs, out_specs=shared.spec(form.wanted))(*placed)


class _Shared(NamedTuple):
    """How a call is spread over a mesh: for each index the axes of the mesh that divide it."""

    form: Form
    axes: dict[str, tuple[str, ...]]

    def spec(self, part: Part) -> PartitionSpec:
        at = {axis % (len(self.form.sizes) + 2): self.axes.get(index) for index, axis in _AXES[part].items()}
        return PartitionSpec(*[at.get(axis) for axis in range(len(self.form.sizes) + 2)])

    def add(self, result: jax.Array) -> jax.Array:
        first, second = operands(self.form.wanted)
        (summed,) = _AXES[first].keys() & _AXES[second].keys()
        return lax.psum(result, self.axes[summed]) if summed in self.axes else result


def _shared(form: Form, specs: dict[Part, PartitionSpec]) -> _Shared:
    """What can stay of the shardings of some arrays; spatial axes become whole, and channels where there are groups."""
    axes: dict[str, tuple[str, ...]] = {}
    for part, spec in specs.items():
        entries = (*spec, *[None] * (len(form.sizes) + 2 - len(spec)))
        for index, axis in _AXES[part].items():
            entry = entries[axis]
            names = entry if isinstance(entry, tuple) else () if entry is None else (entry,)
            taken = {name for used in axes.values() for name in used}
            if names and index not in axes and not taken & set(names) and (index == "n" or form.groups == 1):
                axes[index] = names
    return _Shared(form, axes)


def _sharding_rule(form: Form, mesh, operand_types, result_types):
    """The same, for the compiler's propagation; spatial axes stay whole, and channels where there are groups."""
    del mesh, operand_types, result_types
    names = {"n": "n", "c": "c", "o": "o"}
    words = {}
    for part, axes in _AXES.items():
        spatial = [f"{part[0]}{axis}" for axis in range(len(form.sizes))]
        if part == "kernel" and form.groups > 1:
            names["c"] = "g"  # channels of one group: another size, so another letter
        at = {axis % (len(spatial) + 2): names[index] for index, axis in axes.items()}
        words[part] = [at[axis] if axis in at else spatial.pop(0) for axis in range(len(form.sizes) + 2)]
        names["c"] = "c"
    first, second = operands(form.wanted)
    in_order = list(dict.fromkeys([*words[first], *words[second], *words[form.wanted]]))
    free = {"n", "c", "o"} if form.groups == 1 else {"n"}
    summed = _AXES[first].keys() & _AXES[second].keys() & free
    rule = f"{' '.join(words[first])}, {' '.join(words[second])} -> {' '.join(words[form.wanted])}"
    return rule, {
        "reduction_factors": tuple(summed),
        "need_replication_factors": tuple(word for word in in_order if word not in free),
    }


def _infer(form: Form, mesh, operand_shapes, result_shape):
    """The same, for the propagation of a JAX whose Shardy is switched off."""
    return _partition(form, mesh, operand_shapes, result_shape)[2]


_partitioned.def_partition(_partition, infer_sharding_from_operands=_infer, sharding_rule=_sharding_rule)


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
