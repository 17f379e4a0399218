"""Reports what `by_hand` finds in a function, and what it replaces."""

import dataclasses
import inspect
import itertools
from collections.abc import Callable
from typing import Any

from jaxcnn.by_hand.jaxprs import short
from jaxcnn.by_hand.rewriting import Seen
from jaxcnn.by_hand.transform import ByHand, known_of


@dataclasses.dataclass(frozen=True)
class Replacement:
    """One operation of a function, and what replaces it.

    Args:
      where: the scopes and functions around it, the outermost first.
      op: name of the operation.
      operands: types of its operands, as `"float32[8,3]"`.
      became: what replaces it.
      why: the reason.
    """

    where: str
    op: str
    operands: tuple[str, ...]
    became: str
    why: str

    @property
    def replaced(self) -> bool:
        """Whether another implementation replaces the operation."""
        return self.became not in ("XLA's own", "as it is")


@dataclasses.dataclass(frozen=True)
class Report:
    """All operations that were found.

    It prints as a table, with equal operations in one line.

    Args:
      name: name of the function.
      replacements: the operations, in the order in which they are computed.
      passed_by: names of functions inside it that `by_hand` does not enter.
    """

    name: str
    replacements: tuple[Replacement, ...]
    passed_by: tuple[str, ...]

    def __str__(self) -> str:
        ours = sum(one.replaced for one in self.replacements)
        count = len(self.replacements)
        lines = [f"{self.name}: {count} operation{'s' * (count != 1)} found, {ours} replaced"]
        for (op, operands, became, why), group in itertools.groupby(self.replacements, _without_place):
            alike = list(group)
            where = alike[0].where if len(alike) == 1 else f"{alike[0].where} and {len(alike) - 1} more"
            lines.append(f"  {op:9s} {', '.join(operands)}  ->  {became} ({why}){f'  in {where}' if where else ''}")
        lines += [f"  not entered: {name}" for name in self.passed_by]
        return "\n".join(lines)


def _without_place(one: Replacement) -> tuple[str, tuple[str, ...], str, str]:
    return one.op, one.operands, one.became, one.why


def report(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Report:
    """Reports what `by_hand(fun)` finds for these arguments.

    It states what replaces each operation, and why. The function is traced with the arguments; nothing is computed.

    Args:
      fun: a function; or a function that `by_hand` returned, whose rules then apply.
      *args: its positional arguments.
      **kwargs: its keyword arguments.

    Returns:
      A report; `print` it, or read its `replacements`.
    """
    if inspect.ismethod(fun) and known_of(fun.__func__):
        fun, args = fun.__func__, (fun.__self__, *args)
    known = known_of(fun) or ByHand(fun, None, "auto")
    rewriter = known.examine(args, kwargs)
    name = getattr(known.fun, "__name__", type(known.fun).__name__)
    passed = tuple(" in ".join((inner, "/".join(where))) if where else inner for where, inner in rewriter.passed_by)
    return Report(name, tuple(map(_replacement, rewriter.seen)), passed)


def _replacement(seen: Seen) -> Replacement:
    types = tuple(short(operand.aval) for operand in seen.operation.operands)
    return Replacement("/".join(seen.where), seen.operation.op, types, seen.choice.became, seen.choice.why)
