"""What every op asks of its arrays, and what every rule owes its cotangents."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.typing import ArrayLike, DTypeLike

from jaxcnn.ops.reverse import backward_only


def custom_vjp(*static: int) -> Callable[[Callable[..., Any]], Any]:
    """`jax.custom_vjp` as a decorator; `static` are the positions of arguments that are configuration, no arrays.

    A function under it that is differentiated forward says which argument to pass instead.
    """
    return lambda function: _Ruled(jax.custom_vjp(function, nondiff_argnums=static), static)


class _Ruled:
    def __init__(self, function: Any, static: tuple[int, ...]):
        self._function = function
        self._static = static
        self.defvjp = function.defvjp

    def __call__(self, *args: Any) -> Any:
        operands = iter(backward_only([arg for at, arg in enumerate(args) if at not in self._static]))
        return self._function(*[arg if at in self._static else next(operands) for at, arg in enumerate(args)])


def def_sparing_vjp(function: Any, gradients: Callable[..., Any], *static: int) -> None:
    """Gives a function that `custom_vjp` has made its rule, left out where no error comes back.

    Otherwise the rule gets zeros, and XLA computes with them.

    Args:
      function: what `custom_vjp` returns.
      gradients: of the static arguments, the others as a tuple, and the errors; what it returns are theirs.
      *static: the positions of the static arguments.
    """

    def forward(*args: Any) -> Any:
        values = [arg if at in static else jax.tree.map(lambda leaf: leaf.value, arg) for at, arg in enumerate(args)]
        return function(*values), tuple(value for at, value in enumerate(values) if at not in static)

    def backward(*args: Any) -> Any:
        *options, operands, errors = args
        leaves, tree = jax.tree.flatten(errors, is_leaf=lambda leaf: isinstance(leaf, SymbolicZero))
        if all(isinstance(leaf, SymbolicZero) for leaf in leaves):
            return (None,) * len(operands)
        return gradients(*options, operands, jax.tree.unflatten(tree, map(_instantiated, leaves)))

    function.defvjp(forward, backward, symbolic_zeros=True)


def _instantiated(error: Any) -> jax.Array:
    if not isinstance(error, SymbolicZero):
        return error
    kind: Any = error.aval
    zeros, axes = jnp.zeros(kind.shape, kind.dtype), kind.manual_axis_type.varying
    return lax.pcast(zeros, tuple(sorted(axes)), to="varying") if axes else zeros


def floating(**arrays: ArrayLike) -> tuple[jax.Array, ...]:
    """Returns the named arrays, if they share one real floating dtype.

    Raises:
      TypeError: if a dtype is not real floating, or two differ: neither rounding nor promotion happens unasked.
    """
    converted = {name: jnp.asarray(array) for name, array in arrays.items()}
    dtypes = {name: array.dtype for name, array in converted.items()}
    names = " and ".join(f"`{name}`" for name in dtypes)
    found = " and ".join(map(str, dtypes.values()))
    if not all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes.values()):
        raise TypeError(f"{names} must be real floating; got {found}.")
    if len(set(dtypes.values())) > 1:
        raise TypeError(f"{names} must have the same dtype; got {found}.")
    return tuple(converted.values())


def choice(name: str, value: str, options: tuple[str, ...]) -> str:
    """Returns `value`, if it is one of `options`.

    Raises:
      ValueError: if it is not.
    """
    if value not in options:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, options))}; got {value!r}.")
    return value


def match_cotangent(cotangent: jax.Array, primal: jax.Array) -> jax.Array:
    """Gives a cotangent its primal's dtype, and its primal's type under `shard_map`.

    A primal that is the same on every device of a mesh axis was read by all of them, so its cotangent is the sum of
    theirs: what JAX's own transposition of the implicit broadcast does, and a hand-written rule must do itself.
    """
    varying = jax.typeof(cotangent).manual_axis_type.varying - jax.typeof(primal).manual_axis_type.varying
    if varying:
        cotangent = lax.psum(cotangent, tuple(sorted(varying)))
    return cotangent.astype(primal.dtype)


def explicit_sharding(array: jax.Array, *others: jax.Array) -> NamedSharding | None:
    """The sharding in an array's type where it, or one of `others`, is on a mesh with explicit axes.

    An array that is on no mesh is whole on every device. None leaves the choice to the compiler.
    """
    for other in (array, *others):
        sharding = jax.typeof(other).sharding
        if AxisType.Explicit in sharding.mesh.axis_types:
            return sharding if other is array else NamedSharding(sharding.mesh, PartitionSpec())
    return None


def varying_like(array: jax.Array, *others: jax.Array) -> jax.Array:
    """Marks an array as differing over the mesh axes of `others`, as a loop's carry must be under `shard_map`."""
    types = [jax.typeof(a).manual_axis_type.varying for a in (array, *others)]
    axes = frozenset().union(*types) - types[0]
    return lax.pcast(array, tuple(sorted(axes)), to="varying") if axes else array


def wider(*dtypes: DTypeLike) -> jnp.dtype:
    """The dtype that holds all of these floating ones; JAX's own promotion may be set to refuse."""
    candidates = {jnp.dtype(dtype) for dtype in dtypes}
    widest = max(jnp.finfo(dtype).bits for dtype in candidates)
    found = [dtype for dtype in candidates if jnp.finfo(dtype).bits == widest]
    return found[0] if len(found) == 1 else jnp.dtype(jnp.float32)


def along_last(numbers: jax.Array, array: jax.Array) -> jax.Array:
    """Numbers of an array's last axes, in its rank; JAX's own rank promotion may be set to refuse."""
    return lax.expand_dims(numbers, range(array.ndim - numbers.ndim))


def not_before(array: jax.Array, event: jax.Array) -> jax.Array:
    """The same array, to XLA something that it cannot compute before the event, an array of floats, is there.

    XLA on CPU drops `lax.optimization_barrier` in places. That the condition always holds, only LLVM finds.
    """
    if explicit_sharding(array, event) is not None:
        return array
    moment = lax.slice(event, (0,) * event.ndim, (1,) * event.ndim).reshape(())
    return jnp.where((moment == moment).astype(jnp.int32) < 2, array, 0)


def move_groups(array: jax.Array, source: int, target: int, groups: int) -> jax.Array:
    """Moves the groups, the major part of axis `source`, to the major part of axis `target`."""
    if groups == 1:
        return array
    shape = list(array.shape)
    shape[source] //= groups
    split = array.reshape(*shape[:source], groups, *shape[source:])
    shape[target] *= groups
    return jnp.moveaxis(split, source, target).reshape(shape)


def reshape(array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Reshapes behind the batch axis; on an explicit mesh the batch axis stays sharded as it is."""
    sharding = explicit_sharding(array)
    if sharding is None:
        return array.reshape(shape)
    spec = PartitionSpec(sharding.spec[0], *[None] * (len(shape) - 1))
    return lax.reshape(array, shape, out_sharding=NamedSharding(sharding.mesh, spec))


def mapped_axes(axis_name: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The names as a tuple, if `jax.pmap`, `jax.shard_map` or `jax.vmap` maps all of them."""
    names = () if axis_name is None else tuple(axis_name) if isinstance(axis_name, tuple | list) else (axis_name,)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"`axis_name` must be a name or a tuple of names; got {axis_name!r}.")
    try:
        lax.axis_size(names)
    except NameError:
        raise ValueError(f"`axis_name` must name axes that are mapped here; got {axis_name!r}.") from None
    return names
