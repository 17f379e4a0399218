"""`by_hand`: traces a function, rewrites it, and runs it.

Arguments and results stay the same.
"""

import functools
import types
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer
from jax.extend.core import jaxpr_as_fun

from jaxcnn.by_hand.arguments import Taken, is_module, taken_apart
from jaxcnn.by_hand.choosing import Rules, checked_rules
from jaxcnn.by_hand.jaxprs import require_known_version, with_equations
from jaxcnn.by_hand.rewriting import Rewriter

_MOST_KEPT = 64  # traces of one function, by the structure of its arguments and by what is no array in them


def by_hand(fun: Any = None, *, rules: Rules | None = None, rule: str = "auto") -> Any:
    """Gives any JAX function our convolutions, pools and gradients.

    The function is traced. Its convolutions and max-pools are replaced by those of `jaxcnn.ops` where these were
    measured as faster, at every depth: under `jit`, `vmap`, `scan`, `while`, `cond`, `remat`, `shard_map` and `pmap`.
    The network may be written in Equinox, Flax, Haiku, Keras or plain lax. The function keeps its arguments, results,
    shardings, names and effects.

    Transform the result, not the function: `jax.jit(jax.value_and_grad(by_hand(loss)))`. In `by_hand(jax.grad(loss))`
    JAX has already computed the gradient when `by_hand` traces it. As with `jax.jit`, an array that the function
    closes over is read once for all arguments of the same shapes. Forward mode needs `rule="autodiff"`.

    Args:
      fun: the function; without it, `by_hand` returns a decorator. Arrays in its arguments are traced; other values
        (numbers, flags, names, functions) stay as they are. The state of Flax NNX modules in its arguments is updated.
      rules: the rule of each operation, by name: `"conv"`, `"max_pool"`, `"sum_pool"` (the sums in an average pool)
        and `"relu"`. A rule is `"auto"`, `"hand"` (ours), `"autodiff"` (XLA's own), for `"relu"` also `"guided"` or
        `"deconvnet"`; or a function that takes the same operands, and lax's options by name, and is differentiated
        as it is, by its `jax.custom_vjp` rule if it has one.
      rule: the rule of the operations that `rules` does not name. `"auto"` chooses what was measured as faster.

    Returns:
      A function with the same arguments and results. `by_hand.report` lists what was replaced.

    Raises:
      TypeError: if `fun` cannot be called, or `rules` is not a mapping.
      ValueError: if an operation or a rule is unknown, or the result of a rule has another shape or dtype.
      NotImplementedError: if this version of jax is not supported.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxcnn
      >>> def loss(kernel, image):
      ...   return jax.lax.conv(image, kernel, (1, 1), "VALID").sum()
      >>> kernel, image = jnp.ones((4, 3, 3, 3)), jnp.ones((2, 3, 8, 8))
      >>> jax.jit(jax.grad(jaxcnn.by_hand(loss)))(kernel, image).shape
      (4, 3, 3, 3)
    """
    if fun is None:
        return functools.partial(by_hand, rules=rules, rule=rule)
    if not callable(fun):
        raise TypeError(f"`fun` must be a function; got {fun!r}.")
    known = ByHand(fun, rules, rule)

    @_like(fun)
    def transformed(*args: Any, **kwargs: Any) -> Any:
        return known.run(args, kwargs)

    known.gave(transformed)
    return transformed


def known_of(fun: Any) -> "ByHand | None":
    """Returns the `ByHand` of a function that `by_hand` returned.

    It is None for any other, even for a wrapper of one.
    """
    known = getattr(fun, "__by_hand__", None)
    return known if isinstance(known, ByHand) and known.is_of(fun) else None


def _like(fun: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """`functools.wraps` that also accepts callable objects."""
    names = [name for name in functools.WRAPPER_ASSIGNMENTS if hasattr(fun, name)]
    return functools.wraps(fun, assigned=names, updated=())


class _Traceable(NamedTuple):
    """A function of arrays alone, and its rewritten equations.

    They are kept by the identity of each trace's first equation.
    """

    function: Callable[..., Any]
    rewritten: dict[int, tuple[Any, Any]]


class ByHand:
    """A function and its rules.

    A function that `by_hand` returned has one as its attribute `__by_hand__`.
    """

    def __init__(self, fun: Callable[..., Any], rules: Rules | None, rule: str):
        require_known_version()
        self.fun = fun
        self.rules = checked_rules(rules, rule)
        self._kept: dict[Any, _Traceable] = {}
        self._given: Any = lambda: None

    def gave(self, transformed: Any) -> None:
        """Remembers the function that `by_hand` returns.

        `functools.wraps` copies its attributes to others.
        """
        transformed.__by_hand__ = self
        self._given = weakref.ref(transformed)

    def is_of(self, fun: Any) -> bool:
        """Whether `fun` is the function that `by_hand` returned."""
        return self._given() is fun

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls the function, computed and differentiated by the rules."""
        args, fun = self._with_module(args)
        taken = taken_apart(args, kwargs)
        traceable = self._traceable(fun, taken)
        closed, shapes = jax.make_jaxpr(traceable.function, return_shape=True)(*taken.arrays)
        mark = id(closed.eqns[0]) if closed.eqns else 0  # a trace that JAX finds again has the same equations
        if mark not in traceable.rewritten:
            if len(traceable.rewritten) >= _MOST_KEPT:
                traceable.rewritten.clear()
            traceable.rewritten[mark] = closed.eqns, Rewriter(self.rules).rewrite(closed).eqns
        _, equations = traceable.rewritten[mark]
        if any(isinstance(const, Tracer) for const in closed.consts):  # of a transformation that will have ended
            self._kept = {key: known for key, known in self._kept.items() if known is not traceable}
        results = jaxpr_as_fun(with_equations(closed, equations))(*taken.arrays)
        result, changed = jax.tree.unflatten(jax.tree.structure(shapes), results)
        taken.write_back(changed)
        return jax.tree.map(lambda leaf: leaf.given() if isinstance(leaf, _Kept) else leaf, result, is_leaf=_is_kept)

    def examine(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rewriter:
        """Rewrites the function without running it.

        The rewriter holds what was found and replaced.
        """
        args, fun = self._with_module(args)
        taken = taken_apart(args, kwargs)
        rewriter = Rewriter(self.rules)
        rewriter.rewrite(jax.make_jaxpr(self._traceable(fun, taken).function)(*taken.arrays))
        return rewriter

    def _with_module(self, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], Callable[..., Any]]:
        """Makes an NNX module that is called an argument.

        It may be called itself or by a method; a call may write into it.
        """
        module = getattr(self.fun, "__self__", self.fun)
        if not is_module(module):
            return args, self.fun
        return (module, *args), _called if module is self.fun else self.fun.__func__  # type: ignore[attr-defined]

    def _traceable(self, fun: Callable[..., Any], taken: Taken) -> _Traceable:
        key = taken.key()
        try:
            known = None if key is None else self._kept.get(key)
        except Exception:  # somebody's static field, such as an array, cannot be compared
            known = key = None
        if known is not None:
            return known
        form = taken.without_arrays()

        def function(*arrays: Any) -> Any:
            args, kwargs = form.put_together(arrays)
            result = fun(*args, **kwargs)
            kept = jax.tree.map(lambda leaf: leaf if isinstance(leaf, Tracer) else _Kept(leaf), result)
            return kept, form.changes(arrays, (args, kwargs))

        known = _Traceable(function, {})
        if key is not None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = known
        return known


class _Kept:
    """A returned value that is no array, and bypasses the trace.

    Raises:
      TypeError: if the value contains a traced array.
    """

    def __init__(self, value: Any):
        held = [cell.cell_contents for cell in getattr(value, "__closure__", None) or () if cell != _EMPTY]
        held += vars(value).values() if hasattr(value, "__dict__") else []
        if any(isinstance(one, Tracer) for one in held):
            raise TypeError(
                f"`fun` must return arrays in pytrees; got {type(value).__name__}, which contains an array and is not "
                "registered with `jax.tree_util`."
            )
        self._value = value

    def given(self) -> Any:
        """Returns the value, or a copy if it is mutable."""
        return self._value.copy() if isinstance(self._value, np.ndarray) else self._value


_EMPTY = types.CellType()


def _called(module: Any, *args: Any, **kwargs: Any) -> Any:
    return module(*args, **kwargs)


def _is_kept(leaf: Any) -> bool:
    return isinstance(leaf, _Kept)


jax.tree_util.register_pytree_node(_Kept, lambda kept: ((), kept), lambda kept, _: kept)
