"""Checks and helpers for arrays: dtypes, ranks, options.

Every op applies them.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import ArrayLike, DTypeLike

from jaxcnn.ops.sharding import explicit_sharding


def floating(**arrays: ArrayLike) -> tuple[jax.Array, ...]:
    """Returns the named arrays, if they share one real floating dtype.

    Raises:
      TypeError: if a dtype is not real floating, or two differ; ops never round or promote implicitly.
    """
    converted = {name: jnp.asarray(array) for name, array in arrays.items()}
    dtypes = {name: array.dtype for name, array in converted.items()}
    names = " and ".join(f"`{name}`" for name in dtypes)
    given = " and ".join(map(str, dtypes.values()))
    if not all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes.values()):
        raise TypeError(f"{names} must be real floating; got {given}.")
    if len(set(dtypes.values())) > 1:
        raise TypeError(f"{names} must have the same dtype; got {given}.")
    return tuple(converted.values())


def choice(name: str, value: str, options: tuple[str, ...]) -> str:
    """Returns `value`, if it is one of `options`.

    Raises:
      ValueError: if it is not.
    """
    if value not in options:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, options))}; got {value!r}.")
    return value


def wider(*dtypes: DTypeLike) -> jnp.dtype:
    """Returns the widest of floating dtypes.

    `jnp.promote_types` may be configured to refuse.
    """
    candidates = {jnp.dtype(dtype) for dtype in dtypes}
    widest = max(jnp.finfo(dtype).bits for dtype in candidates)
    as_wide = [dtype for dtype in candidates if jnp.finfo(dtype).bits == widest]
    return as_wide[0] if len(as_wide) == 1 else jnp.dtype(jnp.float32)


def along_last(numbers: jax.Array, array: jax.Array) -> jax.Array:
    """Adds leading axes to numbers of an array's last axes.

    JAX may be configured to refuse rank promotion.
    """
    return lax.expand_dims(numbers, range(array.ndim - numbers.ndim))


def not_before(array: jax.Array, event: jax.Array) -> jax.Array:
    """Returns the same array, which is computed only after `event`.

    XLA cannot compute it before; `event` is an array of floats. XLA on CPU sometimes drops `lax.optimization_barrier`.
    Only LLVM finds out that the condition always holds.
    """
    if explicit_sharding(array, event) is not None:
        return array
    moment = lax.slice(event, (0,) * event.ndim, (1,) * event.ndim).reshape(())
    return jnp.where((moment == moment).astype(jnp.int32) < 2, array, 0)


def move_groups(array: jax.Array, source: int, target: int, groups: int) -> jax.Array:
    """Moves the groups from axis `source` to axis `target`.

    They are the major part of either axis.
    """
    if groups == 1:
        return array
    shape = list(array.shape)
    shape[source] //= groups
    split = array.reshape(*shape[:source], groups, *shape[source:])
    shape[target] *= groups
    return jnp.moveaxis(split, source, target).reshape(shape)


def reshape(array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Reshapes the axes after the batch axis.

    On an explicit mesh the batch axis keeps its sharding.
    """
    sharding = explicit_sharding(array)
    if sharding is None:
        return array.reshape(shape)
    spec = PartitionSpec(sharding.spec[0], *[None] * (len(shape) - 1))
    return lax.reshape(array, shape, out_sharding=NamedSharding(sharding.mesh, spec))
