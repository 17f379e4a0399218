"""Normalisation: over the batch, and over neighbouring channels."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxcnn.ops import arrays

Rule = Literal["hand", "autodiff"]
Axis = str | tuple[str, ...] | None

# Batch normalisation, per channel over the M other elements:
#
#     mean = sum x / M,  var = sum (x - mean)^2 / M,  r = (var + eps)^(-1/2),  n = (x - mean) r,  y = scale n + bias.
#
# With e = dL/dy: dbias = sum e, dscale = sum e n. Towards x, mean and variance move too. From dn_k/dx_q =
# r ([k = q] - 1/M - n_k n_q / M) follows
#
#     dx = scale r (e - dbias / M - n dscale / M).
#
# The errors of the two other outputs add f / M for the mean and 2 g (x - mean) / M for the variance. The rule keeps x,
# mean and r, not the normalised copy: n costs one subtraction and one product.
#
# Where the batch is spread over a mapped axis, M and the sums over x and e in mean, var and dx run over all devices;
# dscale and dbias stay each device's share, which whoever adds up the gradients adds up.


def _normalise(x: jax.Array, mean: jax.Array, variance: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float):
    return (x - mean) * (lax.rsqrt(variance + epsilon) * scale) + bias


def _batch_statistics(x: jax.Array, axis: Axis) -> tuple[jax.Array, jax.Array]:
    def mean_of(values: jax.Array) -> jax.Array:
        own = jnp.mean(values, tuple(range(x.ndim - 1)))
        return own if axis is None else lax.pmean(own, axis)

    mean = mean_of(x)
    return mean, mean_of(jnp.square(x - mean))


def _plain_batch_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis: Axis):
    mean, variance = _batch_statistics(x, axis)
    return _normalise(x, mean, variance, scale, bias, epsilon), mean, variance


_batch_norm = arrays.custom_vjp(3, 4)(_plain_batch_norm)


def _batch_norm_fwd(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis: Axis):
    y, mean, variance = _batch_norm(x, scale, bias, epsilon, axis)
    return (y, mean, variance), (x, scale, bias, mean, variance)


def _batch_norm_bwd(epsilon: float, axis: Axis, residuals: tuple, errors: tuple[jax.Array, jax.Array, jax.Array]):
    x, scale, bias, mean, variance = residuals
    error, mean_error, variance_error = errors
    axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    inverse, centred = lax.rsqrt(variance + epsilon), x - mean
    bias_gradient = jnp.sum(error, axes)
    scale_gradient = jnp.sum(error * centred, axes) * inverse
    sums = (scale * bias_gradient, scale * scale_gradient, mean_error, variance_error)
    if axis is not None:
        sums = [arrays.sum_over(each, axis, x) for each in sums]
        count = count * lax.axis_size(axis)
    all_bias, all_scale, all_mean, all_variance = sums
    # dx = a e + b + c (x - mean), three numbers a channel
    towards_n = -all_scale * inverse * inverse / count
    shift = (all_mean - inverse * all_bias) / count
    x_gradient = scale * inverse * error + shift + (towards_n + 2 * all_variance / count) * centred
    matched = ((x_gradient, x), (scale_gradient, scale), (bias_gradient, bias))
    return tuple(arrays.match_cotangent(gradient, primal) for gradient, primal in matched)


_batch_norm.defvjp(_batch_norm_fwd, _batch_norm_bwd)

# With given statistics y = (x - mean) r scale + bias is plain arithmetic in five arguments:
#
#     dx = e r scale,  dscale = sum e (x - mean) r,  dbias = sum e,  dmean = -sum dx,
#     dvar = -1/2 sum e (x - mean) scale r^3 = -1/2 dscale scale r^2.

_affine = arrays.custom_vjp(5)(_normalise)


def _affine_fwd(x, mean, variance, scale, bias, epsilon: float):
    return _affine(x, mean, variance, scale, bias, epsilon), (x, mean, variance, scale, bias)


def _affine_bwd(epsilon: float, residuals: tuple, error: jax.Array):
    x, mean, variance, scale, bias = residuals
    axes, inverse = tuple(range(x.ndim - 1)), lax.rsqrt(variance + epsilon)
    bias_gradient = jnp.sum(error, axes)
    scale_gradient = jnp.sum(error * (x - mean), axes) * inverse
    gradients = (
        error * (inverse * scale),
        -bias_gradient * inverse * scale,
        -0.5 * scale_gradient * scale * inverse * inverse,
        scale_gradient,
        bias_gradient,
    )
    return tuple(map(arrays.match_cotangent, gradients, residuals))


_affine.defvjp(_affine_fwd, _affine_bwd)


def batch_norm(
    x: ArrayLike,
    scale: ArrayLike,
    bias: ArrayLike,
    *,
    mean: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    epsilon: float = 1e-5,
    axis_name: Axis = None,
    rule: Rule = "hand",
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises every channel, by the batch's own statistics or by given ones.

    Args:
      x: `(*batch, C)`; halves are computed in float32.
      scale: `(C)`.
      bias: `(C)`.
      mean: `(C)`, for inference; without it the batch's.
      variance: `(C)`, for inference; without it the batch's, biased (divided by the count).
      epsilon: added to the variance.
      axis_name: axes of `pmap` or `shard_map` over which the batch is spread, each device with as much of it; for
        given statistics without meaning.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `x` normalised, in its dtype; and the mean and variance that were used, in at least float32.

    Raises:
      TypeError: if a dtype is not real floating.
      ValueError: if a shape is not `(C)`, the batch is empty, or only one of mean and variance is given.

    Source: Ioffe & Szegedy 2015, algorithm 1 and the gradients of section 3.
    """
    arrays.choice("rule", rule, ("hand", "autodiff"))
    (x,) = arrays.floating(x=x)
    if (mean is None) != (variance is None):
        raise ValueError(f"`mean` and `variance` must be given together; got {mean} and {variance}.")
    given = {"scale": scale, "bias": bias} | ({} if mean is None else {"mean": mean, "variance": variance})
    wide, statistics = arrays.wider(x.dtype, jnp.float32), {}
    for name, value in given.items():
        (array,) = arrays.floating(**{name: value})
        if array.shape != x.shape[-1:]:
            raise ValueError(f"`{name}` must have shape {x.shape[-1:]}, one entry per channel; got {array.shape}.")
        statistics[name] = array.astype(wide)
    if mean is None:
        if not x.size:
            raise ValueError(f"`x` must not be empty in training; got shape {x.shape}.")
        function = _batch_norm if rule == "hand" else _plain_batch_norm
        affine = statistics["scale"], statistics["bias"]
        y, used_mean, used_variance = function(x.astype(wide), *affine, epsilon, axis_name)
    else:
        used_mean, used_variance = statistics["mean"], statistics["variance"]
        function = _affine if rule == "hand" else _normalise
        y = function(x.astype(wide), used_mean, used_variance, statistics["scale"], statistics["bias"], epsilon)
    return y.astype(x.dtype), used_mean, used_variance


# Local response normalisation over channels, with the window W(c) of `size` channels round c:
#
#     d_c = k + alpha sum_{c' in W(c)} x_c'^2,      y_c = x_c d_c^(-beta).
#
# x_q enters y_q directly, and d_c for every c with q in W(c). Hence
#
#     dx_q = e_q d_q^(-beta) - 2 alpha beta x_q sum_{c : q in W(c)} e_c x_c d_c^(-beta - 1);
#
# the sum is a window sum with the window mirrored. The rule keeps x alone.


def _channel_sum(x: jax.Array, low: int, high: int) -> jax.Array:
    """Sums each channel with `low` channels before it and `high` after."""
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(low, high)])
    return functools.reduce(jnp.add, [padded[..., i : i + x.shape[-1]] for i in range(low + high + 1)])


def _plain_lrn(x: jax.Array, low: int, high: int, k: float, alpha: float, beta: float) -> jax.Array:
    return x * (k + alpha * _channel_sum(jnp.square(x), low, high)) ** -beta


_lrn = arrays.custom_vjp(1, 2, 3, 4, 5)(_plain_lrn)


def _lrn_bwd(low: int, high: int, k: float, alpha: float, beta: float, x: jax.Array, error: jax.Array):
    d = k + alpha * _channel_sum(jnp.square(x), low, high)
    back = _channel_sum(error * x * d ** (-beta - 1), high, low)
    return (error * d**-beta - (2 * alpha * beta) * x * back,)


_lrn.defvjp(lambda x, *options: (_lrn(x, *options), x), _lrn_bwd)


def local_response_norm(
    x: ArrayLike,
    *,
    size: int = 5,
    k: float = 2.0,
    alpha: float = 1e-4,
    beta: float = 0.75,
    rule: Rule = "hand",
) -> jax.Array:
    """Divides every activation by the energy of its neighbours in channel.

    Args:
      x: `(*batch, C)`; halves are computed in float32.
      size: channels in a window; of an even size the extra one is before, as in PyTorch.
      k: added to the energy.
      alpha: weight of the sum of squares, as in the paper. PyTorch's `alpha` is divided by `size`.
      beta: exponent.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      An array of the same shape and dtype.

    Raises:
      TypeError: if the dtype is not real floating.
      ValueError: if `size` or `k` is not positive, or `rule` is unknown.

    Source: Krizhevsky, Sutskever & Hinton 2012, section 3.3.
    """
    arrays.choice("rule", rule, ("hand", "autodiff"))
    (x,) = arrays.floating(x=x)
    if size < 1 or k <= 0:
        raise ValueError(f"`size` and `k` must be positive; got {size} and {k}.")
    wide = x.astype(arrays.wider(x.dtype, jnp.float32))
    function = _lrn if rule == "hand" else _plain_lrn
    return function(wide, size // 2, (size - 1) // 2, k, alpha, beta).astype(x.dtype)
