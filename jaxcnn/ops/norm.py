"""Normalisation: over the batch, and over neighbouring channels."""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxcnn.ops import arrays

Rule = Literal["hand", "autodiff"]

# Batch normalisation, per channel, of a batch of which each of D devices holds a part. Device d has m elements x_di of
# the channel and copies scale_d and bias_d; M = D m. One device is D = 1.
#
#     mean = sum_di x_di / M,                 var = sum_di (x_di - mean)^2 / M,
#     r = (var + eps)^(-1/2),                 n_di = (x_di - mean) r,           y_di = scale_d n_di + bias_d.
#
# With L the sum of the devices' losses and e = dL/dy, a device's share of the parameters' gradients is its own:
#
#     dbias_d = sum_i e_di,                   dscale_d = sum_i e_di n_di;
#
# where the copies are of one parameter, their sum is its gradient. Towards x, mean and variance move too, on every
# device: dn_ck/dx_dq = r ([c = d][k = q] - 1/M - n_ck n_dq / M). Hence
#
#     dx_dq = r (scale_d e_dq - sum_c scale_c dbias_c / M - n_dq sum_c scale_c dscale_c / M),
#
# in which both sums are means over devices of a device's mean. That is the whole derivative: `mean` and `variance`, the
# statistics of this same x, are arguments of the rule only because it keeps them, and get nothing from it. It keeps
# x, not the normalised copy: n costs one subtraction and one product.
#
# The mean and variance that are returned are means over devices of m_d = sum_i x_di / m and v_d = sum_i (x_di - mean)^2
# / m. JAX transposes the mean over devices, since how an error of it counts (once, or once on each device) depends on
# the kind of mapping. All devices then have the same error g of v_d, and as sum_di (x_di - mean) = 0 nothing goes
# through the mean: dx_dq = 2 g (x_dq - mean) / m.


def _normalise(x: jax.Array, mean: jax.Array, variance: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float):
    return (x - mean) * (lax.rsqrt(variance + epsilon) * scale) + bias


def _local_mean(x: jax.Array) -> jax.Array:
    return jnp.mean(x, tuple(range(x.ndim - 1)))


def _over_devices(means: Any, devices: tuple[str, ...]) -> Any:
    return lax.pmean(means, devices) if devices else means


def _plain_deviation(x: jax.Array, mean: jax.Array, one_pass: bool) -> jax.Array:
    if not one_pass:
        return _local_mean(jnp.square(x - mean))
    # the same multiplied out: no sum waits for the mean, so that one reading of x serves all
    return jnp.maximum(_local_mean(jnp.square(x)) - mean * (2 * _local_mean(x) - mean), 0)


_deviation = arrays.custom_vjp(2)(_plain_deviation)


def _deviation_bwd(one_pass: bool, residuals: tuple[jax.Array, jax.Array], error: jax.Array):
    x, mean = residuals
    count = x.size // x.shape[-1]
    return arrays.match_cotangent(error * (2 / count) * (x - mean), x), None


_deviation.defvjp(lambda x, mean, one_pass: (_deviation(x, mean, one_pass), (x, mean)), _deviation_bwd)


def _plain_batch_norm(x, mean, variance, scale, bias, epsilon: float, devices: tuple[str, ...]) -> jax.Array:
    return _normalise(x, mean, variance, scale, bias, epsilon)


_batch_norm = arrays.custom_vjp(5, 6)(_plain_batch_norm)


def _batch_norm_fwd(x, mean, variance, scale, bias, epsilon: float, devices: tuple[str, ...]):
    return _batch_norm(x, mean, variance, scale, bias, epsilon, devices), (x, mean, variance, scale, bias)


def _batch_norm_bwd(epsilon: float, devices: tuple[str, ...], residuals: tuple, error: jax.Array):
    x, mean, variance, scale, bias = residuals
    axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    bias_gradient = jnp.sum(error, axes)
    if jax.default_backend() == "cpu":
        # ties x - mean to the error: XLA would compute it in the forward pass, and keep it beside x
        mean = jnp.where(jnp.isnan(bias_gradient), bias_gradient, mean)
    inverse, centred = lax.rsqrt(variance + epsilon), x - mean
    scale_gradient = jnp.sum(error * centred, axes) * inverse
    # dx = a e - b - c (x - mean), three numbers a channel
    factor = scale * inverse
    shares = factor * bias_gradient / count, factor * scale_gradient * inverse / count
    shift, slope = _over_devices(shares, devices)
    x_gradient = factor * error - shift - slope * centred
    matched = map(arrays.match_cotangent, (x_gradient, scale_gradient, bias_gradient), (x, scale, bias))
    x_gradient, scale_gradient, bias_gradient = matched
    return x_gradient, None, None, scale_gradient, bias_gradient


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
    axis_name: str | tuple[str, ...] | None = None,
    rule: Rule = "hand",
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises every channel, by the batch's own statistics or by given ones.

    Where each device of `jax.pmap` or `jax.shard_map` holds a part of the batch, `axis_name` makes the statistics those
    of the whole batch. The gradient towards `x` is then that of the sum of all devices' losses; scale and bias get
    this device's share of theirs, except where `shard_map` knows them to be the same everywhere and wants the sum.

    Args:
      x: `(*batch, C)`; halves are computed in float32.
      scale: `(C)`.
      bias: `(C)`.
      mean: `(C)`, for inference; without it the batch's.
      variance: `(C)`, for inference; without it the batch's, biased (divided by the count).
      epsilon: added to the variance.
      axis_name: mapped axes over which the batch is spread, in equal parts; ignored where mean and variance are given.
        Under `jax.vmap` the gradient must be taken inside; for the gradient of a `vmap` pass `rule="autodiff"`.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `x` normalised, in its dtype; and the mean and variance that were used, in at least float32.

    Raises:
      TypeError: if a dtype is not real floating, or `axis_name` is no name.
      ValueError: if a shape is not `(C)`, the batch is empty, only one of mean and variance is given, or an axis is not
        mapped.

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
        devices, x_wide = _mapped_axes(axis_name), x.astype(wide)
        normalise, deviation = (_batch_norm, _deviation) if rule == "hand" else (_plain_batch_norm, _plain_deviation)
        used_mean = _over_devices(_local_mean(x_wide), devices)
        one_pass = x.dtype.itemsize < 4  # what it cancels, x in halves has already lost by rounding
        used_variance = _over_devices(deviation(x_wide, used_mean, one_pass), devices)
        y = normalise(x_wide, used_mean, used_variance, statistics["scale"], statistics["bias"], epsilon, devices)
    else:
        used_mean, used_variance = statistics["mean"], statistics["variance"]
        function = _affine if rule == "hand" else _normalise
        y = function(x.astype(wide), used_mean, used_variance, statistics["scale"], statistics["bias"], epsilon)
    return y.astype(x.dtype), used_mean, used_variance


def _mapped_axes(axis_name: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The names as a tuple, if `jax.pmap`, `jax.shard_map` or `jax.vmap` maps all of them."""
    names = () if axis_name is None else tuple(axis_name) if isinstance(axis_name, tuple | list) else (axis_name,)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"`axis_name` must be a name or a tuple of names; got {axis_name!r}.")
    try:
        lax.axis_size(names)
    except NameError:
        raise ValueError(f"`axis_name` must name axes that are mapped here; got {axis_name!r}.") from None
    return names


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
