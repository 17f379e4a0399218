"""Values inside a function, found in its jaxpr by name or by position; they are given out, or taken in."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, DropVar, JaxprEqn, Literal

from jaxcnn import ops
from jaxcnn.by_hand.finding import OPS, Definitions, find
from jaxcnn.by_hand.jaxprs import ENTERED, is_jaxpr, written_in

# What is called once, and may as well stand where it is called. A loop's values are many; those inside of a derivative
# rule that a function brings are not what its gradient goes through.
_CALLS = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2")
_RULES = ("custom_jvp_call", "custom_vjp_call")
_OURS = {"convolution": "conv", "max_and_switches": "max_pool"}  # the functions in `ops` that have the rules


class Stage(NamedTuple):
    """A value inside a jaxpr."""

    path: tuple[int, ...]  # places of the equations that lead to it, from outside; the last one computes it
    output: int  # which of that equation's results
    shape: tuple[int, ...]
    dtype: Any


def stages(closed: ClosedJaxpr) -> dict[str, Stage]:
    """The floating values of a jaxpr that have names, in the order in which they are computed.

    A value is named by `checkpoint_name`; as what leaves a `jax.named_scope` last, by the scopes from outside,
    `"block/conv"`; or by its operation and place, `"conv_2"`, `"max_pool_0"`, `"sum_pool_0"`, `"relu_1"`. A name that
    comes again gets `:1`, `:2`. Those of the function go before places.

    Args:
      closed: of a function. Its loops, branches and own derivative rules are not entered.
    """
    found = _Names()
    found.look(closed.jaxpr, (), ())
    named = {**found.places, **found.scopes, **found.names}
    # a call's result comes after what the call computes
    return dict(sorted(named.items(), key=lambda item: (*item[1].path, float("inf"))))


class _Names:
    """Values by name, gathered from one jaxpr and those that it calls."""

    def __init__(self) -> None:
        self.names: dict[str, Stage] = {}
        self.scopes: dict[str, Stage] = {}
        self.places: dict[str, Stage] = {}
        self._count: Counter[str] = Counter()

    def look(self, jaxpr: Any, path: tuple[int, ...], outside: tuple[str, ...]) -> None:
        """Goes through a jaxpr that is called at `path`, inside the scopes `outside`."""
        definitions = Definitions()
        for at, equation in enumerate(jaxpr.eqns):
            here, name = (*path, at), equation.primitive.name
            operation = _operation(equation, definitions)
            if operation:
                self._add(self.places, f"{operation}_{self._count[operation]}", here, equation)
                self._count[operation] += 1
            elif name == "name":
                self._add(self.names, equation.params["name"], here, equation)
            elif name in _CALLS:
                self.look(_called(equation), here, (*outside, *_scopes(equation)))
            definitions.add(equation)
        self._look_for_scopes(jaxpr, path, outside)

    def _look_for_scopes(self, jaxpr: Any, path: tuple[int, ...], outside: tuple[str, ...]) -> None:
        """A scope is a run of equations; the values that are read after it leave it."""
        last_read = {v: at for at, e in enumerate(jaxpr.eqns) for v in e.invars if not isinstance(v, Literal)}
        last_read |= {v: len(jaxpr.eqns) for v in jaxpr.outvars if not isinstance(v, Literal)}
        inside: list[tuple[str, int]] = []  # the scopes round an equation, and where each began
        for at, scopes in enumerate([*map(_scopes, jaxpr.eqns), ()]):
            shared = 0
            while shared < min(len(inside), len(scopes)) and inside[shared][0] == scopes[shared]:
                shared += 1
            while len(inside) > shared:
                name = "/".join((*outside, *(scope for scope, _ in inside)))
                _, start = inside.pop()
                results = [
                    (place, output, last_read.get(variable, -1) >= at)
                    for place in range(start, at)
                    for output, variable in enumerate(jaxpr.eqns[place].outvars)
                    if _floating(variable)
                ]
                if results:
                    place, output, _ = ([one for one in results if one[2]] or results)[-1]
                    self._add(self.scopes, name, (*path, place), jaxpr.eqns[place], output)
            inside += [(scope, at) for scope in scopes[shared:]]

    def _add(
        self, to: dict[str, Stage], name: str, path: tuple[int, ...], equation: JaxprEqn, output: int = 0
    ) -> None:
        variable: Any = equation.outvars[output]
        if not _floating(variable):
            return
        again, first = 0, name
        while name in to:
            again += 1
            name = f"{first}:{again}"
        to[name] = Stage(path, output, tuple(variable.aval.shape), variable.aval.dtype)


def _operation(equation: JaxprEqn, definitions: Definitions) -> str:
    """Which operation of `by_hand` the equation is, or stands for; empty if none."""
    found = find(equation, definitions)
    if found is not None:
        return found.op
    named = str(equation.params.get("name", ""))
    if named.endswith("_by_hand") and named.removesuffix("_by_hand") in OPS:  # rewritten
        return named.removesuffix("_by_hand")
    if equation.primitive.name in _RULES:
        ours = _OURS.get(written_in(equation, os.path.dirname(ops.__file__)))
        if ours:
            return ours
        inside = _operations(_called(equation))
        return inside[0] if len(inside) == 1 and len(equation.outvars) == 1 else ""
    return ""


def _operations(jaxpr: Any) -> list[str]:
    """All operations in a jaxpr, at every depth."""
    definitions, found = Definitions(), []
    for equation in jaxpr.eqns:
        one = find(equation, definitions)
        definitions.add(equation)
        if one is not None:
            found.append(one.op)
            continue
        for value in equation.params.values():
            if is_jaxpr(value):
                found += _operations(getattr(value, "jaxpr", value))
    return found


def _called(equation: JaxprEqn) -> Any:
    """The open jaxpr that the equation calls."""
    (field,) = ENTERED[equation.primitive.name]
    return getattr(equation.params[field], "jaxpr", equation.params[field])


def _scopes(equation: JaxprEqn) -> tuple[str, ...]:
    """The named scopes round an equation, without the transformations that it went through."""
    stack = equation.source_info.name_stack.stack
    return tuple(one.name for one in stack if type(one).__name__ == "Scope")


def _floating(variable: Any) -> bool:
    dtype = getattr(variable.aval, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.floating)


def with_stage(closed: ClosedJaxpr, stage: Stage) -> ClosedJaxpr:
    """The jaxpr with one more result, the stage."""
    jaxpr, consts, place = _inlined(closed, stage.path)
    variable = jaxpr.eqns[place].outvars[stage.output]
    told = jaxpr.debug_info._replace(result_paths=None)
    return ClosedJaxpr(jaxpr.replace(outvars=[*jaxpr.outvars, variable], debug_info=told), consts)


def from_stage(closed: ClosedJaxpr, stage: Stage) -> ClosedJaxpr:
    """The jaxpr with one more argument, which stands for the stage wherever that is read."""
    jaxpr, consts, place = _inlined(closed, stage.path)
    return ClosedJaxpr(given(jaxpr, jaxpr.eqns[place].outvars[stage.output]), consts)


def given(jaxpr: Any, variable: Any) -> Any:
    """The open jaxpr with a variable that is an argument, the last one, and not computed."""
    unread = DropVar(variable.aval)
    equations = [e.replace(outvars=[unread if v is variable else v for v in e.outvars]) for e in jaxpr.eqns]
    names = jaxpr.debug_info.arg_names
    told = jaxpr.debug_info if names is None else jaxpr.debug_info._replace(arg_names=(*names, "stage"))
    return jaxpr.replace(invars=[*jaxpr.invars, variable], eqns=equations, debug_info=told)


# A call's jaxpr has variables of its own. In the place of the call stand its equations, reading the call's operands for
# its arguments; whatever read the call's results reads its results.


def _inlined(closed: ClosedJaxpr, path: tuple[int, ...]) -> tuple[Any, list[Any], int]:
    """The open jaxpr with the calls along `path` replaced by what they call, its constants, and the last place."""
    jaxpr, consts, place = closed.jaxpr, list(closed.consts), path[0]
    equations, outvars, constvars = list(jaxpr.eqns), list(jaxpr.outvars), list(jaxpr.constvars)
    for step in path[1:]:
        call = equations[place]
        inner = _called(call)
        constvars += inner.constvars
        consts += getattr(call.params[ENTERED[call.primitive.name][0]], "consts", ())
        operands = dict(zip(inner.invars, call.invars, strict=True))
        results = dict(zip(call.outvars, _read(inner.outvars, operands), strict=True))
        body = [e.replace(invars=_read(e.invars, operands)) for e in inner.eqns]
        rest = [e.replace(invars=_read(e.invars, results)) for e in equations[place + 1 :]]
        equations[place:] = [*body, *rest]
        outvars = _read(outvars, results)
        place += step
    return jaxpr.replace(eqns=equations, outvars=outvars, constvars=constvars), consts, place


def _read(operands: Sequence[Any], instead: Mapping[Any, Any]) -> list[Any]:
    return [one if isinstance(one, Literal) else instead.get(one, one) for one in operands]
