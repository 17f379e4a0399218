"""Rewrites a jaxpr, at every depth.

It replaces every operation that `by_hand` knows by its rule.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, JaxprEqn, jaxpr_as_fun

from jaxcnn import ops
from jaxcnn.by_hand.choosing import Choice, choose
from jaxcnn.by_hand.finding import OPS, Definitions, Found, find
from jaxcnn.by_hand.jaxprs import ENTERED, RULED, call_of, in_place_of, is_jaxpr, short, with_equations, written_in

_FOLDERS = os.path.dirname(ops.__file__), os.path.dirname(jax.__file__)


class Seen(NamedTuple):
    """An operation that was found, and the choice made for it."""

    where: tuple[str, ...]  # the scopes and functions around it, the outermost first
    operation: Found
    choice: Choice


class Rewriter:
    """Rewrites the jaxprs of one trace.

    Args:
      rules: a rule for every operation, by its name.
    """

    def __init__(self, rules: Mapping[str, str | Callable[..., Any]]):
        self.seen: list[Seen] = []
        self.passed_by: list[tuple[tuple[str, ...], str]] = []  # functions that are not entered
        self._rules = rules
        self._jaxprs: dict[int, tuple[Any, Any, list[Seen]]] = {}  # one that is called twice stays one
        self._calls: dict[Any, JaxprEqn] = {}
        self._where: tuple[str, ...] = ()
        self._ruled = False  # inside a function that brings its derivative

    def rewrite(self, jaxpr: Any) -> Any:
        """Returns the jaxpr with other equations.

        It is the same object if nothing changes.
        """
        equations, definitions, changed = [], Definitions(), False
        for equation in jaxpr.eqns:
            outside = self._where
            self._where = (*outside, *_scopes(equation))
            new = self._equation(equation, definitions)
            self._where = outside
            changed |= new is not equation
            definitions.add(equation)
            equations.append(new)
        return with_equations(jaxpr, equations) if changed else jaxpr

    def _equation(self, equation: JaxprEqn, definitions: Definitions) -> JaxprEqn:
        name, function = equation.primitive.name, str(equation.params.get("name", ""))
        if name in ("jit", "pjit") and function.removesuffix("_by_hand") in OPS and function.endswith("_by_hand"):
            operation = Found(function.removesuffix("_by_hand"), tuple(equation.invars), {}, ours=True)
            self.seen.append(Seen(self._where, operation, Choice(None, "as it is", "by hand already")))
            return equation
        operation = find(equation, definitions)
        if operation is not None:
            return self._operation(equation, operation)
        fields = ENTERED.get(name)
        if fields is None:
            if any(map(is_jaxpr, equation.params.values())) and not name.startswith(("reduce", "scatter", "select")):
                self.passed_by.append((self._where, name))
            return equation
        if name in RULED and any(written_in(equation, folder) for folder in _FOLDERS):
            return equation  # of this library, fast already, or of JAX: `relu6` is no ReLU
        outside, self._where = self._where, (*self._where, *_name(equation))
        ruled, self._ruled = self._ruled, self._ruled or name in RULED
        enter = self._in_shard_map(equation) if name == "shard_map" else self._shared
        new = {field: _mapped(enter, equation.params[field]) for field in fields}
        self._where, self._ruled = outside, ruled
        if all(_same(new[field], equation.params[field]) for field in fields):
            return equation
        return equation.replace(params={**equation.params, **new})

    def _operation(self, equation: JaxprEqn, operation: Found) -> JaxprEqn:
        rule = self._rules[operation.op]
        choice = choose(operation, rule)
        if choice.function is not None and self._ruled:
            choice = choice._replace(why=f"{choice.why}; the value alone, as the gradient is a rule of the function")
        self.seen.append(Seen(self._where, operation, choice))
        if choice.function is None:
            return equation
        function: Any = choice.function
        function.__name__ = f"{operation.op}_by_hand"
        types = [operand.aval for operand in operation.operands]
        key = operation.op, *map(str, (*types, equation.outvars[0].aval)), str(sorted(operation.options.items()))
        if key not in self._calls:
            try:
                self._calls[key] = call_of(function, types, equation)
            except Exception as error:
                if callable(rule):
                    error.add_note(
                        f"jaxcnn.by_hand: this was `rules[{operation.op!r}]`, for {', '.join(map(short, types))}."
                    )
                raise
        return in_place_of(equation, self._calls[key], operation.operands)

    def _shared(self, jaxpr: Any) -> Any:
        known = self._jaxprs.get(id(jaxpr))
        if known is None:
            before = len(self.seen)
            known = self._jaxprs[id(jaxpr)] = (jaxpr, self.rewrite(jaxpr), self.seen[before:])
        else:
            self.seen += known[2]
        return known[1]

    def _in_shard_map(self, equation: JaxprEqn) -> Callable[[Any], Any]:
        """Rewrites the body where its mesh axes are known.

        This is inside a trace of it.
        """
        params = equation.params

        def enter(body: Any) -> Any:
            rewritten = []

            def traced(*operands: Any) -> Any:
                outside = self._calls, self._jaxprs
                self._calls, self._jaxprs = {}, {}  # what is traced here belongs to these axes
                rewritten.append(self.rewrite(body))
                self._calls, self._jaxprs = outside
                return jaxpr_as_fun(body if hasattr(body, "consts") else ClosedJaxpr(body, ()))(*operands)

            mapped = jax.shard_map(
                traced,
                mesh=params["mesh"],
                in_specs=tuple(params["in_specs"]),
                out_specs=list(params["out_specs"]),
                axis_names=set(params["newly_manual_axes"]),
                check_vma=params["check_vma"],
            )
            jax.make_jaxpr(mapped)(*[operand.aval for operand in equation.invars])
            return rewritten[0]

        return enter


def _scopes(equation: JaxprEqn) -> tuple[str, ...]:
    scope = str(equation.source_info.name_stack)
    return tuple(scope.split("/")) if scope else ()


def _name(equation: JaxprEqn) -> tuple[str, ...]:
    name = equation.params.get("name")
    return (str(name),) if name else (equation.primitive.name,)


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    return tuple(map(function, value)) if isinstance(value, tuple) else function(value)


def _same(new: Any, old: Any) -> bool:
    return all(a is b for a, b in zip(new, old, strict=True)) if isinstance(old, tuple) else new is old
