"""One case for every op, with all proofs."""

from collections.abc import Iterator
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn import ops
from jaxcnn.ops.cases.case import AT_A_PLACE, Case, apart, case, normal

BATCH = {"batched": (0,)}  # whose first argument holds examples
LINEAR = BATCH | {"multilinear": (0,)}
BILINEAR = BATCH | {"multilinear": (0, 1)}


def whole_cases() -> Iterator[Case]:
    """Yields one case for every op."""
    yield from _convolutions(normal(4, 5, 4, 2))
    yield from _pools(normal(4, 5, 4, 2), apart(4, 5, 4, 2))
    yield from _blocks()
    yield from _norms()
    yield from _activations(apart(4, 6))
    yield from _losses(apart(4, 6), np.abs(normal(4, 6)))
    yield case("linear", {}, (normal(4, 3, 5), normal(5, 2), normal(2)), **BATCH)
    yield case("linear", {"bias": None}, (normal(4, 5), normal(5, 2)), **BILINEAR)
    yield from _boxes()


def _convolutions(x: np.ndarray) -> Iterator[Case]:
    yield case("conv", {"strides": 2, "flip_kernel": True}, (x, normal(3, 2, 2, 2)), **BILINEAR)
    one_axis = {"strides": 2, "kernel_dilation": 2, "flip_kernel": True, "padding": ((2, 1),)}
    yield case("conv", one_axis, (normal(4, 9, 2), normal(3, 2, 3)), **BILINEAR)
    yield case("conv", {"feature_group_count": 2, "padding": "LECTURE"}, (x, normal(2, 2, 1, 4)), **BILINEAR)
    yield case(
        "conv",
        {"method": "im2col", "strides": (2, 1)},
        (x, normal(3, 2, 2, 2)),
        kinds=(*AT_A_PLACE, "dtypes", "transformations"),
        **BILINEAR,
    )
    yield case(
        "conv",
        {"method": "loops", "strides": (2, 1)},
        (x, normal(3, 2, 2, 2)),
        kinds=(*AT_A_PLACE, "dtypes", "transformations"),
        **BILINEAR,
    )
    yield case(
        "conv_general_dilated",
        {"window_strides": (2, 1), "padding": ((1, 0), (0, 1))},
        (normal(4, 2, 5, 4), normal(3, 2, 2, 3)),
        reference=partial(jax.lax.conv_general_dilated, window_strides=(2, 1), padding=((1, 0), (0, 1))),
        **BILINEAR,
    )
    yield case(
        "conv_transpose",
        {"strides": 2, "padding": 1, "remainder": 1, "transpose_kernel": True},
        (normal(4, 3, 2, 2), normal(3, 3, 2, 2)),
        **BILINEAR,
    )
    dilated = {"strides": 2, "padding": 1, "remainder": (3, 2), "kernel_dilation": (4, 3), "transpose_kernel": True}
    yield case("conv_transpose", dilated, (normal(4, 3, 2, 2), normal(2, 3, 2, 2)), **BILINEAR)
    yield case("depthwise_conv", {"padding": "VALID"}, (x, normal(3, 3, 1, 4)), **BILINEAR)
    yield case("separable_conv", {}, (x, normal(3, 3, 1, 4), normal(1, 1, 4, 3)), batched=(0,), multilinear=(0, 1, 2))
    yield case("locally_connected", {"strides": 2}, (x, normal(2, 1, 3, 3, 2, 2)), **BILINEAR)
    stage = {"pool": 2, "pool_strides": 1}
    yield case("conv_relu_pool", stage, (normal(4, 4, 4, 1), normal(3, 3, 1, 2), normal(2)), **BATCH)


def _pools(x: np.ndarray, distinct: np.ndarray) -> Iterator[Case]:
    overlapping = {"window_shape": 3, "strides": 2, "padding": "SAME"}
    yield case("max_pool", overlapping, (distinct,), **BATCH)
    yield case("relu_max_pool", overlapping, (distinct,), **BATCH)
    yield case(
        "max_pool_with_switches",
        {"window_shape": 2},
        (distinct,),
        **BATCH,
    )
    _, switches = ops.max_pool_with_switches(distinct, 2, strides=1)
    unpool = {"output_shape": (5, 4), "window_shape": 2, "strides": 1}
    yield case(
        "max_unpool",
        unpool,
        (normal(4, 4, 3, 2), switches),
        batched=(0, 1),
        multilinear=(0,),
    )
    yield case(
        "avg_pool", {"window_shape": 3, "strides": 2, "padding": "SAME", "count_include_pad": False}, (x,), **LINEAR
    )
    yield case("lp_pool", {"window_shape": 2, "p": 2.0}, (distinct,), **BATCH)
    yield case("subsample", {"strides": (2, 3)}, (x,), **LINEAR)
    yield case("global_avg_pool", {}, (x,), **LINEAR)
    yield case("global_max_pool", {}, (distinct,), **BATCH)
    yield case("adaptive_avg_pool", {"output_shape": (2, 3)}, (x,), **LINEAR)
    yield case("adaptive_max_pool", {"output_shape": (2, 3)}, (distinct,), **BATCH)
    yield case("blur_pool", {}, (x,), **LINEAR)
    yield case(
        "reduce_window_max",
        {"window_dimensions": (1, 1, 3, 2), "window_strides": (1, 1, 2, 1), "padding": "SAME"},
        (np.moveaxis(distinct, -1, 1),),
        reference=_stock_max,
        **BATCH,
    )


def _norms() -> Iterator[Case]:
    parameters = normal(6), normal(6)
    yield case("batch_norm", {}, (normal(4, 6), *parameters))
    yield case("batch_norm_relu", {}, (normal(4, 6), *parameters, normal(4, 6)))
    yield case(
        "batch_norm",
        {"statistics": "given"},
        (normal(4, 6), *parameters, normal(6), 0.5 + normal(6) ** 2),  # differences do not cross 0
        function=_inference,
        **BATCH,
    )
    yield case("local_response_norm", {"alpha": 0.5}, (normal(4, 2, 6),), **BATCH)


def _activations(flat: np.ndarray) -> Iterator[Case]:
    for name in ("relu", "leaky_relu", "tanh", "scaled_tanh", "sigmoid", "softmax", "unit_step", "signum"):
        yield case(name, {}, (flat,), **BATCH)
    yield case("prelu", {}, (flat, normal(6)), **BATCH)
    yield case("flatten", {"channels": "first"}, (normal(4, 3, 2, 2),), **LINEAR)
    yield case("dropout", {"rate": 0.4}, (flat, jax.random.key(0)), multilinear=(0,))


def _losses(flat: np.ndarray, probabilities: np.ndarray) -> Iterator[Case]:
    yield case("mean_squared_error", {}, (flat, normal(4, 6)), batched=(0, 1))
    yield case("half_squared_error", {}, (flat, normal(4, 6)), batched=(0, 1))
    yield case("huber_loss", {"delta": 0.3}, (flat, np.zeros_like(flat)), batched=(0, 1))
    yield case("binary_cross_entropy", {}, (flat, probabilities), batched=(0, 1))
    yield case("softmax_cross_entropy", {"label_smoothing": 0.1}, (flat, jnp.arange(4)), batched=(0, 1))
    yield case(
        "softmax_cross_entropy",
        {"labels": "soft"},
        (flat, probabilities),
        function=ops.softmax_cross_entropy,
        batched=(0, 1),
    )
    maps = apart(4, 3, 2)[..., None] * np.array([1.0, -0.5, 0.2], np.float32)
    classes = np.arange(24).reshape(4, 3, 2) % 4  # 3 does not count
    yield case("dice_loss", {"ignore_index": 3}, (maps, jnp.asarray(classes)), batched=(0, 1))
    soft = {"function": ops.dice_loss, "batched": (0, 1)}
    yield case("dice_loss", {"labels": "soft"}, (maps, np.abs(normal(4, 3, 2, 3))), **soft)


def _boxes() -> Iterator[Case]:
    drawn = np.random.default_rng(7)  # not from the stream of the other cases, which stay as they are

    def boxes(count: int) -> np.ndarray:
        corners = drawn.permutation(16 * count).reshape(count, 2, 8)[..., :2]  # all apart, and away from ties
        low, high = corners.min(-1), corners.max(-1)
        return (np.concatenate([low, high], -1) / 10 + 0.01 * drawn.random((count, 4))).astype(np.float32)

    yield case("box_iou", {}, (boxes(4), boxes(3)), **BATCH)
    yield case("giou_loss", {}, (boxes(4), boxes(4)), batched=(0, 1))


def _blocks() -> Iterator[Case]:
    # the ReLUs inside of these blocks have kinks too: drawn so that none of their inputs is nearer to 0 than 0.015
    drawn = np.random.default_rng(144)

    def normal(*shape: int) -> np.ndarray:
        return drawn.normal(size=shape).astype(np.float32)

    x = normal(4, 5, 4, 2)

    def residual(x, kernel, scale, bias, across, rule: Literal["hand", "autodiff"] = "hand"):
        units = [(kernel, scale, bias), (jnp.ones((1, 1, 3, 3), x.dtype), None, bias)]
        return ops.residual_block(x, units, projection=(across,), shortcut="B", strides=2, rule=rule)[0]

    arrays = normal(2, 2, 2, 3), normal(3), normal(3), normal(1, 1, 2, 3)
    yield case("residual_block", {"shortcut": "B", "strides": 2}, (x, *arrays), function=residual)

    def bottleneck(x, narrow, middle, wide, rule: Literal["hand", "autodiff"] = "hand"):
        return ops.bottleneck_block(x, [(narrow,), (middle,), (wide,)], activate=False, rule=rule)[0]

    arrays = normal(1, 1, 2, 3), normal(2, 2, 3, 3), normal(1, 1, 3, 2)
    yield case("bottleneck_block", {"activate": False}, (x, *arrays), function=bottleneck, batched=(0,))


def _stock_max(x: jax.Array) -> jax.Array:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 3, 2), (1, 1, 2, 1), "SAME")


def _inference(x, scale, bias, mean, variance, rule: Literal["hand", "autodiff"] = "hand"):
    return ops.batch_norm(x, scale, bias, mean=mean, variance=variance, rule=rule)[0]
