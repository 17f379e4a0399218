"""Reads and changes jaxprs, for every supported version of jax."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from jax.extend.core.primitives import closed_call_p

KNOWN = ("0.10", "0.11", "0.12")  # versions of jax with which the tests of this package pass

# The primitives with jaxprs that compute what the primitive gives, once or many times: these are entered. The names of
# the parameters that hold them; of rules that a function brings, the function alone.
ENTERED = {
    "jit": ("jaxpr",),
    "pjit": ("jaxpr",),
    "scan": ("jaxpr",),
    "while": ("cond_jaxpr", "body_jaxpr"),
    "cond": ("branches",),
    "checkpoint": ("jaxpr",),
    "remat2": ("jaxpr",),
    "closed_call": ("call_jaxpr",),
    "core_call": ("call_jaxpr",),
    "custom_jvp_call": ("call_jaxpr",),
    "custom_vjp_call": ("call_jaxpr",),
    "shard_map": ("jaxpr",),
}

RULED = ("custom_jvp_call", "custom_vjp_call")  # functions that bring their derivative


def require_known_version() -> None:
    """Refuses a version of jax with which this was not tested.

    Raises:
      NotImplementedError: if the installed version is such a version.
    """
    if not jax.__version__.startswith(tuple(f"{version}." for version in KNOWN)):
        raise NotImplementedError(f"`by_hand` knows jax {KNOWN[0]} to {KNOWN[-1]}; got jax {jax.__version__}.")


def is_jaxpr(value: Any) -> bool:
    """Whether a value is a jaxpr, closed or open."""
    return isinstance(value, ClosedJaxpr | Jaxpr)


def with_equations(jaxpr: Any, equations: Sequence[JaxprEqn]) -> Any:
    """Returns the jaxpr with other equations for the same variables.

    It is closed or open as before.
    """
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    if inner is jaxpr:
        return jaxpr.replace(eqns=list(equations))
    return jaxpr.replace(jaxpr=inner.replace(eqns=list(equations)))


def call_of(function: Callable[..., Any], types: Sequence[Any], model: JaxprEqn) -> JaxprEqn:
    """Makes an equation that calls `function`.

    Its operands have these types, and its results are those of `model`. The equation calls the jitted function. So one
    equation replaces one, and the variables around it stay the same.

    Raises:
      ValueError: if the result has another type than the result of `model`.
    """
    wide = any(_is_wide(kind) for kind in (*types, model.outvars[0].aval))
    wide = wide or jax.dtypes.canonicalize_dtype(np.float64) == np.float64
    with jax.disable_jit(False), jax.enable_x64(wide):  # the function may have been traced in a context of its own
        outer: Any = jax.make_jaxpr(jax.jit(function))(*types)
        inner: Any = outer
        # a result that is an operand passes by the call of a jitted function, and arrays that it brings are operands
        alone = len(outer.eqns) == 1 and not outer.consts
        alone = alone and outer.eqns[0].invars == outer.jaxpr.invars and outer.eqns[0].outvars == outer.jaxpr.outvars
        if not alone:
            inner = jax.make_jaxpr(function)(*types)
    wanted: Any = model.outvars[0].aval
    result_types = outer.out_avals
    if [(one.shape, one.dtype) for one in result_types] != [(wanted.shape, wanted.dtype)]:
        got = ", ".join(map(short, result_types)) or "nothing"
        raise ValueError(f"a rule must return {short(wanted)}, as {model.primitive} does; got {got}.")
    if any(isinstance(const, Tracer) for const in inner.consts):
        raise ValueError("a rule must read traced arrays only from its operands; got one that closes over another.")
    if alone:
        return outer.eqns[0]
    return model.replace(primitive=closed_call_p, params={"call_jaxpr": inner}, effects=inner.effects)


def _is_wide(kind: Any) -> bool:
    return kind.dtype in (np.float64, np.int64, np.uint64, np.complex128)


def in_place_of(equation: JaxprEqn, call: JaxprEqn, operands: Sequence[Any]) -> JaxprEqn:
    """Puts the call, with these operands, in the equation's place."""
    place = {"outvars": equation.outvars, "source_info": equation.source_info, "ctx": equation.ctx}
    return call.replace(invars=list(operands), **place)


def short(kind: Any) -> str:
    """Formats a type as a jaxpr does, `float32[8,3]`."""
    return kind.str_short() if hasattr(kind, "str_short") else str(kind)


def literal(operand: Any) -> Any:
    """Returns the value of an operand that is not computed.

    It is a literal or a constant; else the result is None.
    """
    return operand.val if isinstance(operand, Literal) else None


def written_in(equation: JaxprEqn, place: str) -> str:
    """Returns the name of the function that the equation calls.

    It is `""` if its file is neither `place` nor in it.
    """
    jaxpr = equation.params["call_jaxpr"]
    name, _, path = (getattr(jaxpr, "jaxpr", jaxpr).debug_info.func_src_info or "").partition(" at ")
    return name if place + os.sep in path or path.startswith(f"{place}:") else ""
