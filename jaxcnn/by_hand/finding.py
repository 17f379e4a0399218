"""Recognizes convolutions, pools and ReLUs in a jaxpr's equations.

It does so however they were written.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal, Var

from jaxcnn.by_hand.jaxprs import literal, written_in
from jaxcnn.ops import rectifiers

OPS = ("conv", "max_pool", "sum_pool", "relu")


class Found(NamedTuple):
    """An operation that `by_hand` knows."""

    op: str  # of OPS
    operands: tuple[Any, ...]  # variables, or literals
    options: Mapping[str, Any]  # with the names of lax
    ours: bool = False  # already an operation of this library, which keeps its rule
    same_gradient: bool = True  # whether our operation has the same gradient everywhere


class Definitions:
    """The equations of a jaxpr, by the variable that each defines."""

    def __init__(self) -> None:
        self._equations: dict[Var, JaxprEqn] = {}

    def add(self, equation: JaxprEqn) -> None:
        """Notes an equation."""
        for variable in equation.outvars:
            self._equations[variable] = equation

    def of(self, operand: Any) -> JaxprEqn | None:
        """Returns the equation that computes the operand.

        It is None if the operand is a literal or an argument.
        """
        return None if isinstance(operand, Literal) else self._equations.get(operand)

    def is_zero(self, operand: Any) -> bool:
        """Whether the jaxpr shows that the operand is zero everywhere.

        The operand may have any shape and dtype.
        """
        value = literal(operand)
        if value is not None:
            return jnp.ndim(value) == 0 and bool(value == 0)
        equation = self.of(operand)
        if equation is None or equation.primitive.name not in ("broadcast_in_dim", "convert_element_type"):
            return False
        return self.is_zero(equation.invars[0])


def find(equation: JaxprEqn, definitions: Definitions) -> Found | None:
    """Recognizes the operation of an equation.

    It is None if `by_hand` does not know it.
    """
    name, params = equation.primitive.name, equation.params
    if name == "conv_general_dilated":
        return Found("conv", tuple(equation.invars), params)
    if name in ("reduce_window_max", "reduce_window_sum"):
        return Found("max_pool" if name.endswith("max") else "sum_pool", tuple(equation.invars), params)
    if name == "reduce_window":
        return _reduced_window(equation)
    if name == "custom_vjp_call" and written_in(equation, rectifiers.__file__) == "_rectify":
        return Found("relu", tuple(equation.invars), {}, ours=True)
    rectified, result = _rectified(equation, definitions), equation.outvars[0] if equation.outvars else None
    if rectified is None or _type(rectified) != _type(result):
        return None
    return Found("relu", (rectified,), {}, same_gradient=name == "custom_jvp_call")


def _reduced_window(equation: JaxprEqn) -> Found | None:
    """A `reduce_window` that computes the maximum, starting from -inf; else None."""
    params = dict(equation.params)
    jaxpr, _ = params.pop("jaxpr"), params.pop("consts", None)
    steps = getattr(jaxpr, "jaxpr", jaxpr)
    if len(equation.invars) != 2 or [step.primitive.name for step in steps.eqns] != ["max"]:
        return None
    (step,) = steps.eqns
    if set(map(id, step.invars)) != set(map(id, steps.invars)) or step.outvars != steps.outvars:
        return None
    start = literal(equation.invars[1])
    if start is None or not jnp.isneginf(start):
        return None
    return Found("max_pool", (equation.invars[0],), params)


def _type(operand: Any) -> tuple[Any, Any]:
    return operand.aval.shape, operand.aval.dtype


# A ReLU is written as `jax.nn.relu(x)`, whose jaxpr is a custom derivative round max(x, 0); as `jnp.maximum(x, 0)`; or
# as `jnp.where(x > 0, x, 0)`, a jitted select of two broadcast operands. Our own is max(x, 0) with a derivative rule.


def _rectified(equation: JaxprEqn, definitions: Definitions) -> Any:
    """The operand of a ReLU.

    It is None if the equation is not a ReLU.
    """
    name, operands = equation.primitive.name, equation.invars
    if not any(jnp.issubdtype(getattr(result.aval, "dtype", bool), jnp.floating) for result in equation.outvars):
        return None
    if name == "max":
        first, second = operands
        rectified = first if definitions.is_zero(second) else second if definitions.is_zero(first) else None
        return None if _is_variance(rectified, definitions) else rectified
    if name == "custom_jvp_call":
        return _of_jax_nn(equation)
    if name == "select_n" and len(operands) == 3:
        test, if_false, if_true = operands
        return _selected(test, if_false, if_true, definitions)
    if name in ("jit", "pjit") and equation.params["name"] == "_where":
        return _of_where(equation, definitions)
    return None


def _is_variance(operand: Any, definitions: Definitions) -> bool:
    """Whether the operand is a variance, which normalizations clip.

    It is `E[x^2] - E[x]^2` or `jnp.var`, clipped at 0.
    """
    step = None if operand is None else definitions.of(operand)
    if step is None or step.primitive.name != "sub":
        return step is not None and step.params.get("name") == "_var"
    less = definitions.of(step.invars[1])
    return less is not None and (
        less.primitive.name == "square"
        or (less.primitive.name == "integer_pow" and less.params["y"] == 2)
        or (less.primitive.name == "mul" and less.invars[0] is less.invars[1])
    )


def _of_jax_nn(equation: JaxprEqn) -> Any:
    return equation.invars[0] if written_in(equation, os.path.dirname(jax.__file__)) == "relu" else None


def _selected(test: Any, if_false: Any, if_true: Any, definitions: Definitions) -> Any:
    comparison = definitions.of(test)
    if comparison is None or comparison.primitive.name not in ("gt", "ge", "lt", "le"):
        return None
    left, right = comparison.invars
    if comparison.primitive.name in ("lt", "le"):  # then the other is the larger
        left, right = right, left
    if definitions.is_zero(right):  # left > 0
        return left if if_true is left and definitions.is_zero(if_false) else None
    if definitions.is_zero(left):  # 0 > right
        return right if if_false is right and definitions.is_zero(if_true) else None
    return None


def _of_where(equation: JaxprEqn, definitions: Definitions) -> Any:
    jaxpr = equation.params["jaxpr"].jaxpr
    outside = dict(zip(jaxpr.invars, equation.invars, strict=True))
    own = Definitions()
    for step in jaxpr.eqns:
        own.add(step)
    last = own.of(jaxpr.outvars[0])
    if last is None or last.primitive.name != "select_n" or len(last.invars) != 3:
        return None

    def seen_from_outside(operand: Any) -> Any:  # broadcasts of scalars, and changes of dtype, aside
        step = own.of(operand)
        while step is not None and step.primitive.name in ("broadcast_in_dim", "convert_element_type"):
            inner: Any = step.invars[0]
            if inner.aval.shape and inner.aval.shape != operand.aval.shape:
                return None
            operand, step = inner, own.of(inner)
        return operand if isinstance(operand, Literal) else outside.get(operand)

    test, if_false, if_true = map(seen_from_outside, last.invars)
    return _selected(test, if_false, if_true, definitions)
