"""Sharding and mesh axes of arrays and cotangents.

They are for every op and rule.
"""

import jax
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def match_cotangent(cotangent: jax.Array, primal: jax.Array) -> jax.Array:
    """Gives a cotangent its primal's dtype and type.

    The type is that under `shard_map`. A primal that is the same on every device of a mesh axis was read by all of
    them. So its cotangent is the sum of their cotangents. JAX does this when it transposes the implicit broadcast; a
    hand-written rule must do it itself.
    """
    varying = jax.typeof(cotangent).manual_axis_type.varying - jax.typeof(primal).manual_axis_type.varying
    if varying:
        cotangent = lax.psum(cotangent, tuple(sorted(varying)))
    return cotangent.astype(primal.dtype)


def explicit_sharding(array: jax.Array, *others: jax.Array) -> NamedSharding | None:
    """Returns the sharding in an array's type on an explicit mesh.

    It does so if it, or one of `others`, is on a mesh with explicit axes. An array that is on no mesh is replicated on
    every device. None leaves the choice to the compiler.
    """
    for other in (array, *others):
        sharding = jax.typeof(other).sharding
        if AxisType.Explicit in sharding.mesh.axis_types:
            return sharding if other is array else NamedSharding(sharding.mesh, PartitionSpec())
    return None


def varying_like(array: jax.Array, *others: jax.Array) -> jax.Array:
    """Marks an array as differing over others' mesh axes.

    A loop's carry must be so under `shard_map`; the others are `others`.
    """
    types = [jax.typeof(a).manual_axis_type.varying for a in (array, *others)]
    axes = frozenset().union(*types) - types[0]
    return lax.pcast(array, tuple(sorted(axes)), to="varying") if axes else array


def mapped_axes(axis_name: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Returns the names as a tuple, if all are mapped.

    They are mapped by `jax.pmap`, `jax.shard_map` or `jax.vmap`.

    Raises:
      TypeError: if `axis_name` is neither a name nor a tuple of names.
      ValueError: if an axis is not mapped.
    """
    names = () if axis_name is None else tuple(axis_name) if isinstance(axis_name, tuple | list) else (axis_name,)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"`axis_name` must be a name or a tuple of names; got {axis_name!r}.")
    try:
        lax.axis_size(names)
    except NameError:
        raise ValueError(f"`axis_name` must name axes that are mapped here; got {axis_name!r}.") from None
    return names
