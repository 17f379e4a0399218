"""Splits arguments into traced arrays and everything else.

The rest stays unchanged.
"""

import sys
import types
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np


class Taken(NamedTuple):
    """Arguments, split into arrays and the rest.

    A function may write into a Flax NNX module among its arguments. The arrays that it replaced leave the trace as
    results, and are then written into the caller's module.
    """

    arrays: list[Any]
    places: tuple[int, ...]  # of the arrays, among all leaves
    leaves: list[Any]  # None where there is an array
    structure: Any
    modules: Any  # the caller's arguments, if modules are among them

    def without_arrays(self) -> "Taken":
        """Returns what is needed to rebuild the arguments in a trace.

        It does not keep the caller's arrays alive.
        """
        return self._replace(arrays=[], modules=None if self.modules is None else True)

    def put_together(self, arrays: Sequence[Any]) -> Any:
        """Rebuilds the arguments with these arrays."""
        leaves = list(self.leaves)
        for place, array in zip(self.places, arrays, strict=True):
            leaves[place] = array
        rebuilt = jax.tree.unflatten(self.structure, leaves)
        return rebuilt if self.modules is None else _nnx().merge(*rebuilt)

    def changes(self, arrays: Sequence[Any], arguments: Any) -> dict[int, Any]:
        """Returns the arrays of modules that were replaced, by position.

        Raises:
          ValueError: if a module has other variables than before, or an attribute that is not an array changed.
        """
        if self.modules is None:
            return {}
        leaves, structure = jax.tree.flatten(_nnx().split(arguments))
        if structure != self.structure:
            raise ValueError(
                "`fun` must not add, remove or change variables and attributes of its modules, as `train`, `eval` and "
                "`sow` do; got one that does."
            )
        return {
            place: leaves[place] for place, array in zip(self.places, arrays, strict=True) if leaves[place] is not array
        }

    def write_back(self, changed: dict[int, Any]) -> None:
        """Writes the arrays that were replaced into the caller's modules."""
        if changed:
            nnx = _nnx()
            _, state = nnx.split(self.modules)
            leaves, structure = jax.tree.flatten(state)
            # the state's leaves are the last ones: the rest belongs to the graph
            first = len(self.leaves) - len(leaves)
            kept = object()
            leaves = [changed.get(first + at, kept) for at in range(len(leaves))]
            flat = nnx.to_flat_state(jax.tree.unflatten(structure, leaves))
            replaced = [(path, one) for path, one in flat if _value(one) is not kept]
            nnx.update(self.modules, nnx.from_flat_state(replaced))

    def key(self) -> Hashable | None:
        """Returns the key of a cached trace, if there is one.

        It is None where an argument can change without changing its hash.
        """
        if not all(map(_lasts, self.leaves)):
            return None
        # -0.0 equals 0.0, and 1 equals 1.0
        leaves = tuple((type(leaf), repr(leaf) if isinstance(leaf, float | complex) else leaf) for leaf in self.leaves)
        key = self.structure, self.places, leaves
        try:
            hash(key)
        except TypeError:
            return None
        return key


def taken_apart(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Taken:
    """Splits arguments into arrays and the rest."""
    arguments: Any = (args, kwargs)
    modules = arguments if _has_modules(arguments) else None
    leaves, structure = jax.tree.flatten(arguments if modules is None else _nnx().split(modules))
    places = tuple(at for at, leaf in enumerate(leaves) if _is_array(leaf))
    arrays = [leaves[place] for place in places]
    return Taken(arrays, places, [None if _is_array(leaf) else leaf for leaf in leaves], structure, modules)


def _is_array(leaf: Any) -> bool:
    if isinstance(leaf, np.integer | np.bool_):  # a size or a flag, as Python's
        return False
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype.kind not in "OSUMm" and leaf.dtype.names is None
    return isinstance(leaf, jax.Array | jax.Ref)


def _lasts(leaf: Any) -> bool:
    """Whether the hash of a value identifies it.

    It does for numbers, names and functions.
    """
    if isinstance(leaf, types.MethodType):
        return _lasts(leaf.__self__)
    if leaf is None or isinstance(leaf, _FUNCTIONS) or hasattr(leaf, "__wrapped__"):
        return True
    return type(leaf).__hash__ not in (None, object.__hash__)


_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, type)


def _value(one: Any) -> Any:
    """The value of a variable; an array is its own value."""
    return one.get_value() if hasattr(one, "get_value") else one


def is_module(value: Any) -> bool:
    """Whether a value is or contains a Flax NNX module."""
    nnx = _nnx()
    return nnx is not None and isinstance(value, nnx.Pytree)


def _has_modules(arguments: Any) -> bool:
    nnx = _nnx()
    if nnx is None:
        return False

    def keeps_state(leaf: Any) -> bool:
        return isinstance(leaf, nnx.Pytree | nnx.Variable)

    return any(map(keeps_state, jax.tree.leaves(arguments, is_leaf=keeps_state)))


def _nnx() -> Any:
    """Flax NNX, if it is already imported; else None."""
    return sys.modules.get("flax.nnx")
