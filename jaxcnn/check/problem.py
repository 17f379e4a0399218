"""A function under test, with a scalar loss of its outputs.

It also tells which arguments are differentiated.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Problem:
    """A function of arrays, with arguments and cotangents for its test.

    The cotangents are those of its outputs. Only floating arguments are differentiated; the others are constants.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    active: tuple[int, ...]  # positions of the floating arguments
    errors: tuple[Any, ...]  # one for every floating output

    @property
    def names(self) -> list[str]:
        """Returns a name for each gradient."""
        return [f"d/d(argument {position})" for position in self.active]

    @property
    def values(self) -> tuple[Any, ...]:
        """Returns the floating arguments."""
        return tuple(self.args[position] for position in self.active)

    def outputs(self, *values: Any) -> tuple[jax.Array, ...]:
        """Computes the floating outputs at other floating arguments."""
        return floating_leaves(self.function(*self.place(values)))

    def place(self, values: Sequence[Any]) -> list[Any]:
        """Returns all arguments, with these floating ones."""
        args = list(self.args)
        for position, value in zip(self.active, values, strict=True):
            args[position] = value
        return args

    def loss(self, errors: Sequence[Any], args: Sequence[Any], function: Callable[..., Any] | None = None) -> jax.Array:
        """Computes the scalar `sum <error, output>`.

        Its gradient is the cotangent that `errors` give.
        """
        outputs = floating_leaves((function or self.function)(*args))
        wide = jnp.float64 if any(e.dtype == jnp.float64 for e in errors) else jnp.float32
        terms = [jnp.sum(e.astype(wide) * y.astype(wide)) for e, y in zip(errors, outputs, strict=True)]
        return functools.reduce(jnp.add, terms)

    def gradient(self, function: Callable[..., Any] | None = None) -> Callable[..., tuple[jax.Array, ...]]:
        """Returns the gradient function of the loss.

        It is `(errors, *args) -> gradients` with respect to the floating arguments.
        """

        def gradient(errors: Sequence[Any], *args: Any) -> tuple[jax.Array, ...]:
            def loss(values: tuple[Any, ...]) -> jax.Array:
                placed = list(args)
                for position, value in zip(self.active, values, strict=True):
                    placed[position] = value
                return self.loss(errors, placed, function)

            return jax.grad(loss)(tuple(args[position] for position in self.active))

        return gradient

    @functools.cached_property
    def jacobian(self) -> tuple[list[jax.Array], jax.Array]:
        """Computes the Jacobian for each floating argument, and the outputs.

        Each is one `(outputs, inputs)` matrix in float64.
        """
        with jax.enable_x64(True):
            wide = self.cast(jnp.float64)

            def outputs(values: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
                value = flat(self.function(*wide.place(values)))
                return value, value

            rows, value = jax.jit(jax.jacrev(outputs, has_aux=True))(wide.values)
            return [row.reshape(row.shape[0], -1) for row in rows], value

    def cast(self, dtype: Any) -> "Problem":
        """Returns the same problem in another floating dtype."""
        args = [jnp.asarray(a, dtype) if i in self.active else a for i, a in enumerate(self.args)]
        return make_problem(self.function, tuple(args))


def is_floating(leaf: Any) -> bool:
    """Whether a leaf is an array of real floating numbers."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


def floating_leaves(tree: Any) -> tuple[jax.Array, ...]:
    """Returns the floating arrays among outputs, in order."""
    return tuple(leaf for leaf in jax.tree.leaves(tree) if is_floating(leaf))


def flat(outputs: Any) -> jax.Array:
    """Joins all floating outputs to one vector."""
    return jnp.concatenate([leaf.ravel() for leaf in floating_leaves(outputs)])


def make_problem(function: Callable[..., Any], args: tuple[Any, ...]) -> Problem:
    """Makes the problem of a function at some arguments.

    The cotangents are fixed pseudo-random numbers.

    Raises:
      ValueError: if no argument or no output is floating.
    """
    args = tuple(jnp.asarray(a) if isinstance(a, np.ndarray | float) else a for a in args)
    active = tuple(position for position, a in enumerate(args) if is_floating(a))
    shapes = floating_leaves(jax.eval_shape(function, *args)) if active else ()
    if not active or not shapes:
        raise ValueError("`fun` must have a floating argument and a floating output; it has none.")
    errors = tuple(
        jnp.asarray(np.cos(1.7 * np.arange(shape.size) + number).reshape(shape.shape), shape.dtype)
        for number, shape in enumerate(shapes)
    )
    return Problem(function, args, active, errors)
