"""Batch normalization's passes over whole arrays, in C++ (norm.cc).

Each is a loop that passes once over memory. The rule of which these are parts is in `ops.norm`. Where a loop is itself
differentiated, its derivative is that of the same in JAX, which stands beside it here.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.ops import arrays
from jaxcnn.ops.native import backend
from jaxcnn.ops.native.form import DTYPES
from jaxcnn.ops.native.spread import devices_at_once, like_on_device, partly_mapped
from jaxcnn.ops.rule import custom_vjp, def_sparing_vjp
from jaxcnn.ops.sharding import explicit_sharding, varying_like


def can_normalize(x: jax.Array) -> bool:
    """Whether there are loops for an array.

    On a mesh that the compiler divides there are, but each device would go through the whole.
    """
    if not all(isinstance(size, int) for size in x.shape) or x.size == 0:
        return False  # a size left open: this is traced for export, to any device
    return x.dtype in DTYPES and explicit_sharding(x) is None and not partly_mapped()


def moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean and the biased variance of every channel, in float32."""

    def loop(x: jax.Array):
        return tuple(_call(backend.NORM_MOMENTS, [_numbers(x)] * 2, x))

    def plain(x: jax.Array):
        x = x.astype(jnp.float32)
        mean = jnp.mean(x, _but_last(x))
        return mean, jnp.mean(jnp.square(x - arrays.along_last(mean, x)), _but_last(x))

    return _derived(loop, plain)(x)


def normalize(
    x: jax.Array, mean: jax.Array, factor: jax.Array, bias: jax.Array, shortcut: jax.Array | None, relu: bool
) -> jax.Array:
    """`(x - mean) factor + bias`, plus a shortcut, rectified."""

    def loop(x: jax.Array, shortcut: jax.Array | None, *numbers: jax.Array):
        operands = x, _or_empty(shortcut, x), jnp.stack(numbers)
        return _call(backend.NORM_NORMALIZE, like_on_device(x, x.shape, x.dtype), *operands, relu=relu)

    def plain(x: jax.Array, shortcut: jax.Array | None, *numbers: jax.Array):
        y = _normalized(x, *numbers)
        y = y if shortcut is None else y + shortcut.astype(jnp.float32)
        return (jnp.where(y < 0, 0, y) if relu else y).astype(x.dtype)

    return _derived(loop, plain)(x, shortcut, mean, factor, bias)


def sums(
    errors: jax.Array, x: jax.Array, y: jax.Array | None, *numbers: jax.Array, relu: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Sums of errors, alone and times `(x - mean)`, per channel.

    They are of what ReLU lets pass. With `y`, the rectified outputs, the first result is what passes. Without, it is
    the errors themselves, and the outputs are `(x - mean) factor + bias`, computed again. `numbers` are mean, factor
    and bias.
    """

    def loop(errors: jax.Array, x: jax.Array, y: jax.Array | None, *numbers: jax.Array):
        passed = like_on_device(x, x.shape if y is not None else (0,), x.dtype)
        operands = errors, x, _or_empty(y, x), jnp.stack(numbers)
        results = _call(backend.NORM_SUMS, [passed, _numbers(x), _numbers(x)], *operands, relu=relu)
        return (errors if y is None else results[0], *results[1:])

    def plain(errors: jax.Array, x: jax.Array, y: jax.Array | None, *numbers: jax.Array):
        passed = _passed(errors, _normalized(x, *numbers) if y is None else y, relu)
        wide = passed.astype(jnp.float32)
        centered = x.astype(jnp.float32) - arrays.along_last(numbers[0], x)
        results = jnp.sum(wide, _but_last(x)), jnp.sum(wide * centered, _but_last(x))
        return (errors if y is None else passed, *results)

    return _derived(loop, plain)(errors, x, y, *numbers)


def gradient(errors: jax.Array, x: jax.Array, *numbers: jax.Array, relu: bool) -> jax.Array:
    """The gradient of what ReLU lets pass.

    It is `factor errors - shift - slope (x - mean)`.

    `numbers` are mean, factor, bias, shift and slope.
    """

    def loop(errors: jax.Array, x: jax.Array, *numbers: jax.Array):
        kind = like_on_device(x, x.shape, x.dtype)
        return _call(backend.NORM_GRADIENT, kind, errors, x, jnp.stack(numbers), relu=relu)

    def plain(errors: jax.Array, x: jax.Array, *numbers: jax.Array):
        mean, factor, bias, shift, slope = (arrays.along_last(a, x) for a in numbers)
        passed = _passed(errors, _normalized(x, *numbers[:3]), relu).astype(jnp.float32)
        return (factor * passed - shift - slope * (x.astype(jnp.float32) - mean)).astype(x.dtype)

    return _derived(loop, plain)(errors, x, *numbers)


def _normalized(x: jax.Array, mean: jax.Array, factor: jax.Array, bias: jax.Array) -> jax.Array:
    mean, factor, bias = (arrays.along_last(a, x) for a in (mean, factor, bias))
    return (x.astype(jnp.float32) - mean) * factor + bias


def _passed(errors: jax.Array, outputs: jax.Array, relu: bool) -> jax.Array:
    return jnp.where(outputs > 0, errors, 0) if relu else errors


def _but_last(x: jax.Array) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


def _derived(loop: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """A loop whose derivative is that of the same in JAX.

    Its operands vary over the same devices.
    """
    derived = custom_vjp()(loop)
    def_sparing_vjp(derived, lambda operands, errors: jax.vjp(plain, *operands)[1](errors))

    @functools.wraps(loop)
    def call(*operands: Any) -> Any:
        leaves, tree = jax.tree.flatten(operands)
        return derived(*jax.tree.unflatten(tree, [varying_like(leaf, *leaves) for leaf in leaves]))

    return call


def _numbers(x: jax.Array) -> jax.ShapeDtypeStruct:
    return like_on_device(x, x.shape[-1:], jnp.float32)


def _or_empty(array: jax.Array | None, like: jax.Array) -> jax.Array:
    return varying_like(jnp.zeros(0, like.dtype), like) if array is None else array


def _call(target: str, results: Any, *operands: jax.Array, **options: Any) -> Any:
    backend.library()
    call = jax.ffi.ffi_call(target, results, vmap_method="sequential")
    return call(*operands, devices=devices_at_once(), **options)
