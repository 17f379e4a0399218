"""Proofs at given arguments.

They are of the full Jacobian, the adjoint identity, values, dtypes, second order.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.check.problem import Problem, flat
from jaxcnn.check.report import Finding, compare_arrays

DOUBLE = 1e-6  # relative, for what is computed in float64
_STEP = 1e-3
_BATCH = 1024  # columns at once
_NOISE = 1e-4  # below this size an element is judged by its absolute error: differences lose 1e-13 to rounding


def finite_difference_jacobian(problem: Problem) -> Finding:
    """Compares the full Jacobian with central differences of fourth order.

    It does so in float64.
    """
    with jax.enable_x64(True):
        wide = problem.cast(jnp.float64)
        numeric = [_numeric(wide.outputs, wide.values, i) for i in range(len(wide.values))]
        jacobian, _ = problem.jacobian
        return compare_arrays("Jacobian, differences", problem.names, jacobian, numeric, DOUBLE, _NOISE)


def reference_jacobian(problem: Problem, reference: Callable[..., Any]) -> Finding:
    """Compares the full Jacobian and the value with the reference's.

    It does so in float64, with those of `reference` by `jax.jacrev`.
    """
    jacobian, outputs = problem.jacobian
    expected, value = dataclasses.replace(problem, function=reference).jacobian
    names = [*problem.names, "output"]
    return compare_arrays("Jacobian, reference", names, [*jacobian, outputs], [*expected, value], DOUBLE)


def adjoint_identity(problem: Problem, multilinear: tuple[int, ...]) -> Finding:
    """Checks the adjoint identity of a linear function.

    It is `<f(x, w), e> = <x, dx> = <w, dw>`, for arguments in which the function is linear.
    """
    jacobian, outputs = problem.jacobian
    error = np.concatenate([np.asarray(e, np.float64).ravel() for e in problem.errors])
    products = {
        position: np.asarray(value, np.float64).ravel() @ (error @ np.asarray(rows))
        for position, value, rows in zip(problem.active, problem.values, jacobian, strict=True)
    }
    names = [f"<argument {i}, its gradient>" for i in multilinear]
    expected = [error @ np.asarray(outputs)] * len(multilinear)
    return compare_arrays("adjoint identity", names, [products[i] for i in multilinear], expected, DOUBLE)


def same_value(problem: Problem) -> Finding:
    """Checks that differentiation leaves the value the same, bit for bit."""
    plain = jax.jit(problem.outputs)(*problem.values)
    under = jax.jit(lambda *values: jax.vjp(problem.outputs, *values)[0])(*problem.values)
    names = [f"output {i}" for i in range(len(plain))]
    return compare_arrays("value under differentiation", names, under, plain, 0.0)


def same_dtypes(problem: Problem) -> Finding:
    """Checks that cotangents have the dtype of their primals.

    It does so in every precision, and for weakly typed arguments.
    """
    wrong = []
    with jax.enable_x64(True):
        for dtype in (jnp.float64, jnp.float32, jnp.bfloat16, jnp.float16):
            cast = problem.cast(dtype)
            shapes = jax.eval_shape(cast.gradient(), cast.errors, *cast.args)
            for name, value, gradient in zip(cast.names, cast.values, shapes, strict=True):
                if gradient.dtype != value.dtype or gradient.shape != value.shape:
                    wrong.append(f"{name}: {gradient.dtype}{gradient.shape} instead of {value.dtype}{value.shape}")
    weak = tuple(jnp.full(value.shape, 0.5) for value in problem.values)
    shapes = jax.eval_shape(lambda *values: jax.vjp(problem.outputs, *values)[1](problem.errors), *weak)
    for name, value, gradient in zip(problem.names, weak, shapes, strict=True):
        if gradient.dtype != value.dtype:
            wrong.append(f"{name}, weakly typed: {gradient.dtype} instead of {value.dtype}")
    return Finding("dtypes of cotangents", not wrong, float(len(wrong)), 0.0, "\n".join(wrong))


def second_order(problem: Problem) -> Finding:
    """Compares second-order gradients with central differences, in float64.

    They are gradients of a scalar function of the gradient.
    """
    with jax.enable_x64(True):
        problem = problem.cast(jnp.float64)

        def bent(*values: Any) -> jax.Array:  # bent by tanh, so that linear functions too have a second derivative
            outputs = problem.outputs(*values)
            return functools.reduce(
                jnp.add, [jnp.sum(e * jnp.tanh(y)) for e, y in zip(problem.errors, outputs, strict=True)]
            )

        def functional(*values: Any) -> jax.Array:
            gradients = jax.grad(bent, tuple(range(len(values))))(*values)
            weights = [jnp.asarray(np.sin(1.0 + np.arange(g.size)).reshape(g.shape)) for g in gradients]
            return functools.reduce(jnp.add, [jnp.sum(w * g) for w, g in zip(weights, gradients, strict=True)])

        positions = tuple(range(len(problem.values)))
        analytic = [g.ravel()[None] for g in jax.jit(jax.grad(functional, positions))(*problem.values)]
        numeric = [_numeric(functional, problem.values, i) for i in positions]
        return compare_arrays("second order", problem.names, analytic, numeric, 1e-5, _NOISE)


def _numeric(outputs: Callable[..., Any], values: tuple[Any, ...], position: int) -> np.ndarray:
    """The Jacobian for one argument by differences, column by column.

    The formula is `(8 (f(h) - f(-h)) - f(2h) + f(-2h)) / 12h`, one column per element.
    """
    value = values[position]

    def moved(offset: jax.Array) -> jax.Array:
        placed = list(values)
        placed[position] = value + offset.reshape(value.shape)
        return flat(outputs(*placed))

    steps = np.eye(value.size) * _STEP
    offsets = np.concatenate([k * steps for k in (1, -1, 2, -2)])
    batches = -(-len(offsets) // _BATCH)
    padded = np.pad(offsets, [(0, -len(offsets) % batches), (0, 0)])  # equal batches compile once
    along = jax.jit(jax.vmap(moved))
    columns = np.concatenate([np.asarray(along(part)) for part in np.split(padded, batches)])[: len(offsets)]
    near, back, far, far_back = np.split(columns, 4)
    return ((8 * _change(near, back) - _change(far, far_back)) / (12 * _STEP)).T


def _change(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The difference.

    It is 0 where both are the same infinity, as for a maximum over no cells.
    """
    same = after == before
    return np.where(same, 0.0, np.where(same, 0.0, after) - np.where(same, 0.0, before))
