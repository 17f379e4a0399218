"""`by_hand`: a function traced, rewritten, and run; its arguments and results stay what they are."""

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
    """Computes a function with our convolutions, max-pools and gradients.

    The function is traced. Its convolutions and max-pools are replaced by those of `jaxcnn.ops` where these were
    measured as faster, at every depth: under `jit`, `vmap`, `scan`, `while`, `cond`, `remat`, `shard_map` and `pmap`.
    The network may be written in Equinox, Flax, Haiku, Keras or plain lax. Arguments, results, shardings, names and
    effects stay those of the function.

    Transform the result, not the function: `jax.jit(jax.value_and_grad(by_hand(loss)))`. In `by_hand(jax.grad(loss))`
    JAX has computed the gradient before `by_hand` sees it. Arrays that the function closes over are read once for all
    arguments of the same shapes, as by `jax.jit`. Forward mode needs `rule="autodiff"`.

    Args:
      fun: a function; without it, a decorator is returned. Arrays in its arguments are traced, whatever else they hold
        (numbers, flags, names, functions) stays as it is. The state of Flax NNX modules among them is updated.
      rules: what operations become, by name: `"conv"`, `"max_pool"`, `"sum_pool"` (the sums of windows that an average
        pool divides) and `"relu"`; each is `"auto"`, `"hand"` (ours), `"autodiff"` (XLA's own), for ReLU also
        `"guided"` or `"deconvnet"`, or a function that takes the same operands, and lax's options by name. The
        gradient is that of this function, its `jax.custom_vjp` rule where it has one.
      rule: that of all others. `"auto"` takes what was measured as faster.

    Returns:
      A function of the same arguments, with the same results. `by_hand.report` tells what became what.

    Raises:
      TypeError: if `fun` cannot be called, or `rules` is no mapping.
      ValueError: if an operation or a rule is unknown, or what a rule computes has another shape or dtype.
      NotImplementedError: if this version of jax is not known.

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
    """What `by_hand` knows of a function that it gave; None of any other, even if that wraps one."""
    known = getattr(fun, "__by_hand__", None)
    return known if isinstance(known, ByHand) and known.is_of(fun) else None


def _like(fun: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """`functools.wraps`, also for objects that are called."""
    names = [name for name in functools.WRAPPER_ASSIGNMENTS if hasattr(fun, name)]
    return functools.wraps(fun, assigned=names, updated=())


class _Traceable(NamedTuple):
    """A function of arrays alone; what it gives back, and its rewritten equations, by those of each trace."""

    function: Callable[..., Any]
    rewritten: dict[int, tuple[Any, Any]]


class ByHand:
    """A function, and the rules that it gets; what `by_hand` returns has one as `__by_hand__`."""

    def __init__(self, fun: Callable[..., Any], rules: Rules | None, rule: str):
        require_known_version()
        self.fun = fun
        self.rules = checked_rules(rules, rule)
        self._kept: dict[Any, _Traceable] = {}
        self._given: Any = lambda: None

    def gave(self, transformed: Any) -> None:
        """Notes the function that `by_hand` returns: others copy its attributes, as `functools.wraps` does."""
        transformed.__by_hand__ = self
        self._given = weakref.ref(transformed)

    def is_of(self, fun: Any) -> bool:
        """Whether it is that function."""
        return self._given() is fun

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the function returns, computed and differentiated by the rules."""
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
        found, changed = jax.tree.unflatten(jax.tree.structure(shapes), results)
        taken.write_back(changed)
        return jax.tree.map(lambda leaf: leaf.given() if isinstance(leaf, _Kept) else leaf, found, is_leaf=_is_kept)

    def examine(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rewriter:
        """What is found in the function, and what it becomes."""
        args, fun = self._with_module(args)
        taken = taken_apart(args, kwargs)
        rewriter = Rewriter(self.rules)
        rewriter.rewrite(jax.make_jaxpr(self._traceable(fun, taken).function)(*taken.arrays))
        return rewriter

    def _with_module(self, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], Callable[..., Any]]:
        """A module of NNX that is called, or one of its methods, is an argument: a call may write into it."""
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
            found = fun(*args, **kwargs)
            kept = jax.tree.map(lambda leaf: leaf if isinstance(leaf, Tracer) else _Kept(leaf), found)
            return kept, form.changes(arrays, (args, kwargs))

        known = _Traceable(function, {})
        if key is not None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = known
        return known


class _Kept:
    """What a function returns that is no traced array: it passes by the trace.

    Raises:
      TypeError: if it holds one.
    """

    def __init__(self, value: Any):
        held = [cell.cell_contents for cell in getattr(value, "__closure__", None) or () if cell != _EMPTY]
        held += vars(value).values() if hasattr(value, "__dict__") else []
        if any(isinstance(one, Tracer) for one in held):
            raise TypeError(
                f"`fun` must return arrays in trees that JAX knows; got {type(value).__name__}, which holds an array: "
                "register it with `jax.tree_util`."
            )
        self._value = value

    def given(self) -> Any:
        """The value, or its copy if it can be written into."""
        return self._value.copy() if isinstance(self._value, np.ndarray) else self._value


_EMPTY = types.CellType()


def _called(module: Any, *args: Any, **kwargs: Any) -> Any:
    return module(*args, **kwargs)


def _is_kept(leaf: Any) -> bool:
    return isinstance(leaf, _Kept)


jax.tree_util.register_pytree_node(_Kept, lambda kept: ((), kept), lambda kept, _: kept)
