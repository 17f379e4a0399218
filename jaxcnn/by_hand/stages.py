"""Finds values inside a jaxpr, by name or by position.

They can be read or replaced.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, DropVar, JaxprEqn, Literal, jaxpr_as_fun

from jaxcnn import ops
from jaxcnn.by_hand.finding import OPS, Definitions, find
from jaxcnn.by_hand.jaxprs import ENTERED, RULED, is_jaxpr, written_in

# What is called once, and may as well stand where it is called. A loop's values are many; those inside of a derivative
# rule that a function brings are not what its gradient goes through.
_CALLS = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2")
_OURS = {"convolution": "conv", "max_and_switches": "max_pool"}  # the functions in `ops` that have the rules


class Stage(NamedTuple):
    """A value inside a jaxpr."""

    path: tuple[int, ...]  # positions of the equations that lead to it, the outermost first; the last one computes it
    output: int  # number of the value among the results of that equation
    shape: tuple[int, ...]
    dtype: Any


def stages(jaxpr: Any) -> dict[str, Stage]:
    """Finds the floating values of a jaxpr that have names.

    They are in the order in which they are computed.

    There are three kinds of names: that of `checkpoint_name`; the path of the scopes, as `"block/conv"`, for the last
    value that leaves a `jax.named_scope`; and the operation with its number, as `"conv_2"`, `"max_pool_0"`,
    `"sum_pool_0"` and `"relu_1"`. A repeated name gets `:1`, `:2` and so on. If two kinds give the same name, it stands
    for the value of the earlier kind in this list.

    Args:
      jaxpr: of a function, closed or open. Its loops, branches and custom derivative rules are not entered.

    Returns:
      The stages, by name.
    """
    names = _Names()
    names.look(getattr(jaxpr, "jaxpr", jaxpr), (), ())
    named = {**names.places, **names.scopes, **names.names}
    # a call's result comes after what the call computes
    return dict(sorted(named.items(), key=lambda item: (*item[1].path, float("inf"))))


class _Names:
    """Values by name, from a jaxpr and those that it calls."""

    def __init__(self) -> None:
        self.names: dict[str, Stage] = {}
        self.scopes: dict[str, Stage] = {}
        self.places: dict[str, Stage] = {}
        self._count: Counter[str] = Counter()

    def look(self, jaxpr: Any, path: tuple[int, ...], outside: tuple[str, ...]) -> None:
        """Collects the values of a jaxpr that is called at `path`.

        The call is inside the scopes `outside`.
        """
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
        """Collects the values that leave each scope.

        A scope is a sequence of equations; later ones read these values.
        """
        last_read = {v: at for at, e in enumerate(jaxpr.eqns) for v in e.invars if not isinstance(v, Literal)}
        last_read |= {v: len(jaxpr.eqns) for v in jaxpr.outvars if not isinstance(v, Literal)}
        inside: list[tuple[str, int]] = []  # the scopes around an equation, and where each began
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

    def _add(self, to: dict[str, Stage], name: str, path: tuple[int, ...], equation: JaxprEqn, output: int = 0) -> None:
        variable: Any = equation.outvars[output]
        if not _floating(variable):
            return
        again, first = 0, name
        while name in to:
            again += 1
            name = f"{first}:{again}"
        to[name] = Stage(path, output, tuple(variable.aval.shape), variable.aval.dtype)


def _operation(equation: JaxprEqn, definitions: Definitions) -> str:
    """The operation of `by_hand` that the equation is or calls.

    It is empty if there is none.
    """
    operation = find(equation, definitions)
    if operation is not None:
        return operation.op
    named = str(equation.params.get("name", ""))
    if named.endswith("_by_hand") and named.removesuffix("_by_hand") in OPS:  # rewritten
        return named.removesuffix("_by_hand")
    if equation.primitive.name in RULED:
        ours = _OURS.get(written_in(equation, os.path.dirname(ops.__file__)))
        if ours:
            return ours
        inside = _operations(_called(equation))
        return inside[0] if len(inside) == 1 and len(equation.outvars) == 1 else ""
    return ""


def _operations(jaxpr: Any) -> list[str]:
    """All operations in a jaxpr, at every depth."""
    definitions, operations = Definitions(), []
    for equation in jaxpr.eqns:
        one = find(equation, definitions)
        definitions.add(equation)
        if one is not None:
            operations.append(one.op)
            continue
        for value in equation.params.values():
            if is_jaxpr(value):
                operations += _operations(getattr(value, "jaxpr", value))
    return operations


def _called(equation: JaxprEqn) -> Any:
    """The open jaxpr that the equation calls, if any."""
    (field,) = ENTERED[equation.primitive.name]
    return getattr(equation.params[field], "jaxpr", equation.params[field])


def _scopes(equation: JaxprEqn) -> tuple[str, ...]:
    """The named scopes around an equation, without the names of transformations."""
    stack = equation.source_info.name_stack.stack
    return tuple(one.name for one in stack if type(one).__name__ == "Scope")


def _floating(variable: Any) -> bool:
    dtype = getattr(variable.aval, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.floating)


# A jaxpr is run equation by equation, and so are the calls on the way to a stage; every other call stays one.


def run(
    closed: ClosedJaxpr, operands: Sequence[Any], wanted: Sequence[Stage] = (), given: Mapping[Stage, Any] | None = None
) -> tuple[list[Any], list[Any]]:
    """Evaluates a jaxpr and returns values inside it.

    Args:
      closed: the closed jaxpr of a function.
      operands: its arguments.
      wanted: the stages whose values are returned.
      given: values that replace the computed values of stages.

    Returns:
      The results of the function, and the values of the wanted stages, with replaced values included.
    """
    instead = {(stage.path, stage.output): value for stage, value in (given or {}).items()}
    places = {(stage.path, stage.output) for stage in wanted} | set(instead)
    entered = {path[:length] for path, _ in places for length in range(1, len(path))}
    values: dict[tuple[tuple[int, ...], int], Any] = {}

    def level(jaxpr: Any, consts: Sequence[Any], operands: Sequence[Any], path: tuple[int, ...]) -> list[Any]:
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *operands], strict=True))

        def read(one: Any) -> Any:
            return one.val if isinstance(one, Literal) else known[one]

        for at, equation in enumerate(jaxpr.eqns):
            here = (*path, at)
            if here in entered:
                called = equation.params[ENTERED[equation.primitive.name][0]]
                inside = level(_called(equation), getattr(called, "consts", ()), list(map(read, equation.invars)), here)
                results = dict(enumerate(inside))
            else:
                kept = {o: v for o, v in enumerate(equation.outvars) if not isinstance(v, DropVar)}
                reads = list(dict.fromkeys(one for one in equation.invars if not isinstance(one, Literal)))
                alone = _alone(jaxpr, equation, reads, list(kept.values()))
                results = dict(zip(kept, jaxpr_as_fun(alone)(*map(read, reads)), strict=True))
            for output in list(results):
                if (here, output) in places:
                    results[output] = values[here, output] = instead.get((here, output), results[output])
            known.update((equation.outvars[output], result) for output, result in results.items())
        return list(map(read, jaxpr.outvars))

    results = level(closed.jaxpr, closed.consts, operands, ())
    return results, [values[stage.path, stage.output] for stage in wanted]


def _alone(jaxpr: Any, equation: JaxprEqn, reads: Sequence[Any], results: Sequence[Any]) -> ClosedJaxpr:
    told = jaxpr.debug_info._replace(arg_names=None, result_paths=None)
    parts = {"invars": list(reads), "outvars": list(results), "eqns": [equation], "effects": equation.effects}
    return ClosedJaxpr(jaxpr.replace(constvars=[], debug_info=told, **parts), [])
