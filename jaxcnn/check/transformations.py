"""Proofs that a rule works under JAX's transformations.

Each must give the plain gradient.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.check.problem import Problem
from jaxcnn.check.report import Finding, attempt, compare_arrays, failed

SINGLE = 1e-3  # relative, in float32, of gradients that sum in another order


def transformations(problem: Problem) -> Iterator[Finding]:
    """Compares the gradient under each transformation with the plain gradient.

    Args:
      problem: the function.

    Yields:
      One finding for each transformation.
    """
    gradient = problem.gradient()
    try:
        expected = gradient(problem.errors, *problem.args)  # not compiled as one: operation by operation
    except Exception as error:
        yield failed("plain gradient", error)
        return
    for kind, run in _runs(problem, gradient).items():
        yield attempt(kind, lambda kind=kind, run=run: compare_arrays(kind, problem.names, run(), expected, SINGLE))


def _runs(problem: Problem, gradient: Callable[..., Any]) -> dict[str, Callable[[], Any]]:
    errors, args = problem.errors, problem.args

    def scan() -> Any:
        def body(total: Any, _: None) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, gradient(errors, *args)), None

        zeros = jax.tree.map(jnp.zeros_like, problem.values)
        total, _ = jax.jit(lambda: jax.lax.scan(body, zeros, None, length=2))()
        return jax.tree.map(lambda g: g / 2, total)

    def cond() -> Any:
        def either(flag: jax.Array, errors: Any, *args: Any) -> Any:
            return jax.lax.cond(flag, gradient, lambda *a: jax.tree.map(jnp.zeros_like, gradient(*a)), errors, *args)

        return jax.jit(either)(jnp.array(True), errors, *args)

    def donated() -> Any:
        copies = jax.tree.map(lambda leaf: jnp.copy(leaf) if hasattr(leaf, "dtype") else leaf, args)
        return jax.jit(gradient, donate_argnums=problem.active[0] + 1)(errors, *copies)

    def leaks() -> Any:
        with jax.checking_leaks():
            return jax.jit(gradient)(errors, *args)

    def nans() -> Any:
        with jax.debug_nans(True):
            return jax.jit(gradient)(errors, *args)

    def of_vmap() -> Any:
        """The gradient of a `vmap`, as of one example's network.

        The loss ignores the second copy.
        """

        def first(*args: Any) -> Any:
            axes = [0 if at in problem.active else None for at in range(len(args))]
            pairs = [jnp.stack([arg, 0.5 * arg]) if axis == 0 else arg for arg, axis in zip(args, axes, strict=True)]
            return jax.tree.map(lambda leaf: leaf[0], jax.vmap(problem.function, axes)(*pairs))

        return jax.jit(problem.gradient(first))(errors, *args)

    def remat(policy: Any) -> Callable[[], Any]:
        return lambda: jax.jit(problem.gradient(jax.checkpoint(problem.function, policy=policy)))(errors, *args)

    return {
        "jit": lambda: jax.jit(gradient)(errors, *args),
        "vmap over each argument": lambda: _mapped(problem, gradient, nested=False),
        "vmap, nested": lambda: _mapped(problem, gradient, nested=True),
        "gradient of vmap": of_vmap,
        "scan": scan,
        "cond": cond,
        "remat": remat(None),
        "remat, dots saved": remat(jax.checkpoint_policies.dots_saveable),
        "remat, everything saved": remat(jax.checkpoint_policies.everything_saveable),
        "donation": donated,
        "debug_nans": nans,
        "leak checking": leaks,
    }


def _mapped(problem: Problem, gradient: Callable[..., Any], nested: bool) -> Any:
    """Gradients under `vmap` over copies of each argument in turn.

    If `nested`, also over the cotangents.
    """
    results = []
    for place, position in enumerate(problem.active):
        axes: list[int | None] = [None] * len(problem.args)
        axes[position] = 0
        mapped = jax.vmap(gradient, (None, *axes))
        # the second copy is another point, so that a rule that mixes copies is found out
        value = problem.args[position]
        args = list(problem.args)
        args[position] = jnp.stack([value, 0.5 * value])
        errors = problem.errors
        if nested:
            mapped = jax.vmap(mapped, (0, *[None] * len(args)))
            errors = jax.tree.map(lambda e: jnp.stack([e, -e]), errors)
        gradients = jax.jit(mapped)(errors, *args)
        results.append(gradients[place][(0, 0) if nested else 0])
    return results
