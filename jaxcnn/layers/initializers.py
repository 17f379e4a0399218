"""Initializers with the numbers of `flax.nnx.initializers`.

They need no compilation for every shape. The last bit of a number may be rounded differently in newer versions of JAX.

JAX compiles the generation of random numbers anew for each shape, which takes most of the time in which a network is
built. Here one compiled program draws a chunk of the numbers, and a kernel is as many chunks as it needs. This is
possible because in JAX's partitionable Threefry (Salmon et al. 2011) the bits of an element depend only on the key and
on the position of the element.
"""

import functools
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.core import Tracer
from jax.extend.random import define_prng_impl, threefry_2x32
from jax.typing import DTypeLike

Distribution = Literal["uniform", "normal", "truncated_normal"]

_CHUNK = 1 << 14  # elements: about as long in computing as in calling
_DRAWS = {
    "uniform": lambda key, dtype: jax.random.uniform(key, (_CHUNK,), dtype, -1),
    "normal": lambda key, dtype: jax.random.normal(key, (_CHUNK,), dtype),
    "truncated_normal": lambda key, dtype: jax.random.truncated_normal(key, -2, 2, (_CHUNK,), dtype),
}
_STDDEV_OF_TRUNCATED = 0.87962566103423978  # of a standard normal between -2 and 2


def variance_scaling(scale: float, mode: Literal["fan_in", "fan_out"], distribution: Distribution) -> nnx.Initializer:
    """Scales random numbers by the root of `scale` over fan.

    It does so as `nnx.initializers.variance_scaling` does.

    Args:
      scale: variance times fan.
      mode: the fan: inputs, or outputs, of a unit, each times the size of the window.
      distribution: of the numbers.
    """
    original = nnx.initializers.variance_scaling(scale, mode, distribution)

    def init(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32, out_sharding: Any = None):
        if out_sharding is not None or len(shape) < 2 or not _drawn_in_chunks(key, shape, dtype):
            return original(key, shape, dtype, out_sharding)
        dtype = jax.dtypes.canonicalize_dtype(dtype)
        fan = math.prod(shape[:-2]) * shape[-2 if mode == "fan_in" else -1]
        variance = np.asarray(scale / fan, dtype)
        if distribution == "uniform":
            factor = np.sqrt(3 * variance)
        elif distribution == "normal":
            factor = np.sqrt(variance)
        else:
            factor = np.sqrt(variance) / np.asarray(_STDDEV_OF_TRUNCATED, dtype)
        return jax.device_put(_draw(key, shape, dtype, distribution) * factor)

    return init


def lecun_normal() -> nnx.Initializer:
    """Draws from a truncated normal of variance 1 / fan-in.

    It does so as `nnx.initializers.lecun_normal` does.
    """
    return variance_scaling(1.0, "fan_in", "truncated_normal")


def normal(stddev: float) -> nnx.Initializer:
    """Draws from a normal, as `nnx.initializers.normal` does.

    Args:
      stddev: standard deviation.
    """
    original = nnx.initializers.normal(stddev)

    def init(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32, out_sharding: Any = None):
        if out_sharding is not None or not _drawn_in_chunks(key, shape, dtype):
            return original(key, shape, dtype, out_sharding)
        dtype = jax.dtypes.canonicalize_dtype(dtype)
        return jax.device_put(_draw(key, shape, dtype, "normal") * np.asarray(stddev, dtype))

    return init


def constant(value: float) -> nnx.Initializer:
    """Fills an array with one number, as `nnx.initializers.constant` does.

    Args:
      value: the number.
    """
    original = nnx.initializers.constant(value)

    def init(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32, out_sharding: Any = None):
        return original(key, shape, dtype, out_sharding) if out_sharding is not None else filled(shape, value, dtype)

    return init


def bilinear(factor: int) -> nnx.Initializer:
    """Makes a transposed convolution interpolate bilinearly.

    With a stride of `factor`, a window of `2 factor - factor % 2` cells and a padding of `factor // 2`, each channel is
    enlarged by itself. Around the input are zeros.

    Args:
      factor: how much larger the output is.

    Source: Long et al. 2015, section 3.3.
    """
    taps = bilinear_taps(factor)

    def init(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32, out_sharding: Any = None):
        del key, out_sharding
        *window, inputs, outputs = shape
        if set(window) != {len(taps)}:
            raise ValueError(f"`shape` must have a window of {len(taps)} cells for a factor of {factor}; got {shape}.")
        kernel = functools.reduce(np.multiply.outer, [taps] * len(window))
        return jnp.asarray(kernel[..., None, None] * np.eye(inputs, outputs), dtype)

    return init


def bilinear_taps(factor: int) -> np.ndarray:
    """Computes the weights of bilinear interpolation along one axis.

    Tap `t` of `k = 2 f - f % 2` has the weight `1 - |t - (k - 1) / 2| / f`.
    """
    size = 2 * factor - factor % 2
    return 1 - np.abs(np.arange(size) - (size - 1) / 2) / factor


def filled(shape: int | tuple[int, ...], value: float, dtype: DTypeLike) -> jax.Array:
    """Returns an array of equal numbers, as `jnp.full` does."""
    if _traced() or not jax.sharding.get_abstract_mesh().empty:
        return jnp.full(shape, value, dtype)
    return jax.device_put(np.full(shape, value, jax.dtypes.canonicalize_dtype(dtype)))


def _drawn_in_chunks(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> bool:
    """Whether chunks give the numbers that `jax.random` gives for this key."""
    return (
        0 not in shape
        and not _traced()
        and not isinstance(key, Tracer)
        and not getattr(key, "committed", False)  # to a device, on which the numbers shall be
        and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        and str(jax.random.key_impl(key)) == "threefry2x32"
        and bool(jax.config.values["jax_threefry_partitionable"])
        and not jax.config.values["jax_debug_key_reuse"]
        and jnp.issubdtype(dtype, jnp.floating)
        and jax.sharding.get_abstract_mesh().empty
    )


def _traced() -> bool:
    """Whether the caller is traced, so that the host cannot compute."""
    return isinstance(lax.full((), 0), Tracer)


def _draw(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike, distribution: Distribution) -> np.ndarray:
    size = math.prod(shape)
    words = np.asarray(jax.random.key_data(key))
    parts = [_chunk(distribution, jnp.dtype(dtype), np.array([*words, at], np.uint32)) for at in range(0, size, _CHUNK)]
    return np.concatenate(jax.device_get(parts))[:size].reshape(shape)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _chunk(distribution: Distribution, dtype: Any, words: jax.Array) -> jax.Array:
    """Some of the elements that `distribution` draws for a key.

    The key is `words[:2]`; they are element `words[2]` and those that follow.
    """
    return _DRAWS[distribution](jax.random.wrap_key_data(words, impl=_THREEFRY_FROM), dtype)


def _bits(words: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    """Some of the bits of `jax.random.bits` for a key.

    The key is `words[:2]`; they begin with element `words[2]`.
    """
    low = words[2] + lax.iota(np.uint32, math.prod(shape))
    first, second = jnp.split(threefry_2x32(words[:2], jnp.concatenate([jnp.zeros_like(low), low])), 2)
    if bit_width == 64:
        bits = lax.shift_left(first.astype(np.uint64), np.uint64(32)) | second.astype(np.uint64)
    else:
        bits = (first ^ second).astype(f"uint{bit_width}")
    return bits.reshape(shape)


def _refuse(*_: Any) -> jax.Array:
    raise NotImplementedError("A key of this kind only draws.")


_THREEFRY_FROM = define_prng_impl(
    key_shape=(3,), seed=_refuse, split=_refuse, random_bits=_bits, fold_in=_refuse, name="threefry_from", tag="fryf"
)
