"""Compares the values and gradients of two functions.

It does so in float64 and in the dtypes of the arguments.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.check.report import Finding, Report, attempt, compare_arrays, skipped

DOUBLE = 1e-6
_TIMES = 3.0  # so much larger the error against float64 may be than that of the other function
_STEPS = 16.0  # and so many rounding steps more


class _Found(NamedTuple):
    names: list[str]
    arrays: list[np.ndarray]  # in float64
    kinds: frozenset[Any]  # dtypes of the values


def compare(fun: Callable[..., Any], other: Callable[..., Any], *args: Any, tolerance: float = DOUBLE) -> Report:
    """Compares the values and gradients of `other` with those of `fun`.

    In float64 every element must agree. In the dtypes of `args`, `other` must be about as close to the float64 result
    as `fun` is. The gradient is that of a randomly weighted sum of all outputs, with respect to every floating array.
    After `fast = jaxcnn.by_hand(loss)`, call `print(check.compare(loss, fast, *args))`.

    Args:
      fun: the reference, a function of pytrees of arrays.
      other: a function of the same arguments.
      *args: the arguments at which both are compared; values that are not floating arrays are constants.
      tolerance: the largest relative error allowed in float64. An element's error is relative to its size, but at
        least to a hundredth of the largest element of its array.

    Returns:
      A report that names the argument and the element that differ most; `report.passed` is true if all agree.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import check
      >>> parameters = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
      >>> def loss(parameters, x):
      ...   return jnp.sum(jnp.sin(x @ parameters["kernel"] + parameters["bias"]))
      >>> check.compare(loss, jax.jit(loss), parameters, jnp.ones((4, 2))).passed
      True
    """
    exact: list[_Found] = []

    def in_float64() -> Finding:
        with jax.enable_x64(True):
            wide = [_cast(arg, jnp.float64) for arg in args]
            try:
                exact.append(_found(fun, wide))
            except Exception as error:  # whatever it is, it is not `other` that is at fault
                first = next(iter(str(error).splitlines()), type(error).__name__)
                return skipped("in float64", f"{_name(fun)} itself does not run in float64: {first}")
            ours = _found(other, wide)
        single = sorted({str(kind) for kind in exact[0].kinds if kind != np.float64})
        if single:
            return skipped("in float64", f"the function gives {', '.join(single)} for float64")
        return _held("in float64", ours, exact[0], tolerance)

    def as_given() -> Finding:
        stock, ours = _found(fun, args), _found(other, args)
        if len(exact) == 1 and exact[0].kinds == {np.dtype(np.float64)}:
            own = compare_arrays("", stock.names, stock.arrays, exact[0].arrays, np.inf).error
            return _held("as given", ours, exact[0], _TIMES * own + _STEPS * _step(stock))
        return _held("as given", ours, stock, 1e3 * _step(stock))

    findings = attempt("in float64", in_float64), attempt("as given", as_given)
    names = dict.fromkeys((_name(other), _name(fun)))  # `by_hand` keeps its function's name
    return Report(" against ".join(names), findings)


def _name(fun: Any) -> str:
    return getattr(fun, "__name__", type(fun).__name__)


def _step(results: _Found) -> float:
    """The coarsest rounding step of the values."""
    return max((float(jnp.finfo(kind).eps) for kind in results.kinds), default=0.0)


def _held(kind: str, results: _Found, expected: _Found, tolerance: float) -> Finding:
    finding = compare_arrays(kind, expected.names, results.arrays, expected.arrays, tolerance)
    if finding.detail or not finding.error:
        return finding
    errors = [
        compare_arrays("", [name], [a], [b], np.inf).error
        for name, a, b in zip(expected.names, results.arrays, expected.arrays, strict=True)
    ]
    return Finding(kind, True, finding.error, tolerance, f"worst in {expected.names[int(np.argmax(errors))]}")


def _is_floating(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic) and jnp.issubdtype(leaf.dtype, jnp.floating)


def _cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype) if _is_floating(leaf) else leaf, tree)


def _found(function: Callable[..., Any], args: Sequence[Any]) -> _Found:
    """The floating outputs, and the gradients, of a function."""
    paths, structure = jax.tree_util.tree_flatten_with_path(tuple(args))
    leaves = [leaf for _, leaf in paths]
    places = [at for at, leaf in enumerate(leaves) if _is_floating(leaf)]
    outputs: list[str] = []

    def loss(arrays: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        results = jax.tree_util.tree_leaves_with_path(function(*jax.tree.unflatten(structure, filled)))
        values = [(path, value) for path, value in results if _is_floating(value)]
        outputs[:] = [f"output{jax.tree_util.keystr(path)}" for path, _ in values]
        total = jnp.zeros((), jnp.float64 if any(value.dtype == jnp.float64 for _, value in values) else jnp.float32)
        for number, (_, value) in enumerate(values):
            weights = np.random.default_rng(number).normal(size=value.shape)
            total += jnp.sum(value.astype(total.dtype) * jnp.asarray(weights, total.dtype))
        return total, [value for _, value in values]

    arrays = [jnp.asarray(leaves[place]) for place in places]
    gradients, values = jax.jit(jax.grad(loss, has_aux=True))(arrays)
    names = [f"gradient{jax.tree_util.keystr(paths[place][0])}" for place in places]
    wide = [np.asarray(array).astype(np.float64) for array in (*values, *gradients)]
    return _Found([*outputs, *names], wide, frozenset(np.dtype(value.dtype) for value in values))
