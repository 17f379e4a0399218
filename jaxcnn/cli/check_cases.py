"""The places at which `jaxcnn check` proves every op: its configurations, and inputs that suit them."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import geometry, ops

AT_A_PLACE = ("differences", "reference", "adjoint", "value", "second_order")
AT_A_KINK = ("reference", "value")  # where differences mean nothing


@dataclasses.dataclass(frozen=True)
class Case:
    """One call of `check.check_vjp`."""

    op: str
    label: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    options: dict[str, Any]


_random = np.random.default_rng(0)


def _normal(*shape: int) -> np.ndarray:
    return _random.normal(size=shape).astype(np.float32)


def _apart(*shape: int) -> np.ndarray:
    """Values no two of which are nearer than 0.05, nor any nearer to 0 or 1 than 0.02: away from every kink."""
    count = int(np.prod(shape))
    return ((_random.permutation(count).reshape(shape) - count // 2) * 0.05 + 0.02).astype(np.float32)


def _case(op: str, options: dict[str, Any], args: tuple, *, function=None, reference=None, **proof: Any) -> Case:
    bound = function or partial(getattr(ops, op), **options)
    if reference is None:
        reference = partial(bound, rule="autodiff")
    label = ", ".join(f"{key}={value}" for key, value in options.items()) or "plain"
    return Case(op, label, bound, args, {"reference": reference, **proof})


def _conv_cases(full: bool) -> Iterator[Case]:
    kernels = (1, 2, 3, (2, 3), (6, 5))  # the last is larger than the input
    strides = (1, 2, 3, (3, 2), 4)
    paddings = ("SAME", "VALID", "LECTURE", ((0, 1), (2, 0)), ((-1, 0), (1, -1)))
    spacings = ((1, 1), (2, 1), (1, 2), (2, 2))
    groups = (1, 2, 4)
    product = itertools.product(kernels, strides, paddings, spacings, groups, (False, True), ("lax", "im2col", "loops"))
    for number, (kernel, stride, padding, (spread, dilation), group, flip, method) in enumerate(product):
        if number % (5 if method != "lax" else 1) if full else number % 389:  # primes to every factor of the product
            continue
        window = (kernel, kernel) if isinstance(kernel, int) else kernel
        options = {
            "strides": stride,
            "padding": padding,
            "input_dilation": spread,
            "kernel_dilation": dilation,
            "feature_group_count": group,
            "flip_kernel": flip,
            "method": method,
        }
        shapes = (1, 5, 4, 4), (*window, 4 // group, 4)
        try:
            geometry.conv_window(*shapes, **{k: v for k, v in options.items() if k not in ("flip_kernel", "method")})
        except ValueError:
            continue  # the window does not fit
        args = tuple(_normal(*shape) for shape in shapes)
        kinds = ("reference", "adjoint", "value") if full and number % 7 else AT_A_PLACE[:-1]
        yield _case(
            "conv",
            options | {"kernel": kernel},
            args,
            function=partial(ops.conv, **options),
            kinds=kinds,
            multilinear=(0, 1),
        )


def _pool_cases(full: bool) -> Iterator[Case]:
    windows, strides = (1, 2, 3, (2, 3)), (None, 1, 2, (3, 2), 4)
    paddings = ("VALID", "SAME", "LECTURE", ((1, 0), (0, 1)), ((-1, 1), (1, -1)))
    product = itertools.product(windows, strides, paddings, (1, 2))
    for number, (window, stride, padding, dilation) in enumerate(product):
        if not full and number % 41:
            continue
        options = {"window_shape": window, "strides": stride, "padding": padding, "window_dilation": dilation}
        proof = {"kinds": AT_A_PLACE}
        yield _case(
            "max_pool",
            options,
            (_apart(1, 6, 7, 2),),
            reference=partial(_gathered, jnp.max, -jnp.inf, **options),
            **proof,
        )
        average = partial(_gathered, jnp.mean, 0.0, **options)
        yield _case("avg_pool", options, (_normal(1, 6, 7, 2),), reference=average, multilinear=(0,), **proof)
        norm = partial(_gathered, lambda x, axis: jnp.sum(jnp.abs(x) ** 3, axis) ** (1 / 3), 0.0, **options)
        if padding in ("VALID",):  # elsewhere a window of padding has norm 0, where the reference has no gradient
            yield _case("lp_pool", options | {"p": 3.0}, (_apart(1, 6, 7, 2),), reference=norm, **proof)
    options = {"window_shape": (4, 3), "strides": (3, 2), "padding": 1, "window_dilation": 1, "ceil_mode": True}
    args = (_apart(1, 6, 6, 2),)  # both axes have one window more, which hangs out
    yield _case("max_pool", options, args, reference=partial(_gathered, jnp.max, -jnp.inf, **options), kinds=AT_A_PLACE)
    for count in ({"count_include_pad": True}, {"count_include_pad": False}):
        yield _case("avg_pool", options | count, args, kinds=AT_A_PLACE, multilinear=(0,))
    total = partial(_gathered, lambda x, axis: jnp.sum(x, axis) / 1.5, 0.0, **options)
    yield _case("avg_pool", options | {"divisor": 1.5}, args, reference=total, kinds=AT_A_PLACE, multilinear=(0,))
    ties = _random.integers(0, 3, size=(2, 6, 7, 2)).astype(np.float32)
    options = {"window_shape": 3, "strides": 2, "padding": "SAME"}
    yield _case("max_pool", options, (ties,), kinds=AT_A_KINK)


def _gathered(
    reduce: Callable, fill: float, x: jax.Array, *, window_shape, strides, padding, window_dilation, ceil_mode=False
) -> jax.Array:
    """A pool spelled by indexing: every window is gathered, then reduced; JAX differentiates it by itself."""
    sliding = {"strides": strides, "padding": padding, "window_dilation": window_dilation}
    window = geometry.pool_window(x.shape, window_shape, **sliding, ceil_mode=ceil_mode)
    borders = [(0, 0), *((max(low, 0), max(high, 0)) for low, high in window.padding), (0, 0)]
    padded = jnp.pad(x, borders, constant_values=fill)
    output = window.output_shape(x.shape[1:-1])
    places = [
        s * np.arange(n)[:, None] + d * np.arange(k) + max(-low, 0)
        for s, n, d, k, (low, _) in zip(
            window.strides, output, window.dilation, window.shape, window.padding, strict=True
        )
    ]
    rows, columns = places
    cells = padded[:, rows[:, None, :, None], columns[None, :, None, :]]
    return reduce(cells, axis=(3, 4))


def _whole_cases() -> Iterator[Case]:
    """One case for every op, with all proofs."""
    batch, linear = {"batched": (0,)}, {"batched": (0,), "multilinear": (0,)}
    bilinear = {"batched": (0,), "multilinear": (0, 1)}
    x, distinct, flat = _normal(4, 5, 4, 2), _apart(4, 5, 4, 2), _apart(4, 6)
    yield _case("conv", {"strides": 2, "flip_kernel": True}, (x, _normal(3, 2, 2, 2)), **bilinear)
    one_axis = {"strides": 2, "kernel_dilation": 2, "flip_kernel": True, "padding": ((2, 1),)}
    yield _case("conv", one_axis, (_normal(4, 9, 2), _normal(3, 2, 3)), **bilinear)
    yield _case("conv", {"feature_group_count": 2, "padding": "LECTURE"}, (x, _normal(2, 2, 1, 4)), **bilinear)
    yield _case(
        "conv",
        {"method": "im2col", "strides": (2, 1)},
        (x, _normal(3, 2, 2, 2)),
        kinds=(*AT_A_PLACE, "dtypes", "transformations"),
        **bilinear,
    )
    yield _case(
        "conv",
        {"method": "loops", "strides": (2, 1)},
        (x, _normal(3, 2, 2, 2)),
        kinds=(*AT_A_PLACE, "dtypes", "transformations"),
        **bilinear,
    )
    if ops.native.available() and jax.default_backend() == "cpu":
        yield from _native_cases()
    yield _case(
        "conv_general_dilated",
        {"window_strides": (2, 1), "padding": ((1, 0), (0, 1))},
        (_normal(4, 2, 5, 4), _normal(3, 2, 2, 3)),
        reference=partial(jax.lax.conv_general_dilated, window_strides=(2, 1), padding=((1, 0), (0, 1))),
        **bilinear,
    )
    yield _case(
        "conv_transpose",
        {"strides": 2, "padding": 1, "remainder": 1, "transpose_kernel": True},
        (_normal(4, 3, 2, 2), _normal(3, 3, 2, 2)),
        **bilinear,
    )
    dilated = {"strides": 2, "padding": 1, "remainder": (3, 2), "kernel_dilation": (4, 3), "transpose_kernel": True}
    yield _case("conv_transpose", dilated, (_normal(4, 3, 2, 2), _normal(2, 3, 2, 2)), **bilinear)
    yield _case("depthwise_conv", {"padding": "VALID"}, (x, _normal(3, 3, 1, 4)), **bilinear)
    yield _case(
        "separable_conv", {}, (x, _normal(3, 3, 1, 4), _normal(1, 1, 4, 3)), batched=(0,), multilinear=(0, 1, 2)
    )
    yield _case("locally_connected", {"strides": 2}, (x, _normal(2, 1, 3, 3, 2, 2)), **bilinear)
    stage = {"pool": 2, "pool_strides": 1}
    yield _case("conv_relu_pool", stage, (_normal(4, 4, 4, 1), _normal(3, 3, 1, 2), _normal(2)), **batch)
    overlapping = {"window_shape": 3, "strides": 2, "padding": "SAME"}
    yield _case("max_pool", overlapping, (distinct,), **batch)
    yield _case("relu_max_pool", overlapping, (distinct,), **batch)
    yield _case(
        "max_pool_with_switches",
        {"window_shape": 2},
        (distinct,),
        **batch,
    )
    _, switches = ops.max_pool_with_switches(distinct, 2, strides=1)
    unpool = {"output_shape": (5, 4), "window_shape": 2, "strides": 1}
    yield _case(
        "max_unpool",
        unpool,
        (_normal(4, 4, 3, 2), switches),
        batched=(0, 1),
        multilinear=(0,),
    )
    yield _case(
        "avg_pool", {"window_shape": 3, "strides": 2, "padding": "SAME", "count_include_pad": False}, (x,), **linear
    )
    yield _case("lp_pool", {"window_shape": 2, "p": 2.0}, (distinct,), **batch)
    yield _case("subsample", {"strides": (2, 3)}, (x,), **linear)
    yield _case("global_avg_pool", {}, (x,), **linear)
    yield _case("global_max_pool", {}, (distinct,), **batch)
    yield _case("adaptive_avg_pool", {"output_shape": (2, 3)}, (x,), **linear)
    yield _case("adaptive_max_pool", {"output_shape": (2, 3)}, (distinct,), **batch)
    yield _case("blur_pool", {}, (x,), **linear)
    parameters = _normal(6), _normal(6)
    yield _case("batch_norm", {}, (_normal(4, 6), *parameters))
    yield _case("batch_norm_relu", {}, (_normal(4, 6), *parameters, _normal(4, 6)))
    yield _case(
        "batch_norm",
        {"statistics": "given"},
        (_normal(4, 6), *parameters, _normal(6), 0.5 + _normal(6) ** 2),  # differences do not cross 0
        function=_inference,
        **batch,
    )
    yield _case("local_response_norm", {"alpha": 0.5}, (_normal(4, 2, 6),), **batch)
    for name in ("relu", "leaky_relu", "tanh", "scaled_tanh", "sigmoid", "softmax", "unit_step", "signum"):
        yield _case(name, {}, (flat,), **batch)
    yield _case("prelu", {}, (flat, _normal(6)), **batch)
    yield _case("dropout", {"rate": 0.4}, (flat, jax.random.key(0)), multilinear=(0,))
    probabilities = np.abs(_normal(4, 6))
    yield _case("mean_squared_error", {}, (flat, _normal(4, 6)), batched=(0, 1))
    yield _case("binary_cross_entropy", {}, (flat, probabilities), batched=(0, 1))
    yield _case("softmax_cross_entropy", {"label_smoothing": 0.1}, (flat, jnp.arange(4)), batched=(0, 1))
    yield _case(
        "softmax_cross_entropy",
        {"labels": "soft"},
        (flat, probabilities),
        function=ops.softmax_cross_entropy,
        batched=(0, 1),
    )


def _weighted_cases() -> Iterator[Case]:
    """Masks and weights, which are arrays among the options."""
    masked = (
        _normal(4, 5, 4, 2),
        _normal(3, 2, 2, 2),
        np.where(np.arange(24).reshape(3, 2, 2, 2) % 3, _normal(3, 2, 2, 2), 0),
    )
    yield _case("conv", {"mask": "given"}, masked, function=_masked_conv, batched=(0,), multilinear=(0, 1, 2))
    parameters, positive = (_normal(6), _normal(6)), np.linspace(0.25, 3.0, 6, dtype=np.float32)
    mask = np.arange(24).reshape(4, 6) % 5 > 0  # the channels have 4 and 3 cells that count
    yield _case("batch_norm", {"mask": "given"}, (_normal(4, 6), *parameters, mask), function=_masked_norm)
    yield _case(
        "batch_norm_relu",
        {"mask": "given"},
        (_normal(4, 6), *parameters, mask, _normal(4, 6)),
        function=_masked_norm_relu,
    )
    flat, probabilities = _apart(4, 6), np.abs(_normal(4, 6))
    yield _case(
        "binary_cross_entropy",
        {"pos_weight": "per class"},
        (flat, probabilities, positive),
        function=_weighted_binary,
        batched=(0, 1),
    )
    for reduction, spread in (("none", (0, 1)), ("mean", ())):
        options = {"label_smoothing": 0.1, "ignore_index": 1, "reduction": reduction}
        yield _case(
            "softmax_cross_entropy",
            {"class_weights": "given", **options},
            (flat, jnp.arange(4), positive),
            function=partial(_weighted_classes, **options),
            batched=spread,
        )


def _native_cases() -> Iterator[Case]:
    """oneDNN computes in float32 alone: whole numbers are exact there, so that proofs in float64 hold all the same."""

    def single(x, w, **options):
        return ops.conv(x.astype(jnp.float32), w.astype(jnp.float32), **options).astype(x.dtype)

    for options in ({"strides": 2, "flip_kernel": True}, {"feature_group_count": 2, "padding": "LECTURE"}):
        groups = options.get("feature_group_count", 1)
        args = (_random.integers(-4, 5, (4, 5, 4, 4)), _random.integers(-4, 5, (3, 2, 4 // groups, 6)))
        yield _case(
            "conv",
            {"method": "native", **options},
            tuple(a.astype(np.float32) for a in args),
            function=partial(single, method="native", **options),
            reference=partial(ops.conv, rule="autodiff", **options),
            kinds=("reference", "adjoint", "value", "dtypes", "transformations", "devices"),
            batched=(0,),
            multilinear=(0, 1),
        )
    options = {"window_shape": 3, "strides": 2, "padding": "SAME"}

    def pooled(x, **how):
        return ops.max_pool(x.astype(jnp.float32), **options, **how).astype(x.dtype)

    yield _case(
        "max_pool",
        {"method": "native", **options},
        (_random.permutation(4 * 5 * 4 * 3).reshape(4, 5, 4, 3).astype(np.float32),),
        function=partial(pooled, method="native"),
        reference=partial(ops.max_pool, rule="autodiff", **options),
        kinds=("reference", "value", "dtypes", "transformations", "devices"),
        batched=(0,),
    )


def _inference(x, scale, bias, mean, variance, rule: Literal["hand", "autodiff"] = "hand"):
    return ops.batch_norm(x, scale, bias, mean=mean, variance=variance, rule=rule)[0]


def _masked_conv(inputs, kernel, mask, rule: Literal["hand", "autodiff"] = "hand"):
    return ops.conv(inputs, kernel, mask=mask, rule=rule)


def _masked_norm(x, scale, bias, mask, rule: Literal["hand", "autodiff"] = "hand"):
    return ops.batch_norm(x, scale, bias, mask=mask, rule=rule)


def _masked_norm_relu(x, scale, bias, mask, shortcut, rule: Literal["hand", "autodiff"] = "hand"):
    return ops.batch_norm_relu(x, scale, bias, shortcut, mask=mask, rule=rule)


def _weighted_binary(logits, targets, pos_weight, rule: Literal["hand", "autodiff"] = "hand"):
    return ops.binary_cross_entropy(logits, targets, pos_weight=pos_weight, rule=rule)


def _weighted_classes(logits, labels, class_weights, **options):
    return ops.softmax_cross_entropy(logits, labels, class_weights=class_weights, **options)


@functools.cache
def cases(full: bool = False, op: str | None = None) -> list[Case]:
    """Every case; with `full` the whole product of configurations; with `op` those of one op."""
    every = itertools.chain(_whole_cases(), _weighted_cases(), _conv_cases(full), _pool_cases(full))
    return [case for case in every if op in (None, case.op)]
