"""Chooses what replaces each operation, and says why.

It is a rule of the user, ours, or XLA's own.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType

from jaxcnn import ops
from jaxcnn.by_hand.finding import OPS, Found
from jaxcnn.ops.conv.api import spec_of
from jaxcnn.ops.conv.select import methods
from jaxcnn.ops.pool.any_layout import reduce_window_sum

Rules = Mapping[str, str | Callable[..., Any]]

_WORDS = {op: ("auto", "hand", "autodiff") for op in OPS} | {
    "relu": ("auto", "hand", "autodiff", "standard", "guided", "deconvnet")
}
_PARTS = {"outputs": "forward", "inputs": "input gradient", "kernel": "kernel gradient"}


class Choice(NamedTuple):
    """What replaces an operation."""

    function: Callable[..., jax.Array] | None  # of its operands; None leaves it as it is
    became: str
    why: str


def checked_rules(rules: Rules | None, rule: str) -> dict[str, str | Callable[..., Any]]:
    """Completes the rules: one for every operation.

    Raises:
      TypeError: if `rules` is not a mapping.
      ValueError: if an operation or a rule is unknown.
    """
    if rule not in ("auto", "hand", "autodiff"):
        raise ValueError(f"`rule` must be 'auto', 'hand' or 'autodiff'; got {rule!r}.")
    if not isinstance(rules, Mapping | None):
        raise TypeError(f"`rules` must map operations to rules, as in {{'relu': 'guided'}}; got {rules!r}.")
    for op, own in (rules or {}).items():
        if op not in OPS:
            raise ValueError(f"`rules` must be for {', '.join(OPS)}; got {op!r}.")
        if not callable(own) and own not in _WORDS[op]:
            raise ValueError(f"`rules[{op!r}]` must be a function, or one of {', '.join(_WORDS[op])}; got {own!r}.")
    return dict.fromkeys(OPS, rule) | dict(rules or {})


def choose(operation: Found, rule: str | Callable[..., Any]) -> Choice:
    """Chooses what replaces the operation under this rule."""
    if callable(rule):
        name = getattr(rule, "__name__", type(rule).__name__)
        return Choice(lambda *operands: rule(*operands, **operation.options), name, "a rule of the caller")
    if operation.ours and rule in ("auto", "hand", "autodiff"):
        return Choice(None, "as it is", "ours already")
    if rule == "autodiff":
        return Choice(None, "XLA's own", "as asked for")
    if rule == "hand" and not operation.same_gradient:
        return Choice(None, "XLA's own", "its gradient at 0, or its value at NaN, differs from ours")
    refused = _refused(operation)
    if refused:
        return Choice(None, "XLA's own", refused)
    if rule != "auto":
        return Choice(_ours(operation, rule), f"ours, {rule}", "as asked for")
    return _faster(operation)


def _ours(operation: Found, rule: Any = "hand") -> Callable[..., jax.Array]:
    options = dict(operation.options)
    if operation.op == "conv":
        return lambda lhs, rhs: ops.conv_general_dilated(lhs, rhs, **options)
    if operation.op == "max_pool":
        return lambda operand: ops.reduce_window_max(operand, **options)
    if operation.op == "sum_pool":
        return lambda operand: reduce_window_sum(operand, **options)
    return lambda x: ops.relu(x, rule=rule)


def _refused(operation: Found) -> str:
    """The reason why our operation cannot compute this.

    It is empty if it can.
    """
    kinds: list[Any] = [operand.aval for operand in operation.operands]
    dtypes = {kind.dtype for kind in kinds}
    if not all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes):
        return f"no real floating numbers: {', '.join(sorted(map(str, dtypes)))}"
    if len(dtypes) > 1:
        return f"two dtypes: {', '.join(sorted(map(str, dtypes)))}"
    sizes = [
        *(kinds[0].shape[axis] for axis in _moving(operation)),
        *jax.tree.leaves(dict(operation.options).get("padding")),
    ]
    if not all(isinstance(size, int) for size in sizes):
        return "symbolic sizes"
    if operation.op == "conv" and len(kinds[0].shape) not in (3, 4, 5):
        return f"{len(kinds[0].shape) - 2} spatial axes"
    if operation.op in ("max_pool", "sum_pool"):
        options = operation.options
        moved = _moving(operation)
        if not moved:
            return "a window of one cell"
        if moved[-1] - moved[0] > 2:
            return "a window that spans more than three axes"
        if set(options["base_dilation"]) != {1}:
            return "a dilated operand"
        sharding = kinds[0].sharding
        if AxisType.Explicit in sharding.mesh.axis_types and any(axis is not None for axis in tuple(sharding.spec)[1:]):
            return "an explicit sharding of more than the first axis"
    return ""


def _moving(operation: Found) -> list[int]:
    """The axes over which a window slides."""
    options = operation.options
    if operation.op == "relu":
        return []
    if operation.op == "conv":
        return list(options["dimension_numbers"].lhs_spec[2:])
    windows = zip(options["window_dimensions"], options["window_strides"], options["padding"], strict=True)
    return [axis for axis, window in enumerate(windows) if window != (1, 1, (0, 0))]


def _faster(operation: Found) -> Choice:
    """Our operation where it was measured as faster, else XLA's."""
    if operation.op not in ("conv", "max_pool"):
        return Choice(None, "XLA's own", "as fast; a rule can be given")
    if jax.default_backend() != "cpu":
        return Choice(None, "XLA's own", f"not measured on {jax.default_backend()}")
    if operation.op == "max_pool":
        return Choice(_ours(operation), "ours", "measured as faster")
    known = _methods(operation)
    ways = set(known.values())
    if ways == {"lax"}:
        return Choice(None, "XLA's own", "nothing faster was measured")
    text = ways.pop() if len(ways) == 1 else ", ".join(f"{_PARTS[part]} {way}" for part, way in known.items())
    return Choice(_ours(operation), f"ours, {text}", "measured as faster")


def _methods(operation: Found) -> dict[Any, str]:
    """The methods that compute a convolution and its gradients."""
    known: dict[Any, str] = {}
    jax.eval_shape(  # they are chosen by arrays, or tracers of them
        lambda lhs, rhs: known.update(methods(lhs, rhs, spec_of(lhs, rhs, **operation.options))),
        *[operand.aval for operand in operation.operands],
    )
    return known
