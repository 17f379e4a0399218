"""Losses and their gradients."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn.ops import arrays
from jaxcnn.ops.rule import custom_vjp
from jaxcnn.ops.sharding import match_cotangent

Reduction = Literal["none", "sum", "mean"]

# Softmax cross-entropy of logits z and targets t over the last axis, with p = softmax(z):
#
#     L = -sum_c t_c log p_c,    log p_c = z_c - m - log sum_c' exp(z_c' - m),    m = max z.
#
# From d log p_c / d z_k = [c = k] - p_k follow dL/dz_k = p_k sum_c t_c - t_k, and dL/dt_c = -log p_c. A target of 0
# counts for nothing, even where log p is -inf (0 log 0 = 0) or NaN, in both gradients too, so that an example without a
# label has no part in the loss whatever its logits are. The rule keeps exp(z - m) and its sum, which are p, with log p
# and t. The t need not sum to 1: a class's weight is a factor of its targets.


def _loss(logits: jax.Array, targets: jax.Array) -> jax.Array:
    return _weigh(jax.nn.log_softmax(logits), targets)


def _weigh(log_p: jax.Array, targets: jax.Array) -> jax.Array:
    return -jnp.sum(targets * _counted(log_p, targets), axis=-1)


def _counted(values: jax.Array, weights: jax.Array) -> jax.Array:
    """Replaces the values that are not finite and have weight 0."""
    return jnp.where((weights == 0) & ~jnp.isfinite(values), 0, values)


_cross_entropy = custom_vjp()(_loss)


def _cross_entropy_fwd(logits: jax.Array, targets: jax.Array):
    below = logits - jnp.max(logits, axis=-1, keepdims=True)
    powers = jnp.exp(below)
    total = jnp.sum(powers, axis=-1, keepdims=True)
    log_p = below - jnp.log(total)
    return _weigh(log_p, targets), (powers, total, log_p, logits, targets)


def _cross_entropy_bwd(residuals, error: jax.Array):
    powers, total, log_p, logits, targets = residuals
    weight = targets.sum(-1, keepdims=True)
    gradient = error[..., None] * (jnp.where(weight == 0, 0, powers * (weight / total)) - targets)
    targets_gradient = -error[..., None] * _counted(log_p, targets)
    return match_cotangent(gradient, logits), match_cotangent(targets_gradient, targets)


_cross_entropy.defvjp(_cross_entropy_fwd, _cross_entropy_bwd)


def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    label_smoothing: float = 0.0,
    class_weights: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: Reduction = "none",
    rule: Literal["hand", "autodiff"] = "hand",
) -> jax.Array:
    """Cross-entropy of labels and logits' softmax, one value per example.

    Args:
      logits: `(*batch, classes)`, unnormalized.
      labels: `(*batch)` integers in `[0, classes)`, or `(*batch, classes)` probabilities. An integer outside that
        range, as -1 for "unlabeled", matches no class; its loss is 0 (without smoothing).
      label_smoothing: the share of every target that is spread evenly over the classes, in `[0, 1]`.
      class_weights: `(classes)`, real floating; the factor of each class's part of the loss.
      ignore_index: the label of examples that do not count, as -100 in PyTorch; only with integer labels.
      reduction: `"none"`; `"sum"`; or `"mean"`, as in PyTorch. With integer labels, the mean is the sum of the losses
        divided by the sum of the labels' class weights (1 each without `class_weights`), and NaN where no label
        counts. With probabilities it is the mean over the examples.
      rule: `"hand"` for the hand-written gradient; `"autodiff"` for JAX's own.

    Returns:
      `(*batch)` losses in nats, or a scalar with `"sum"` or `"mean"`, in the dtype of `logits`. 16-bit floats are
      computed in float32.

    Raises:
      TypeError: if `logits` or `class_weights` is not real floating, or `labels` is neither integer nor real floating.
      ValueError: if the shapes disagree, or an option is out of range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> logits, labels = jnp.array([[0.0, 0.0]]), jnp.array([1])
      >>> round(ops.softmax_cross_entropy(logits, labels).item(), 4)  # log 2
      0.6931
      >>> jax.grad(lambda x: ops.softmax_cross_entropy(x, labels).sum())(logits).tolist()
      [[0.5, -0.5]]

    Source: Bridle 1990; label smoothing, Szegedy et al. 2016, section 7.
    """
    (logits,) = arrays.floating(logits=logits)
    arrays.choice("rule", rule, ("hand", "autodiff"))
    arrays.choice("reduction", reduction, get_args(Reduction))
    labels = jnp.asarray(labels)
    if not (jnp.issubdtype(labels.dtype, jnp.integer) or jnp.issubdtype(labels.dtype, jnp.floating)):
        raise TypeError(f"`labels` must be integers, or real floating probabilities; got {labels.dtype}.")
    if not logits.ndim:
        raise ValueError(f"`logits` must have a last axis, of classes; got shape {logits.shape}.")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"`label_smoothing` must be in [0, 1]; got {label_smoothing!r}.")
    wide = arrays.wider(logits.dtype, jnp.float32)
    expected = logits.shape if jnp.issubdtype(labels.dtype, jnp.floating) else logits.shape[:-1]
    if labels.shape != expected:
        raise ValueError(f"`labels` must have shape {expected}, for logits {logits.shape}; got {labels.shape}.")
    weights = None
    if class_weights is not None:
        (weights,) = arrays.floating(class_weights=class_weights)
        if weights.shape != logits.shape[-1:]:
            raise ValueError(
                f"`class_weights` must have shape {logits.shape[-1:]}, one entry per class; got {weights.shape}."
            )
        weights = jnp.broadcast_to(weights.astype(wide), logits.shape)
    targets, counts = _targets(labels, logits.shape[-1], wide, label_smoothing, weights, ignore_index)
    function = _cross_entropy if rule == "hand" else _loss
    losses = function(logits.astype(wide), targets)
    if reduction != "none":
        losses = jnp.sum(losses) / (jnp.sum(counts) if reduction == "mean" else 1)
    return losses.astype(logits.dtype)


def _targets(
    labels: jax.Array,
    classes: int,
    wide: jnp.dtype,
    label_smoothing: float,
    weights: jax.Array | None,
    ignore_index: int | None,
) -> tuple[jax.Array, jax.Array]:
    """The weighted targets, and each example's weight in a mean.

    They are `(*batch, classes)` and `(*batch)`.
    """
    hard = jnp.issubdtype(labels.dtype, jnp.integer)
    if ignore_index is not None and not hard:
        raise ValueError(f"`ignore_index` needs integer labels; got {ignore_index} with labels of {labels.dtype}.")
    targets = jax.nn.one_hot(labels, classes, dtype=wide) if hard else labels.astype(wide)
    counted = None
    if ignore_index is not None and jnp.iinfo(labels.dtype).min <= ignore_index <= jnp.iinfo(labels.dtype).max:
        counted = jnp.broadcast_to((labels != ignore_index)[..., None], targets.shape)
        targets = jnp.where(counted, targets, 0)
    counts = targets if weights is None else targets * weights
    counts = jnp.sum(counts, axis=-1) if hard else jnp.ones(labels.shape[:-1], wide)
    if label_smoothing:
        targets = (1 - label_smoothing) * targets + label_smoothing / classes
        targets = targets if counted is None else jnp.where(counted, targets, 0)
    return targets if weights is None else targets * weights, counts


# Squared error, L = sum_k (p_k - t_k)^2 / K over the last axis: dp = 2 (p - t) / K, dt = -dp.


def _plain_squared_error(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.mean(jnp.square(predictions - targets), axis=-1)


_squared_error = custom_vjp()(_plain_squared_error)


def _squared_error_bwd(residuals: tuple[jax.Array, jax.Array], error: jax.Array):
    predictions, targets = residuals
    gradient = error[..., None] * (predictions - targets) * (2 / predictions.shape[-1])
    return match_cotangent(gradient, predictions), match_cotangent(-gradient, targets)


_squared_error.defvjp(lambda p, t: (_squared_error(p, t), (p, t)), _squared_error_bwd)


def mean_squared_error(
    predictions: ArrayLike, targets: ArrayLike, *, rule: Literal["hand", "autodiff"] = "hand"
) -> jax.Array:
    """Squared error, averaged over the last axis, one value per example.

    Args:
      predictions: `(*batch, K)`, with K at least 1.
      targets: an array of the same shape and dtype.
      rule: `"hand"` or `"autodiff"`.

    Returns:
      `(*batch)` losses in the dtype of `predictions`; 16-bit floats are computed in float32.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if the shapes differ or have no last axis.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> x, target = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 4.0]])
      >>> ops.mean_squared_error(x, target).tolist()
      [2.0]
      >>> jax.grad(lambda x: ops.mean_squared_error(x, target).sum())(x).tolist()
      [[0.0, -2.0]]

    Source: LeCun et al. 1989.
    """
    function = _squared_error if arrays.choice("rule", rule, ("hand", "autodiff")) == "hand" else _plain_squared_error
    predictions, targets = arrays.floating(predictions=predictions, targets=targets)
    if predictions.shape != targets.shape or not predictions.ndim or not predictions.shape[-1]:
        raise ValueError(
            f"`predictions` and `targets` must have one shape, (*batch, K); "
            f"got {predictions.shape} and {targets.shape}."
        )
    wide = arrays.wider(predictions.dtype, jnp.float32)
    return function(predictions.astype(wide), targets.astype(wide)).astype(predictions.dtype)


# Binary cross-entropy of a logit z and a target t in [0, 1], with p = 1 / (1 + exp(-z)):
#
#     L = -t log p - (1 - t) log(1 - p) = w |z| + log(1 + exp(-|z|)),      dz = p - t,      dt = -z,
#
# with w, the probability of being wrong, 1 - t where z >= 0 and else t. The second form overflows nowhere; nor does
# p = (1 if z >= 0, else q) / (1 + q) of its q = exp(-|z|), which XLA then computes once. Who is infinitely sure and
# right loses nothing: where w is 0, an infinite z counts for nothing, in dt too.


def _wrong(logits: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.where(logits >= 0, 1 - targets, targets)


def _plain_binary(logits: jax.Array, targets: jax.Array) -> jax.Array:
    distance, wrong = jnp.abs(logits), _wrong(logits, targets)
    return wrong * _counted(distance, wrong) + jnp.log1p(jnp.exp(-distance))


_binary = custom_vjp()(_plain_binary)


def _binary_bwd(residuals: tuple[jax.Array, jax.Array], error: jax.Array):
    logits, targets = residuals
    power = jnp.exp(-jnp.abs(logits))
    logits_gradient = error * (jnp.where(logits >= 0, 1, power) / (1 + power) - targets)
    targets_gradient = -error * _counted(logits, _wrong(logits, targets))
    return match_cotangent(logits_gradient, logits), match_cotangent(targets_gradient, targets)


_binary.defvjp(lambda z, t: (_binary(z, t), (z, t)), _binary_bwd)


# With a weight w of the positive part, and s(z) = log(1 + exp(z)), so that -log p = s(-z) and -log(1 - p) = s(z):
#
#     L = w t s(-z) + (1 - t) s(z),
#     dz = (1 - t) p - w t (1 - p),      dt = w s(-z) - s(z),      dw = sum t s(-z),
#
# the last over everything that shares the weight. A part whose factor is 0 counts for nothing, even where its s is
# infinite.


def _softplus(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def _share(factor: jax.Array, loss: jax.Array) -> jax.Array:
    return factor * jnp.where((factor == 0) & jnp.isposinf(loss), 0, loss)


def _plain_weighted_binary(logits: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
    return _share(weights * targets, _softplus(-logits)) + _share(1 - targets, _softplus(logits))


_weighted_binary = custom_vjp()(_plain_weighted_binary)


def _weighted_binary_bwd(residuals: tuple[jax.Array, jax.Array, jax.Array], error: jax.Array):
    logits, targets, weights = residuals
    power = jnp.exp(-jnp.abs(logits))
    right, wrong = (jnp.where(side, 1, power) / (1 + power) for side in (logits >= 0, logits < 0))  # p and 1 - p
    shared = tuple(axis for axis, size in enumerate(weights.shape) if size != logits.shape[axis])
    gradients = (
        error * ((1 - targets) * right - weights * targets * wrong),
        error * (_share(weights, _softplus(-logits)) - _softplus(logits)),
        jnp.sum(error * _share(targets, _softplus(-logits)), shared, keepdims=True),
    )
    return tuple(map(match_cotangent, gradients, residuals))


_weighted_binary.defvjp(lambda *operands: (_weighted_binary(*operands), operands), _weighted_binary_bwd)


def binary_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    rule: Literal["hand", "autodiff"] = "hand",
) -> jax.Array:
    """Cross-entropy of probabilities and logits' sigmoid, one value per element.

    Args:
      logits: an array of any shape, unnormalized.
      targets: probabilities in `[0, 1]`, of the same shape and dtype.
      pos_weight: factor of the positive part, `-t log p`, that broadcasts to the logits; of the same dtype.
      rule: `"hand"`; or `"autodiff"` for JAX's own, which differs at logit 0 because its formula has a kink there.

    Returns:
      Losses in nats, of the same shape and dtype; 16-bit floats are computed in float32.

    Raises:
      TypeError: if a dtype is not real floating, or they differ.
      ValueError: if the shapes differ, or that of `pos_weight` does not broadcast to theirs.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> logits, targets = jnp.array([[0.0]]), jnp.array([[1.0]])
      >>> round(ops.binary_cross_entropy(logits, targets).item(), 4)  # log 2
      0.6931
      >>> jax.grad(lambda x: ops.binary_cross_entropy(x, targets).sum())(logits).tolist()
      [[-0.5]]
    """
    function = _binary if arrays.choice("rule", rule, ("hand", "autodiff")) == "hand" else _plain_binary
    logits, targets = arrays.floating(logits=logits, targets=targets)
    if logits.shape != targets.shape:
        raise ValueError(f"`targets` must have the shape of `logits`, {logits.shape}; got {targets.shape}.")
    wide = arrays.wider(logits.dtype, jnp.float32)
    if pos_weight is not None:
        if isinstance(pos_weight, int | float):  # a Python number takes the logits' dtype, as in all of JAX
            pos_weight = jnp.asarray(pos_weight, logits.dtype)
        _, weights = arrays.floating(logits=logits, pos_weight=pos_weight)
        shape = (1,) * (logits.ndim - weights.ndim) + weights.shape
        if len(shape) != logits.ndim or any(w not in (1, n) for w, n in zip(shape, logits.shape, strict=True)):
            raise ValueError(
                f"`pos_weight` must broadcast to the shape of `logits`, {logits.shape}; got {weights.shape}."
            )
        function = _weighted_binary if rule == "hand" else _plain_weighted_binary
        operands = logits.astype(wide), targets.astype(wide), weights.astype(wide).reshape(shape)
        return function(*operands).astype(logits.dtype)
    return function(logits.astype(wide), targets.astype(wide)).astype(logits.dtype)
