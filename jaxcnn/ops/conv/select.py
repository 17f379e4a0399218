"""The table of lowerings, and the choice of one.

It is for a convolution or one of its gradients.
"""

from types import ModuleType

import jax

from jaxcnn.ops import choices
from jaxcnn.ops.conv.lowerings import (
    cell_by_cell,
    group_by_group,
    native,
    one_axis,
    pointwise,
    row_by_row,
    side_by_side,
    tap_by_tap,
    whole_product,
    xla,
)
from jaxcnn.ops.conv.problem import Part, Problem, Spec, problem_of
from jaxcnn.ops.native import backend

# The lowerings of each method, in order: the first that supports the problem is taken. XLA's own convolution is the
# last of each. `method="auto"` is one of these three methods, by the table of what was measured (`ops.choices`).
LOWERINGS: dict[str, tuple[ModuleType, ...]] = {
    "native": (native, xla),
    "jax": (
        one_axis,
        pointwise,
        whole_product,
        row_by_row,
        side_by_side,
        tap_by_tap,
        cell_by_cell,
        group_by_group,
        xla,
    ),
    "lax": (xla,),
}


def resolve(problem: Problem) -> Problem:
    """Returns the problem with its method.

    This is the requested one, or the fastest that supports the problem.
    """
    spec = problem.spec
    if spec.method != "auto":
        return problem
    method = "jax"
    if problem.on_unsharded_cpu and spec.batch_groups == 1:
        kind = choices.kind(spec.window, problem.channels, spec.feature_groups)
        method = choices.fastest(kind, problem.wanted, backend.active() and native.supports(problem))
    return problem._replace(spec=spec._replace(method=method))


def lowering(problem: Problem) -> ModuleType | None:
    """Returns the method's first lowering that supports the problem.

    It is None if a gradient has none of its own. Such a gradient is expressed as a convolution, which always has a
    lowering.
    """
    ways = LOWERINGS[problem.spec.method] if problem.on_unsharded_cpu else (xla,)
    return next((way for way in ways if way.supports(problem)), None)


def methods(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> dict[Part, str]:
    """Returns the methods that compute the outputs and the two gradients."""
    if jax.default_backend() != "cpu":
        return {"outputs": "lax", "inputs": "lax", "kernel": "lax"}
    by_part: dict[Part, str] = {}
    for part in ("outputs", "inputs", "kernel"):
        # of the two given arrays only dtype and sharding are asked for, and those of a cotangent are the inputs'
        by_part[part] = resolve(problem_of(part, inputs, kernel, spec, inputs, kernel)).spec.method
    return by_part


def convolve(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    """Computes the outputs by the fastest method; `ops.conv.rule` adds the gradient."""
    problem = resolve(problem_of("outputs", inputs, kernel, spec, inputs, kernel))
    way = lowering(problem)
    assert way is not None  # XLA's own is always left
    return way.run(inputs, kernel, problem)
