"""Batch normalization, with the shortcut and ReLU that may follow."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxcnn.ops import arrays, choices
from jaxcnn.ops.arrays import along_last
from jaxcnn.ops.native import backend
from jaxcnn.ops.native import norm as compiled
from jaxcnn.ops.norm import masked
from jaxcnn.ops.norm.given import by_given, plain_by_given
from jaxcnn.ops.rectifiers import relu
from jaxcnn.ops.rule import Rule, custom_vjp, def_sparing_vjp
from jaxcnn.ops.sharding import mapped_axes, match_cotangent, varying_like

Method = Literal["auto", "jax", "native"]
METHODS = ("auto", "jax", "native")

# Batch normalization, per channel, of a batch of which each of D devices holds a part. Device d has m elements x_di of
# the channel and copies scale_d and bias_d; M = D m. One device is D = 1.
#
#     mean = sum_di x_di / M,                 var = sum_di (x_di - mean)^2 / M,
#     r = (var + eps)^(-1/2),                 n_di = (x_di - mean) r,           y_di = scale_d n_di + bias_d.
#
# With L the sum of the devices' losses and e = dL/dy, a device's share of the parameters' gradients is its own:
#
#     dbias_d = sum_i e_di,                   dscale_d = sum_i e_di n_di;
#
# where the copies are of one parameter, their sum is its gradient. Toward x, mean and variance move too, on every
# device: dn_ck/dx_dq = r ([c = d][k = q] - 1/M - n_ck n_dq / M). Hence
#
#     dx_dq = r (scale_d e_dq - sum_c scale_c dbias_c / M - n_dq sum_c scale_c dscale_c / M),
#
# in which both sums are means over devices of a device's mean. That is the whole derivative: `mean` and `variance`, the
# statistics of this same x, are arguments of the rule only because it keeps them, and get nothing from it. It keeps
# x, not the normalized copy: n costs one subtraction and one product.
#
# The mean and variance that are returned are means over devices of m_d = sum_i x_di / m and v_d = sum_i (x_di - mean)^2
# / m. JAX transposes the mean over devices, since how an error of it counts (once, or once on each device) depends on
# the kind of mapping. All devices then have the same error g of v_d, and as sum_di (x_di - mean) = 0 nothing goes
# through the mean: dx_dq = 2 g (x_dq - mean) / m.
#
# With ReLU after it, y_di = max(z_di, 0) of the above z, or of z_di + s_di with a shortcut s: then e is [y > 0] dL/dy,
# which is the gradient of s as well. XLA fuses that by itself. Its loops over whole arrays are many, though; the
# C++ backend has one each for the moments, y, the sums and dx, in which all this is done in passing.


def _local_mean(x: jax.Array) -> jax.Array:
    return jnp.mean(x, tuple(range(x.ndim - 1)))


def _over_devices(means: Any, devices: tuple[str, ...]) -> Any:
    return lax.pmean(means, devices) if devices else means


def _plain_deviation(x: jax.Array, mean: jax.Array, one_pass: bool) -> jax.Array:
    if not one_pass:
        return _local_mean(jnp.square(x - along_last(mean, x)))
    # the same multiplied out: no sum waits for the mean, so that one reading of x serves all
    return jnp.maximum(_local_mean(jnp.square(x)) - mean * (2 * _local_mean(x) - mean), 0)


_deviation = custom_vjp(2)(_plain_deviation)


def _deviation_bwd(one_pass: bool, residuals: tuple[jax.Array, jax.Array], error: jax.Array):
    x, mean = residuals
    count = x.size // x.shape[-1]
    return match_cotangent(along_last(error * (2 / count), x) * (x - along_last(mean, x)), x), None


def_sparing_vjp(_deviation, _deviation_bwd, 2)


class _Form(NamedTuple):
    """Everything static about one call."""

    epsilon: float
    devices: tuple[str, ...]  # mapped axes
    loops: bool = False  # in C++
    relu: bool = False  # only there


def _plain_batch_norm(x, mean, variance, scale, bias, shortcut, form: _Form) -> jax.Array:
    if form.loops:
        factor = lax.rsqrt(variance + form.epsilon) * scale
        return compiled.normalize(x, mean, factor, bias, shortcut, form.relu)
    return plain_by_given(x, mean, variance, scale, bias, form.epsilon)


_batch_norm = custom_vjp(6)(_plain_batch_norm)


def _batch_norm_fwd(x, mean, variance, scale, bias, shortcut, form: _Form):
    y = _batch_norm(x, mean, variance, scale, bias, shortcut, form)
    return y, (x, mean, variance, scale, bias, None if shortcut is None else y)


def _batch_norm_bwd(form: _Form, residuals: tuple, error: jax.Array):
    x, mean, variance, scale, bias, y = residuals
    inverse, count = lax.rsqrt(variance + form.epsilon), x.size // x.shape[-1]
    factor = scale * inverse
    if form.loops:
        error, bias_gradient, moment, spread = _sums_by_loops(error, x, y, mean, factor, bias, form.relu)
    else:
        bias_gradient, moment, spread = _sums(error, x, mean, factor)
    scale_gradient = moment * inverse
    # dx = a e - b - c (x - mean), three numbers a channel
    shares = factor * bias_gradient / count, factor * scale_gradient * inverse / count
    x_gradient = spread(*_over_devices(shares, form.devices))
    dx, dscale, dbias = map(match_cotangent, (x_gradient, scale_gradient, bias_gradient), (x, scale, bias))
    return dx, None, None, dscale, dbias, None if y is None else error


def _sums(error: jax.Array, x: jax.Array, mean: jax.Array, factor: jax.Array):
    """Two sums over the error, and the input gradient's function."""
    axes = tuple(range(x.ndim - 1))
    total = jnp.sum(error, axes)
    if jax.default_backend() == "cpu":  # XLA would compute x - mean in the forward pass, and keep it beside x
        mean = arrays.not_before(mean, total)
    centered, factor = x - along_last(mean, x), along_last(factor, x)
    moment = jnp.sum(error * centered, axes)
    return total, moment, lambda b, c: factor * error - along_last(b, x) - along_last(c, x) * centered


def _sums_by_loops(error, x, y, mean, factor, bias, relu: bool):
    """The same in C++, and the error of the normalized inputs."""
    error, total, moment = compiled.sums(error, x, y, mean, factor, bias, relu=relu)
    relu = relu and y is None  # with a shortcut the error has gone through the ReLU
    return error, total, moment, lambda b, c: compiled.gradient(error, x, mean, factor, bias, b, c, relu=relu)


_batch_norm.defvjp(_batch_norm_fwd, _batch_norm_bwd)


def batch_norm(
    x: ArrayLike,
    scale: ArrayLike,
    bias: ArrayLike,
    *,
    mean: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    epsilon: float = 1e-5,
    axis_name: str | tuple[str, ...] | None = None,
    mask: ArrayLike | None = None,
    rule: Rule = "hand",
    method: Method = "auto",
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalizes every channel, with the batch's statistics or given ones.

    If each device of `jax.pmap` or `jax.shard_map` holds a part of the batch, `axis_name` gives the statistics of the
    whole batch. The gradient with respect to `x` is then that of the sum of the losses of all devices. The gradient
    with respect to scale and bias is this device's share of the sum, except where `shard_map` knows that they are the
    same on all devices and expects the sum.

    Args:
      x: `(*batch, C)`; 16-bit floats are computed in float32.
      scale: `(C)`.
      bias: `(C)`.
      mean: `(C)`, for inference; by default that of the batch.
      variance: `(C)`, for inference; by default that of the batch, biased (divided by the count).
      epsilon: added to the variance.
      axis_name: mapped axes over which the batch is spread in equal parts; ignored if mean and variance are given.
        Under `jax.vmap` the gradient must be taken inside; for the gradient of a `vmap` pass `rule="autodiff"`.
      mask: booleans that broadcast to `x`. The statistics are those of the cells where it is True, on all devices, and
        NaN if there is none; every cell is normalized. Ignored if mean and variance are given.
      rule: `"hand"` or `"autodiff"`.
      method: the implementation of the hand-written rule in training: `"jax"`; `"native"`, loops of the C++ backend
        (float32 and bfloat16, on CPU; see `ops.native`); `"auto"`, the C++ loops if the backend is built, they were
        measured as fastest, and this process has one device, else JAX.

    Returns:
      `x` normalized, in its dtype; and the mean and variance that were used, in at least float32.

    Raises:
      TypeError: if a dtype is not real floating, `axis_name` is not a name, or `mask` is not boolean.
      ValueError: if a shape is not `(C)`, the batch is empty, only one of mean and variance is given, an axis is not
        mapped, or an option is unknown or not supported for these arguments.
      RuntimeError: if `method` is `"native"` and the C++ backend is not available.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x = jnp.array([[1.0, 0.0], [3.0, 0.0]])
      >>> y, mean, variance = ops.batch_norm(x, jnp.ones(2), jnp.zeros(2))
      >>> y.round(3).tolist(), mean.tolist(), variance.tolist()
      ([[-1.0, 0.0], [1.0, 0.0]], [2.0, 0.0], [1.0, 0.0])
      >>> jax.grad(lambda x: ops.batch_norm(x, jnp.ones(2), jnp.zeros(2))[0].sum())(x).tolist()  # the sum is fixed
      [[0.0, 0.0], [0.0, 0.0]]

    Source: Ioffe & Szegedy 2015, algorithm 1 and the gradients of section 3.
    """
    (x,) = arrays.floating(x=x)
    return _checked(x, scale, bias, None, False, mean, variance, epsilon, axis_name, mask, rule, method)


def batch_norm_relu(
    x: ArrayLike,
    scale: ArrayLike,
    bias: ArrayLike,
    shortcut: ArrayLike | None = None,
    *,
    mean: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    epsilon: float = 1e-5,
    axis_name: str | tuple[str, ...] | None = None,
    mask: ArrayLike | None = None,
    rule: Rule = "hand",
    method: Method = "auto",
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalizes, adds a shortcut and rectifies, as one operation.

    Equal, in value and gradient, to `relu(batch_norm(...) + shortcut)`. XLA fuses these operations itself; in C++ the
    one operation saves several passes over memory.

    Args:
      x: `(*batch, C)`, as in `batch_norm`.
      scale: `(C)`.
      bias: `(C)`.
      shortcut: an array of the shape and dtype of `x`, added before the ReLU; None adds nothing.
      mean: `(C)`, for inference.
      variance: `(C)`, for inference.
      epsilon: added to the variance.
      axis_name: as in `batch_norm`.
      mask: as in `batch_norm`.
      rule: `"hand"` or `"autodiff"`.
      method: as in `batch_norm`.

    Returns:
      `relu(y + shortcut)`, in the dtype of `x`; and the mean and variance that were used, in at least float32.

    Raises:
      TypeError: if a dtype is not real floating, `shortcut` has another dtype than `x`, or `axis_name` is not a name.
      ValueError: as in `batch_norm`, or if `shortcut` has another shape than `x`.
      RuntimeError: as in `batch_norm`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x, shortcut = jnp.array([[1.0], [3.0]]), jnp.array([[0.5], [4.0]])  # x becomes [[-1.0], [1.0]]
      >>> block = lambda shortcut: ops.batch_norm_relu(x, jnp.ones(1), jnp.zeros(1), shortcut)[0]
      >>> block(shortcut).round(3).tolist()
      [[0.0], [5.0]]
      >>> jax.grad(lambda shortcut: block(shortcut).sum())(shortcut).tolist()
      [[0.0], [1.0]]
    """
    (x,) = arrays.floating(x=x)
    if shortcut is not None:
        x, shortcut = arrays.floating(x=x, shortcut=shortcut)
        if shortcut.shape != x.shape:
            raise ValueError(f"`shortcut` must have the shape of `x`, {x.shape}; got {shortcut.shape}.")
    return _checked(x, scale, bias, shortcut, True, mean, variance, epsilon, axis_name, mask, rule, method)


def _checked(
    x: jax.Array,
    scale: ArrayLike,
    bias: ArrayLike,
    shortcut: jax.Array | None,
    rectified: bool,
    mean: ArrayLike | None,
    variance: ArrayLike | None,
    epsilon: float,
    axis_name: str | tuple[str, ...] | None,
    mask: ArrayLike | None,
    rule: Rule,
    method: Method,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    arrays.choice("rule", rule, ("hand", "autodiff"))
    method = choices.method_named(method, METHODS)
    if (mean is None) != (variance is None):
        raise ValueError(f"`mean` and `variance` must be given together; got {mean} and {variance}.")
    if not x.ndim:
        raise ValueError(f"`x` must have a last axis, of channels; got shape {x.shape}.")
    given = {"scale": scale, "bias": bias} | ({} if mean is None else {"mean": mean, "variance": variance})
    wide, statistics = arrays.wider(x.dtype, jnp.float32), {}
    for name, value in given.items():
        (array,) = arrays.floating(**{name: value})
        if array.shape != x.shape[-1:]:
            raise ValueError(f"`{name}` must have shape {x.shape[-1:]}, one entry per channel; got {array.shape}.")
        statistics[name] = array.astype(wide)
    if mean is None and not x.size:
        raise ValueError(f"`x` must not be empty in training; got shape {x.shape}.")
    devices = () if variance is not None else mapped_axes(axis_name)
    cells = None if mask is None or variance is not None else masked.checked(mask, x)
    if _by_loops(x, statistics, cells, rule, method):
        shortcut = shortcut if shortcut is None else varying_like(shortcut, x)
        return _in_loops(x, statistics["scale"], statistics["bias"], shortcut, _Form(epsilon, devices, True, rectified))
    if cells is not None:
        parts = x.astype(wide), cells, *masked.statistics(x.astype(wide), cells, devices)
        used_mean, used_variance = parts[2:4]
        function = masked.normalize if rule == "hand" else masked.plain_normalize
        y = function(*parts, statistics["scale"], statistics["bias"], epsilon, devices)
    elif mean is None:
        x_wide = x.astype(wide)
        training, deviation = (_batch_norm, _deviation) if rule == "hand" else (_plain_batch_norm, _plain_deviation)
        used_mean = _over_devices(_local_mean(x_wide), devices)
        one_pass = jnp.finfo(x.dtype).nmant < 8  # what it cancels, bfloat16 has lost by rounding; float16 has not
        used_variance = _over_devices(deviation(x_wide, used_mean, one_pass), devices)
        parameters = statistics["scale"], statistics["bias"]
        y = training(x_wide, used_mean, used_variance, *parameters, None, _Form(epsilon, devices))
    else:
        used_mean, used_variance = statistics["mean"], statistics["variance"]
        function = by_given if rule == "hand" else plain_by_given
        y = function(x.astype(wide), used_mean, used_variance, statistics["scale"], statistics["bias"], epsilon)
    y = y.astype(x.dtype)
    y = y if shortcut is None else y + shortcut
    return relu(y, rule=rule) if rectified else y, used_mean, used_variance


def _by_loops(
    x: jax.Array, statistics: dict[str, jax.Array], cells: jax.Array | None, rule: Rule, method: Method
) -> bool:
    """Whether the C++ loops compute a call."""
    if method == "auto":
        if (
            rule != "hand"
            or "mean" in statistics
            or cells is not None
            or jax.default_backend() != "cpu"
            or jax.device_count() > 1
        ):
            return False
        fastest = choices.fastest(choices.NORM, choices.WHOLE, True)
        return backend.active() and compiled.can_normalize(x) and fastest == "native"
    if method == "native" and (rule != "hand" or "mean" in statistics or cells is not None):
        given = "given statistics" if "mean" in statistics else f"rule={rule!r}" if cells is None else "a `mask`"
        raise ValueError(f"`method='native'` supports only the hand-written rule in training; got {given}.")
    if method == "native" and not compiled.can_normalize(x):
        raise ValueError(
            "`method='native'` needs float32 or bfloat16, no explicit mesh, and a `shard_map` over all mesh axes; "
            f"got {jax.typeof(x)}."
        )
    return method == "native"


def _in_loops(
    x: jax.Array, scale: jax.Array, bias: jax.Array, shortcut: jax.Array | None, form: _Form
) -> tuple[jax.Array, jax.Array, jax.Array]:
    mean, variance = of_device = compiled.moments(x)
    if form.devices:  # about the mean of all
        mean = _over_devices(mean, form.devices)
        variance = _over_devices(variance + jnp.square(of_device[0] - mean), form.devices)
    return _batch_norm(x, mean, variance, scale, bias, shortcut, form), mean, variance
