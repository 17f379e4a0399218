"""Batch normalization with the statistics of only some cells."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.arrays import along_last
from jaxcnn.ops.rule import custom_vjp
from jaxcnn.ops.sharding import match_cotangent

# Per channel, over all devices, with the mask m_i = 1 of a cell that counts, else 0, and M = sum_i m_i:
#
#     mean = sum_i m_i x_i / M,      var = sum_i m_i (x_i - mean)^2 / M,      r = (var + eps)^(-1/2),
#     n_i = (x_i - mean) r,          y_i = scale n_i + bias,                  for every i, masked or not.
#
# x_q moves the mean by m_q / M and, as sum_i m_i (x_i - mean) = 0, the variance by 2 m_q (x_q - mean) / M. Hence
# dn_k/dx_q = r ([k = q] - m_q / M - m_q n_k n_q / M), and with e = dL/dy
#
#     dx_q = r (scale e_q - m_q (sum_k scale e_k + n_q sum_k scale e_k n_k) / M),
#     dbias = sum_k e_k,             dscale = sum_k e_k n_k.
#
# The sums of dx are over all devices, those of the parameters a device's own; `ops.norm` says why, and why mean and
# variance get nothing from this rule. Where they are themselves wanted, JAX differentiates the sums that they are.


def _over_cells(values: jax.Array) -> jax.Array:
    return jnp.sum(values, tuple(range(values.ndim - 1)))


def _over_devices(sums: Any, devices: tuple[str, ...]) -> Any:
    return lax.psum(sums, devices) if devices else sums


def statistics(x: jax.Array, mask: jax.Array, devices: tuple[str, ...]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Computes mean, variance and number of cells, for each channel.

    Only cells that count are in them, over all devices.
    """
    seen = jnp.where(mask, x, 0)  # what does not count may be anything, NaN too
    count = _over_devices(_over_cells(mask.astype(x.dtype)), devices)
    mean = _over_devices(_over_cells(seen), devices) / count
    centered = jnp.where(mask, seen - along_last(mean, x), 0)
    return mean, _over_devices(_over_cells(jnp.square(centered)), devices) / count, count


def plain_normalize(x, mask, mean, variance, count, scale, bias, epsilon: float, devices: tuple[str, ...]) -> jax.Array:
    """Normalizes every cell with the statistics of the cells that count."""
    del mask, count, devices
    factor = along_last(lax.rsqrt(variance + epsilon) * scale, x)
    return (x - along_last(mean, x)) * factor + along_last(bias, x)


normalize = custom_vjp(7, 8)(plain_normalize)


def _normalize_fwd(x, mask, mean, variance, count, scale, bias, epsilon: float, devices: tuple[str, ...]):
    operands = x, mask, mean, variance, count, scale, bias
    return normalize(*operands, epsilon, devices), operands


def _normalize_bwd(epsilon: float, devices: tuple[str, ...], residuals: tuple[jax.Array, ...], error: jax.Array):
    x, mask, mean, variance, count, scale, bias = residuals
    inverse = lax.rsqrt(variance + epsilon)
    normal = (x - along_last(mean, x)) * along_last(inverse, x)
    slopes = jnp.where(error == 0, 0, error * normal)  # a cell that neither counts nor is read may be NaN
    bias_gradient, scale_gradient = _over_cells(error), _over_cells(slopes)
    shift, slope = (
        along_last(sums / count, x) for sums in _over_devices((scale * bias_gradient, scale * scale_gradient), devices)
    )
    moved = jnp.where(mask, shift + normal * slope, 0)
    x_gradient = (error * along_last(scale, x) - moved) * along_last(inverse, x)
    matched = map(match_cotangent, (x_gradient, scale_gradient, bias_gradient), (x, scale, bias))
    x_gradient, scale_gradient, bias_gradient = matched
    return x_gradient, None, None, None, None, scale_gradient, bias_gradient


normalize.defvjp(_normalize_fwd, _normalize_bwd)


def checked(mask: Any, x: jax.Array) -> jax.Array:
    """Checks a mask and broadcasts it to the shape of `x`.

    Raises:
      TypeError: if it is not boolean.
      ValueError: if its shape does not broadcast to that of `x`.
    """
    mask = jnp.asarray(mask)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"`mask` must be boolean; got {mask.dtype}.")
    shape = (1,) * (x.ndim - mask.ndim) + mask.shape
    if len(shape) != x.ndim or any(m not in (1, n) for m, n in zip(shape, x.shape, strict=True)):
        raise ValueError(f"`mask` must broadcast to the shape of `x`, {x.shape}; got {mask.shape}.")
    return jnp.broadcast_to(mask.reshape(shape), x.shape)
