"""The proof of a hand-written gradient, in one call."""

from collections.abc import Callable
from typing import Any

from jaxcnn.check import devices, proofs, transformations
from jaxcnn.check.problem import make_problem
from jaxcnn.check.report import Finding, Report, attempt, skipped

KINDS = ("differences", "reference", "adjoint", "value", "dtypes", "second_order", "transformations", "devices")


def check_vjp(
    fun: Callable[..., Any],
    *args: Any,
    reference: Callable[..., Any] | None = None,
    multilinear: tuple[int, ...] = (),
    batched: tuple[int, ...] = (),
    kinds: tuple[str, ...] | None = None,
    name: str | None = None,
) -> Report:
    """Proves the gradient of a function at one place; made for `jax.custom_vjp` functions, of anyone.

    Args:
      fun: a function of arrays that gives an array, or a tree of arrays. Floating arguments are differentiated, others
        are constants; bind what is no array beforehand. `fun` must be differentiable round `args`: keep away from
        kinks by more than 0.002, or leave out `"differences"` and `"second_order"`.
      *args: where; a few dozen elements are enough, the Jacobian is computed in full.
      reference: a function of the same arguments that JAX differentiates by itself.
      multilinear: positions of the arguments in each of which `fun` is linear.
      batched: positions of the arguments whose first axis is a batch, which `fun` treats example by example; the
        batch must come first in every output, and its size be a multiple of 2 or 4. Without it, devices are not
        examined.
      kinds: which proofs to do, by default all that apply: `"differences"` (full Jacobian in float64 against finite
        differences), `"reference"`, `"adjoint"`, `"value"` (under differentiation, to the bit), `"dtypes"`,
        `"second_order"`, `"transformations"` (`jit`, `vmap`, nested, `scan`, `cond`, `remat` and its policies,
        donation, NaN and leak checking) and `"devices"` (sharded `jit`, `shard_map` with and without `check_vma`, an
        explicit mesh, `pmap`).
      name: of the report; by default that of `fun`.

    Returns:
      A report; `report.passed` tells whether all held, `str(report)` what was found where.

    Raises:
      ValueError: if no argument or no output is floating, or a kind is unknown.

    Source: the idea of a numeric check, Autograd's `test_util`; of full Jacobians, PyTorch's `gradcheck`.
    """
    asked = KINDS if kinds is None else kinds
    unknown = sorted(set(asked) - set(KINDS))
    if unknown or not asked:
        raise ValueError(f"`kinds` must be among {', '.join(KINDS)}; got {', '.join(unknown) or 'none'}.")
    problem = make_problem(fun, args)
    proofs_at_a_place: dict[str, Callable[[], Finding]] = {
        "differences": lambda: proofs.finite_difference_jacobian(problem),
        "value": lambda: proofs.same_value(problem),
        "dtypes": lambda: proofs.same_dtypes(problem),
        "second_order": lambda: proofs.second_order(problem),
    }
    if reference is not None:
        proofs_at_a_place["reference"] = lambda: proofs.reference_jacobian(problem, reference)
    if multilinear:
        proofs_at_a_place["adjoint"] = lambda: proofs.adjoint_identity(problem, multilinear)
    findings = [attempt(kind, proofs_at_a_place[kind]) for kind in KINDS if kind in asked and kind in proofs_at_a_place]
    for kind, what in {"reference": "`reference`", "adjoint": "`multilinear`"}.items():
        if kinds is not None and kind in kinds and kind not in proofs_at_a_place:
            findings.append(skipped(kind, f"{what} was not given"))
    if "transformations" in asked:
        findings += transformations.transformations(problem)
    if "devices" in asked:
        findings += devices.devices(problem, batched)
    return Report(name or getattr(fun, "__name__", type(fun).__name__), tuple(findings))


def assert_vjp(fun: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Proves a gradient, or fails with the report; arguments as in `check_vjp`.

    Raises:
      AssertionError: with every index, the rule's value and the expected one, if a proof fails.
    """
    report = check_vjp(fun, *args, **options)
    if not report.passed:
        raise AssertionError(str(report))
