"""Proofs that a rule gives the same gradient on several devices.

The batch lies on several devices.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn.check.problem import Problem
from jaxcnn.check.report import Finding, attempt, compare_arrays, failed, skipped
from jaxcnn.check.transformations import SINGLE

KINDS = ("sharded jit", "shard_map", "shard_map, unchecked", "explicit mesh", "pmap")


def devices(problem: Problem, batched: tuple[int, ...]) -> Iterator[Finding]:
    """Compares the gradients on several devices and on one.

    It does so for each way of spreading the batch.

    Args:
      problem: the function; the first axis of every output must be the batch.
      batched: positions of the arguments whose first axis is the batch; the others are the same on every device.

    Yields:
      One finding for each way.
    """
    sizes = {problem.args[i].shape[0] for i in batched} | {e.shape[0] if e.ndim else 0 for e in problem.errors}
    count = next((n for n in (4, 2) if n <= jax.device_count() and all(size and size % n == 0 for size in sizes)), 0)
    if not batched or not count:
        why = (
            "no argument is batched" if not batched else f"2 or 4 of {jax.device_count()} devices do not divide {sizes}"
        )
        yield from (skipped(kind, why) for kind in KINDS)
        return
    try:
        expected = problem.gradient()(problem.errors, *problem.args)
    except Exception as error:
        yield failed("plain gradient", error)
        return
    for kind, run in zip(KINDS, _runs(problem, batched, count), strict=True):
        yield attempt(kind, lambda kind=kind, run=run: compare_arrays(kind, problem.names, run(), expected, SINGLE))


def _runs(problem: Problem, batched: tuple[int, ...], count: int) -> list[Callable[[], Any]]:
    gradient, first = problem.gradient(), jax.devices()[:count]
    specs = tuple(P("data") if i in batched else P() for i in range(len(problem.args)))
    error_specs = tuple(P("data") for _ in problem.errors)
    out_specs = tuple(specs[i] for i in problem.active)

    def mesh(kind: AxisType) -> Mesh:
        return Mesh(np.array(first), ("data",), axis_types=(kind,))

    def placed(kind: AxisType) -> tuple[Any, Any]:
        where = mesh(kind)
        put = lambda a, spec: jax.device_put(a, NamedSharding(where, spec))  # noqa: E731
        return tuple(map(put, problem.errors, error_specs)), tuple(map(put, problem.args, specs))

    def sharded() -> Any:
        errors, args = placed(AxisType.Auto)
        return jax.jit(gradient)(errors, *args)

    def explicit() -> Any:
        with jax.set_mesh(mesh(AxisType.Explicit)):
            errors, args = placed(AxisType.Explicit)
            return jax.jit(gradient)(errors, *args)

    def mapped(checked: bool) -> Callable[[], Any]:
        def local(errors: Any, *args: Any) -> Any:
            gradients = gradient(errors, *args)
            if checked:
                return gradients
            return tuple(
                g if i in batched else jax.lax.psum(g, "data") for i, g in zip(problem.active, gradients, strict=True)
            )

        def run() -> Any:
            spread = jax.shard_map(
                local, mesh=mesh(AxisType.Auto), in_specs=(error_specs, *specs), out_specs=out_specs, check_vma=checked
            )
            return jax.jit(spread)(problem.errors, *problem.args)

        return run

    def pmap() -> Any:
        split = lambda a: jnp.reshape(a, (count, a.shape[0] // count, *a.shape[1:]))  # noqa: E731
        args = [split(a) if i in batched else a for i, a in enumerate(problem.args)]
        axes = (0, *(0 if i in batched else None for i in range(len(args))))
        spread = jax.pmap(gradient, in_axes=axes, devices=first)(tuple(map(split, problem.errors)), *args)
        return tuple(
            g.reshape(-1, *g.shape[2:]) if i in batched else g.sum(0)
            for i, g in zip(problem.active, spread, strict=True)
        )

    return [sharded, mapped(True), mapped(False), explicit, pmap]
