"""The product of two arrays of a convolution by oneDNN.

It works on devices and under `vmap`.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from jaxcnn.ops.native.form import PARTS, Form, Part, operands, passed
from jaxcnn.ops.native.spread import on_explicit_mesh, on_this_device, spread
from jaxcnn.ops.sharding import explicit_sharding


def product(first: jax.Array, second: jax.Array, form: Form) -> jax.Array:
    """The array `form.wanted`, computed from the two others."""
    explicit = explicit_sharding(first, second)
    if explicit is not None:
        return on_explicit_mesh(product, first, second, form, explicit.mesh)
    return _product(*on_this_device(first, second, form))


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _product(first: jax.Array, second: jax.Array, form: Form) -> jax.Array:
    @custom_vmap
    def mapped(first: jax.Array, second: jax.Array) -> jax.Array:
        return spread(first, second, form)

    @mapped.def_vmap
    def rule(size: int, batched: list[bool], first: jax.Array, second: jax.Array):
        del size
        return _batched(batched, (first, second), form), True

    return mapped(first, second)


def _batched(batched: list[bool], pair: tuple[jax.Array, jax.Array], form: Form) -> jax.Array:
    """A batch of calls, as one call where possible.

    It is possible where its axis can be part of an index that passes through, else they come one by one.
    """
    if all(batched):
        return lax.map(lambda pair: _product(*pair, form), pair)
    place = batched.index(True)
    part, array = operands(form.wanted)[place], pair[place]

    def with_operand(array: jax.Array) -> jax.Array:
        return _product(*(array if i == place else other for i, other in enumerate(pair)), form)

    index = passed(part, form.wanted)
    if index not in form.divisible or not len(array):
        return lax.map(with_operand, array)
    axis, target = form.axes[part][index], form.axes[form.wanted][index]
    if array.shape[axis + 1] == 1:  # then the mapped axis takes that one's part, and stays where it is
        swapped = form.with_axes(part, _first(form, part, axis)).with_axes(
            form.wanted, _first(form, form.wanted, target)
        )
        array = lax.squeeze(array, (axis + 1,))
        result = _product(*(array if i == place else other for i, other in enumerate(pair)), swapped)
        return lax.expand_dims(result, (target + 1,))
    moved = jnp.moveaxis(array, 0, axis)
    result = with_operand(moved.reshape(*moved.shape[:axis], -1, *moved.shape[axis + 2 :]))
    split = result.reshape(*result.shape[:target], len(array), -1, *result.shape[target + 1 :])
    return jnp.moveaxis(split, target, 0)


def _first(form: Form, part: Part, axis: int) -> list[int]:
    """An array's axes, of which one goes to the front."""
    axes = form.dims[PARTS.index(part)]
    return [0 if old == axis else old + (old < axis) for old in axes]
