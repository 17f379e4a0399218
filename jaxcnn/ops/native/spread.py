"""A call of oneDNN spread over devices.

Each device computes its share, and a sum over a spread index is completed.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from jaxcnn.ops.native import backend
from jaxcnn.ops.native.form import Form, Part, describe, operands, shapes, summed
from jaxcnn.ops.sharding import varying_like


def call(first: jax.Array, second: jax.Array, form: Form) -> jax.Array:
    """One call, on the arrays as they are."""
    like = like_on_device(first, shapes(first, second, form)[form.wanted], form.dtype)
    backend.library()
    return jax.ffi.ffi_call(backend.CONV, like)(first, second, call=describe(first, second, form))


def like_on_device(operand: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.ShapeDtypeStruct:
    """The type of a call's result on a device.

    It varies over the mesh axes over which the operand does.
    """
    kind = jax.typeof(operand)
    sharding = NamedSharding(kind.sharding.mesh, PartitionSpec()) if kind.manual_axis_type.varying else None
    return jax.ShapeDtypeStruct(
        shape,
        dtype,
        sharding=sharding,  # a type that varies needs its mesh
        manual_axis_type=kind.manual_axis_type,
    )


class Division(NamedTuple):
    """How a call is divided over the axes of a mesh.

    It gives for each index the axes over which it is spread.
    """

    form: Form
    axes: Mapping[str, tuple[str, ...]]

    def spec(self, part: Part) -> PartitionSpec:
        """The sharding of one of the three arrays."""
        spec: list[tuple[str, ...] | None] = [None] * (len(self.form.sizes) + 2)
        for index, axis in self.form.axes[part].items():
            spec[axis] = self.axes.get(index)
        return PartitionSpec(*spec)

    def complete(self, share: jax.Array) -> jax.Array:
        """The result of which every device has computed a share."""
        names = self.axes.get(summed(self.form.wanted))
        return lax.psum(share, names) if names else share


def division(form: Form, specs: Mapping[Part, PartitionSpec]) -> Division:
    """What can stay of some arrays' shardings.

    Spatial axes become whole, and channels where there are groups.
    """
    axes: dict[str, tuple[str, ...]] = {}
    for part, spec in specs.items():
        entries = (*spec, *[None] * (len(form.sizes) + 2 - len(spec)))
        for index, axis in form.axes[part].items():
            entry = entries[axis]
            names = entry if isinstance(entry, tuple) else () if entry is None else (entry,)
            taken = {name for used in axes.values() for name in used}
            if names and index not in axes and not taken & set(names) and index in form.divisible:
                axes[index] = names
    return Division(form, axes)


# Where the compiler decides how arrays are spread, it asks how a call may be: first for the rule, in letters for the
# axes of operands and result, then, when it has decided, for what one device does.

_partitioned = custom_partitioning(call, static_argnums=(2,))


def _rule(form: Form, mesh: Any, operand_types: Any, result_types: Any) -> tuple[str, dict[str, tuple[str, ...]]]:
    del mesh, operand_types, result_types
    words: dict[Part, list[str]] = {}
    for part, axes in form.axes.items():
        words[part] = [f"{part[0]}{axis}" for axis in range(len(form.sizes) + 2)]
        for index, axis in axes.items():
            if index in form.divisible:
                words[part][axis] = index
    first, second = (words[part] for part in operands(form.wanted))
    result = words[form.wanted]
    in_order = dict.fromkeys((*first, *second, *result))
    return f"{' '.join(first)}, {' '.join(second)} -> {' '.join(result)}", {
        "reduction_factors": tuple({summed(form.wanted)} & form.divisible),
        "need_replication_factors": tuple(word for word in in_order if word not in form.divisible),
    }


def _partition(form: Form, mesh: Mesh, operand_shapes: Any, result_shape: Any):
    parts = (*operands(form.wanted), form.wanted)
    specs = (shape.sharding.spec for shape in (*operand_shapes, result_shape))
    divided = division(form, dict(zip(parts, specs, strict=True)))
    first, second, result = (NamedSharding(mesh, divided.spec(part)) for part in parts)
    local = form._replace(devices=devices_at_once(mesh.size))
    return mesh, lambda first, second: divided.complete(call(first, second, local)), result, (first, second)


def _infer(form: Form, mesh: Mesh, operand_shapes: Any, result_shape: Any) -> NamedSharding:
    return _partition(form, mesh, operand_shapes, result_shape)[2]


_partitioned.def_partition(_partition, infer_sharding_from_operands=_infer, sharding_rule=_rule)


def spread(first: jax.Array, second: jax.Array, form: Form) -> jax.Array:
    """One call, on as many devices as the arrays lie on."""
    return _partitioned(first, second, form)


def on_explicit_mesh(product: Any, first: jax.Array, second: jax.Array, form: Form, mesh: Any) -> jax.Array:
    """A product whose operands' types say how they are spread."""
    pair = dict(zip(operands(form.wanted), (first, second), strict=True))
    divided = division(form, {part: jax.typeof(array).sharding.spec for part, array in pair.items()})
    specs = tuple(map(divided.spec, pair))
    placed = [jax.sharding.reshard(a, NamedSharding(mesh, spec)) for a, spec in zip(pair.values(), specs, strict=True)]

    def share(first: jax.Array, second: jax.Array) -> jax.Array:
        return divided.complete(product(first, second, form))

    return jax.shard_map(share, mesh=mesh, in_specs=specs, out_specs=divided.spec(form.wanted))(*placed)


def _left_to_compiler(mesh: Any) -> list[str]:
    return [name for name, size in mesh.shape.items() if size > 1 and name not in mesh.manual_axes]


def partly_mapped() -> bool:
    """Whether this is inside a `shard_map` over some axes alone.

    They are not all axes of the mesh; there can be no call then.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return bool(mesh.manual_axes and _left_to_compiler(mesh))


def on_this_device(first: jax.Array, second: jax.Array, form: Form) -> tuple[jax.Array, jax.Array, Form]:
    """The operands and the form of a call inside `shard_map`.

    Several devices make it there; they are the same elsewhere.

    Raises:
      ValueError: if the `shard_map` leaves axes of the mesh to the compiler.
    """
    mesh = jax.sharding.get_abstract_mesh()
    left = _left_to_compiler(mesh)
    if mesh.manual_axes and left:  # the compiler does not ask there
        raise ValueError(
            f"`method='native'` needs a `shard_map` over every axis of the mesh; got {mesh.manual_axes} without {left}."
        )
    first, second = varying_like(first, second), varying_like(second, first)
    return first, second, form._replace(devices=devices_at_once())


def devices_at_once(devices: int | None = None) -> int:
    """How many of a mesh's devices share this machine's cores.

    By default the mesh is that of the `shard_map` around.
    """
    if devices is None:
        mesh = jax.sharding.get_abstract_mesh()
        devices = math.prod(mesh.shape[name] for name in mesh.manual_axes)
    return min(devices, jax.local_device_count("cpu"))
