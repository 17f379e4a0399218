"""Proofs at one place: the full Jacobian, the adjoint identity, values, dtypes, second order."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.check.problem import Problem, floating_leaves
from jaxcnn.check.report import Finding, compare

DOUBLE = 1e-6  # relative, for what is computed in float64
_STEP = 1e-3
_NOISE = 1e-4  # below this size an element is judged by its absolute error: differences lose 1e-13 to rounding


def finite_difference_jacobian(problem: Problem) -> Finding:
    """The full Jacobian, in float64, against central differences of fourth order, element by element."""
    with jax.enable_x64(True):
        problem = problem.cast(jnp.float64)
        analytic = _jacobians(problem, problem.function)
        outputs = jax.jit(problem.outputs)
        numeric = [_numeric(outputs, problem.values, i) for i in range(len(problem.values))]
        return compare("Jacobian, differences", problem.names, analytic, numeric, DOUBLE, _NOISE)


def reference_jacobian(problem: Problem, reference: Callable[..., Any]) -> Finding:
    """The full Jacobian and the value, in float64, against those of `reference` by `jax.jacrev`."""
    with jax.enable_x64(True):
        problem = problem.cast(jnp.float64)
        names = [*problem.names, "output"]
        found = [*_jacobians(problem, problem.function), _flat(problem.function(*problem.args))]
        expected = [*_jacobians(problem, reference), _flat(reference(*problem.args))]
        return compare("Jacobian, reference", names, found, expected, DOUBLE)


def adjoint_identity(problem: Problem, multilinear: tuple[int, ...]) -> Finding:
    """For arguments in which the function is linear, `<f(x, w), e> = <x, dx> = <w, dw>`."""
    with jax.enable_x64(True):
        problem = problem.cast(jnp.float64)
        pulled = jax.jit(problem.gradient())(problem.errors, *problem.args)
        inner = float(problem.loss(problem.errors, problem.args))
        products = {
            position: float(jnp.sum(value * gradient))
            for position, value, gradient in zip(problem.active, problem.values, pulled, strict=True)
        }
        names = [f"<argument {i}, its gradient>" for i in multilinear]
        found = [products[i] for i in multilinear]
        return compare("adjoint identity", names, found, [inner] * len(multilinear), DOUBLE)


def same_value(problem: Problem) -> Finding:
    """The value under differentiation is the plain value, to the bit."""
    plain = floating_leaves(problem.function(*problem.args))
    under, _ = jax.vjp(problem.outputs, *problem.values)
    names = [f"output {i}" for i in range(len(plain))]
    return compare("value under differentiation", names, under, plain, 0.0)


def same_dtypes(problem: Problem) -> Finding:
    """Cotangents have their primal's dtype, in every precision, and come back for weakly typed arguments too."""
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
    """The gradient of a functional of the gradient against its central differences, in float64."""
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
        compiled = jax.jit(lambda *values: (functional(*values),))
        numeric = [_numeric(compiled, problem.values, i) for i in positions]
        return compare("second order", problem.names, analytic, numeric, 1e-5, _NOISE)


def _flat(outputs: Any) -> jax.Array:
    return jnp.concatenate([leaf.ravel() for leaf in floating_leaves(outputs)])


def _jacobians(problem: Problem, function: Callable[..., Any]) -> list[jax.Array]:
    """`(outputs, inputs)` matrices, one for each floating argument."""

    def flat(values: tuple[Any, ...]) -> jax.Array:
        return _flat(function(*problem.place(values)))

    rows = jax.jit(jax.jacrev(flat))(problem.values)
    return [row.reshape(row.shape[0], -1) for row in rows]


def _numeric(outputs: Callable[..., tuple[jax.Array, ...]], values: tuple[Any, ...], position: int) -> np.ndarray:
    """The Jacobian towards one argument, by `(8 (f(h) - f(-h)) - f(2h) + f(-2h)) / 12h`, a column for each element."""
    value = values[position]

    def moved(offset: jax.Array) -> jax.Array:
        placed = list(values)
        placed[position] = value + offset.reshape(value.shape)
        return _flat(outputs(*placed))

    along = jax.jit(lambda offsets: jax.lax.map(moved, offsets, batch_size=64))
    steps = np.eye(value.size) * _STEP
    near, far = (along(k * steps) - along(-k * steps) for k in (1, 2))
    return np.asarray((8 * near - far) / (12 * _STEP)).T
