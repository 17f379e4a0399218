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
    """Proves a function's gradient at given arguments.

    It is above all for a `jax.custom_vjp` function.

    Args:
      fun: a function of arrays that returns an array, or a pytree of arrays. Floating arguments are differentiated,
        others are constants; bind arguments that are not arrays beforehand. `fun` must be differentiable around
        `args`: keep more than 0.002 away from kinks, or leave out `"differences"` and `"second_order"`.
      *args: the arguments; a few dozen elements are enough, since the full Jacobian is computed.
      reference: a function of the same arguments without a custom rule, which JAX differentiates.
      multilinear: positions of the arguments in each of which `fun` is linear.
      batched: positions of the arguments whose first axis is a batch, if `fun` treats each example separately. The
        batch must be the first axis of every output, and its size a multiple of 2 or 4. Without this argument the
        proof on several devices is skipped.
      kinds: the proofs to do, by default all that apply: `"differences"` (full Jacobian in float64 against finite
        differences), `"reference"`, `"adjoint"`, `"value"` (under differentiation, to the bit), `"dtypes"`,
        `"second_order"`, `"transformations"` (`jit`, `vmap`, nested, `scan`, `cond`, `remat` and its policies,
        donation, NaN and leak checking) and `"devices"` (sharded `jit`, `shard_map` with and without `check_vma`, an
        explicit mesh, `pmap`).
      name: name of the report; by default that of `fun`.

    Returns:
      A report; `report.passed` is true if all proofs hold, and `str(report)` lists every finding.

    Raises:
      ValueError: if no argument or no output is floating, or a kind is unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import check
      >>> @jax.custom_vjp
      ... def square(x):
      ...   return x * x
      >>> square.defvjp(lambda x: (x * x, x), lambda x, error: (2 * x * error,))
      >>> check.check_vjp(square, jnp.array([1.0, -3.0]), reference=lambda x: x * x).passed
      True

    Source: the numeric check follows Autograd's `test_util`; the full Jacobian, PyTorch's `gradcheck`.
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
    """Proves a function's gradient, and raises if a proof fails.

    It is for tests.

    Args:
      fun: as in `check_vjp`.
      *args: as in `check_vjp`.
      **options: as in `check_vjp`.

    Raises:
      AssertionError: if a proof fails; the message is the report, with the first elements that differ.
      ValueError: as in `check_vjp`.
    """
    report = check_vjp(fun, *args, **options)
    if not report.passed:
        raise AssertionError(str(report))
