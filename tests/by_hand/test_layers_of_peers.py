"""By hand against stock: every layer of other libraries that convolves or pools, over a grid of its arguments."""

import collections
import importlib
import itertools
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn

os.environ.setdefault("KERAS_BACKEND", "jax")

MODULES = {
    "equinox": "equinox.nn",
    "haiku": "haiku",
    "keras": "keras.layers",
    "linen": "flax.linen",
    "nnx": "flax.nnx",
}
INSTALLED_BY = {"equinox": "equinox", "haiku": "haiku", "keras": "keras", "linen": "flax", "nnx": "flax"}

# What is named after convolutions or pools, and not tested.
EXCEPTIONS: dict[tuple[str, str], str] = {}

SPATIAL = {1: (9,), 2: (7, 6), 3: (5, 4, 4)}
TOLERANCES = {"float64": 1e-11, "float32": 1e-5, "bfloat16": 3e-2, "float16": 4e-3}  # of the largest number


@pytest.fixture(autouse=True)
def as_peers_compute():
    """In float64 where it is asked for; Keras adds biases to maps of more axes, and promotes."""
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


# Cases ----------------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A layer with its arguments, and what has to be found in it."""

    library: str
    layer: str
    arguments: dict[str, Any]
    shape: tuple[int, ...]  # of the inputs
    found: dict[str, int]
    dtype: str = "float64"
    ties: bool = False  # inputs that are equal to each other
    slow: bool = False


def told(case: Case) -> str:
    """A case in words."""
    arguments = [f"{name}={getattr(value, '__name__', value)}" for name, value in case.arguments.items()]
    words = [case.library, case.layer, *arguments, "x".join(map(str, case.shape)), case.dtype, "ties" * case.ties]
    return "-".join(filter(None, words)).replace(" ", "")


def last(n: int, channels: int = 4, batch: tuple[int, ...] = (2,)) -> tuple[int, ...]:
    """The shape of inputs whose channels are last."""
    return (*batch, *SPATIAL[n], channels)


def first(n: int, channels: int = 4, batch: tuple[int, ...] = (2,)) -> tuple[int, ...]:
    """The shape of inputs whose channels are first."""
    return (*batch, channels, *SPATIAL[n])


def rare(n: int, at: int, often: int) -> bool:
    """Whether arguments wait for the slow tests: the first `often` are tested each time in two axes, one in others."""
    return at >= (often if n == 2 else 1)


def equinox_cases():
    conv = {"in_channels": 4, "out_channels": 6, "kernel_size": 3}

    def case(layer, arguments, shape, found="conv", **others):
        return Case("equinox", layer, arguments, shape, {found: 1} if found else {}, **others)

    for n in (1, 2, 3):
        pairs = [(2, 1), (0, 2), (1, 1)][:n]
        for at, options in enumerate(
            [
                {},
                {"stride": 2, "padding": "SAME", "groups": 2, "use_bias": False},
                {"padding": pairs, "dilation": 2},
                {"padding": 1, "padding_mode": "REFLECT", "stride": 2},
                {"padding": "SAME", "padding_mode": "CIRCULAR"},
                {"out_channels": 8, "groups": 4, "padding": 1},
                {"padding": 1, "padding_mode": "REPLICATE"},
                {"kernel_size": 1, "stride": 3},
                {"padding": "SAME_LOWER", "kernel_size": 2},
            ]
        ):
            yield case(f"Conv{n}d", conv | options, first(n), slow=rare(n, at, 6))
        for at, options in enumerate(
            [
                {"stride": 2},
                {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2, "use_bias": False},
                {"padding": pairs, "dilation": 2},
                {"padding": "SAME", "padding_mode": "CIRCULAR", "stride": 2},
                {"stride": 2, "padding": "SAME"},
                {"out_channels": 4, "groups": 4, "stride": 3, "kernel_size": 4},
            ]
        ):
            yield case(f"ConvTranspose{n}d", conv | options, first(n), slow=rare(n, at, 4))
        for layer, op in ((f"MaxPool{n}d", "max_pool"), (f"AvgPool{n}d", "sum_pool")):
            for at, options in enumerate(
                [
                    {"kernel_size": 2, "stride": 2},
                    {"kernel_size": 3, "stride": 2, "padding": 1, "use_ceil": True},
                    {"kernel_size": 2, "padding": [(0, 1), (1, 0), (1, 1)][:n]},
                    {"kernel_size": 3, "stride": 3, "use_ceil": True},
                ]
            ):
                yield case(layer, options, first(n), op, slow=rare(n, at, 3))
        yield case(f"MaxPool{n}d", {"kernel_size": 2, "padding": 1}, first(n), "max_pool", ties=True, slow=n != 2)
        # These reduce blocks of a reshaped array: no window in them is one of lax.
        for layer in (f"AdaptiveMaxPool{n}d", f"AdaptiveAvgPool{n}d"):
            yield case(layer, {"target_shape": 3}, first(n), "")
            yield case(layer, {"target_shape": (2, 3, 1)[:n]}, first(n), "", slow=True)
    yield case("Conv", {"num_spatial_dims": 2} | conv, first(2, batch=()))  # of one example, without vmap
    yield case("ConvTranspose", {"num_spatial_dims": 2} | conv, first(2, batch=()))
    yield case("AdaptivePool", {"target_shape": 2, "num_spatial_dims": 2, "operation": jnp.max}, first(2), "")
    pool = {"num_spatial_dims": 2, "kernel_size": 2, "stride": 2}
    yield case("Pool", {"init": -math.inf, "operation": jax.lax.max} | pool, first(2, batch=()), "max_pool")
    yield case("Pool", {"init": 0.0, "operation": jax.lax.add} | pool, first(2, batch=()), "sum_pool")
    yield case("Pool", {"init": math.inf, "operation": jax.lax.min} | pool, first(2), "")
    for dtype in ("float32", "bfloat16", "float16"):
        typed = {"dtype": dtype, "slow": dtype == "float16"}
        rarely = {"dtype": dtype, "slow": dtype != "bfloat16"}
        yield case("Conv2d", conv | {"padding": 1}, first(2), **typed)
        yield case("ConvTranspose2d", conv | {"stride": 2}, first(2), **rarely)
        yield case("MaxPool2d", {"kernel_size": 2}, first(2), "max_pool", **typed)
        yield case("AvgPool2d", {"kernel_size": 3, "stride": 2}, first(2), "sum_pool", **rarely)


def keras_cases():
    def case(layer, arguments, shape, found="conv", count=1, **others):
        return Case("keras", layer, arguments, shape, {found: count} if found else {}, **others)

    conv = {"filters": 6, "kernel_size": 3}
    channels_first = {"data_format": "channels_first"}
    for n in (1, 2, 3):
        for at, options in enumerate(
            [
                {"strides": 2, "padding": "same"},
                {"dilation_rate": 2, "padding": "same", "use_bias": False, "activation": "relu"},
                {"groups": 2, "strides": 2},
                {"groups": 4, "filters": 8},
            ]
        ):
            yield case(f"Conv{n}D", conv | options, last(n), slow=rare(n, at, 4))
        yield case(f"Conv{n}D", conv | channels_first | {"groups": 2, "padding": "same"}, first(n), slow=n != 2)
        for at, options in enumerate(
            [
                {"strides": 2},
                {"strides": 2, "padding": "same", "use_bias": False},
                {"strides": 3, "padding": "same", "output_padding": 1, "kernel_size": 4},
                {"dilation_rate": 2},
            ]
        ):
            yield case(f"Conv{n}DTranspose", conv | options, last(n), slow=rare(n, at, 3))
        yield case(f"Conv{n}DTranspose", conv | channels_first | {"strides": 2}, first(n), slow=n != 2)
        if n < 3:
            depthwise = {"kernel_size": 3, "depth_multiplier": 2}
            separable = conv | {"depth_multiplier": 2}
            for layer, own, count in (("DepthwiseConv", depthwise, 1), ("SeparableConv", separable, 2)):
                for at, options in enumerate(
                    [{"padding": "same"}, {"strides": 2, "use_bias": False}, {"dilation_rate": 2, "padding": "same"}]
                ):
                    yield case(f"{layer}{n}D", own | options, last(n), count=count, slow=rare(n, at, 2))
                yield case(f"{layer}{n}D", own | channels_first, first(n), count=count, slow=n != 2 or count > 1)
        cells = {"filters": 3, "kernel_size": 2, "recurrent_initializer": "zeros"}
        # one convolution of all steps for every gate, and those of the states in a scan
        yield case(f"ConvLSTM{n}D", cells, last(n, 2, (2, 3)), count=8)
        yield case(
            f"ConvLSTM{n}D",
            cells | channels_first | {"padding": "same", "return_sequences": True},
            first(n, 2, (2, 3)),
            count=8,
            slow=True,
        )
        for layer, op in ((f"MaxPooling{n}D", "max_pool"), (f"AveragePooling{n}D", "sum_pool")):
            for at, options in enumerate(
                [
                    {"pool_size": 2},
                    {"pool_size": 3, "strides": 2, "padding": "same"},
                    {"pool_size": 2, "strides": 3, "padding": "same"},
                ]
            ):
                count = 2 if op == "sum_pool" and options.get("padding") == "same" else 1  # the other is of ones
                yield case(layer, options, last(n), op, count, slow=rare(n, at, 2))
            same = {"pool_size": 2, "padding": "same"}
            count = 2 if op == "sum_pool" else 1
            yield case(layer, same | channels_first, first(n), op, count, slow=n != 2)
        yield case(f"MaxPooling{n}D", {"pool_size": 3, "strides": 2}, last(n), "max_pool", ties=True, slow=n != 2)
        for layer, op in ((f"AdaptiveMaxPooling{n}D", "max_pool"), (f"AdaptiveAveragePooling{n}D", "sum_pool")):
            yield case(layer, {"output_size": 2}, last(n), op, 2 * n)  # two sizes of windows an axis
            yield case(layer, {"output_size": 3} | channels_first, first(n), op, 2 * n, slow=True)
        for kind in ("Max", "Average"):  # these reduce whole axes
            yield case(f"Global{kind}Pooling{n}D", {}, last(n), "")
            yield case(f"Global{kind}Pooling{n}D", {"keepdims": True} | channels_first, first(n), "", slow=True)
    yield case("Conv1D", conv | {"padding": "causal", "dilation_rate": 2}, last(1))
    yield case("Conv1D", conv | {"padding": "causal", "strides": 2, "use_bias": False}, last(1))
    yield case("Conv2D", conv | {"strides": (2, 1), "kernel_size": (3, 2)}, last(2))
    yield case("MaxPooling2D", {"pool_size": (3, 2), "strides": (1, 2)}, last(2), "max_pool")
    for dtype in ("float32", "bfloat16", "float16", "mixed_bfloat16"):
        typed = {"dtype": dtype, "slow": dtype == "float16"}
        rarely = {"dtype": dtype, "slow": dtype != "bfloat16"}
        yield case("Conv2D", conv | {"padding": "same"}, last(2), **typed)
        yield case("Conv2DTranspose", conv | {"strides": 2}, last(2), **rarely)
        yield case("SeparableConv2D", conv, last(2), count=2, **rarely)
        yield case("MaxPooling2D", {"pool_size": 2}, last(2), "max_pool", **typed)
        yield case(
            "AveragePooling2D",
            {"pool_size": 3, "padding": "same"},
            last(2),
            "sum_pool",
            2,
            **rarely,
        )


def flax_conv_options(n):
    """Arguments of the convolutions of both of Flax's libraries."""
    yield from (
        {},
        {"strides": 2, "padding": "VALID", "feature_group_count": 2, "use_bias": False},
        {"kernel_dilation": 2, "padding": [(2, 1), (0, 2), (1, 1)][:n]},
        {"padding": "CIRCULAR", "kernel_dilation": 2},
        {"padding": "REFLECT", "strides": 2},
        {"input_dilation": 2, "padding": 1},
        {"feature_group_count": 4, "features": 8},
        {"kernel_size": (1,) * n, "strides": (3, 1, 2)[:n]},
    )
    if n == 1:
        yield {"padding": "CAUSAL", "kernel_dilation": 2, "use_bias": False}


def flax_transposed_options(n):
    yield from (
        {"strides": (2,) * n},
        {"strides": (2,) * n, "padding": "VALID", "transpose_kernel": True, "use_bias": False},
        {"strides": (3, 2, 1)[:n], "padding": "CIRCULAR"},
        {"kernel_dilation": (2,) * n, "padding": [(2, 1), (0, 2), (1, 1)][:n]},
    )


def flax_pools(case, n, few):
    """The pools of both of Flax's libraries, which are functions; NNX has copies of them, tested in fewer cases."""
    for layer, op in (("max_pool", "max_pool"), ("avg_pool", "sum_pool")):
        for at, options in enumerate(
            [
                {"window_shape": (2,) * n, "strides": (2,) * n},
                {"window_shape": (3, 2, 2)[:n], "strides": (2,) * n, "padding": "SAME"},
                {"window_shape": (3, 2, 2)[:n], "padding": [(2, 1), (0, 1), (1, 1)][:n]},
            ]
        ):
            yield case(layer, options, last(n), op, slow=rare(n, at, 2) or (n != 2 and few))
        yield case(layer, {"window_shape": (2,) * n}, last(n, batch=()), op, slow=n != 2 or few)
    ties = {"window_shape": (3,) * n, "strides": (2,) * n}
    yield case("max_pool", ties, last(n), "max_pool", ties=True, slow=n != 2 or few)
    same = {"window_shape": (3,) * n, "padding": "SAME", "count_include_pad": False}
    yield case("avg_pool", same, last(n), "sum_pool", 2, slow=n != 2)  # of the inputs, and of ones


def linen_cases():
    def case(layer, arguments, shape, found="conv", count=1, **others):
        return Case("linen", layer, arguments, shape, {found: count} if found else {}, **others)

    for n in (1, 2, 3):
        conv = {"features": 6, "kernel_size": (3,) * n}
        for at, options in enumerate(flax_conv_options(n)):
            often = at < 5 if n == 2 else at in (0, 8)
            yield case("Conv", conv | options, last(n), slow=not often)
        for at, options in enumerate(flax_transposed_options(n)):
            yield case("ConvTranspose", conv | options, last(n), slow=rare(n, at, 3))
        for at, options in enumerate(
            [{"padding": "VALID"}, {"strides": (2,) * n, "kernel_dilation": 2, "use_bias": False}]
        ):
            yield case("ConvLocal", conv | options, last(n), slow=rare(n, at, 2))
        yield case("ConvLSTMCell", {"features": 3, "kernel_size": (2,) * n}, last(n, 2), count=2)
        yield from flax_pools(case, n, few=False)
    pool = {"window_shape": (2, 2), "strides": (2, 2), "padding": "SAME"}
    yield case("pool", {"init": -math.inf, "reduce_fn": jax.lax.max} | pool, last(2), "max_pool")
    yield case("pool", {"init": 0.0, "reduce_fn": jax.lax.add} | pool, last(2), "sum_pool")
    yield case("pool", {"init": math.inf, "reduce_fn": jax.lax.min} | pool, last(2), "")
    conv = {"features": 6, "kernel_size": (3, 3)}
    yield case("Conv", conv, last(2, batch=()))
    yield case("Conv", conv, last(2, batch=(2, 3)))
    for dtype in ("float32", "bfloat16", "float16", "mixed_bfloat16"):
        typed = {"dtype": dtype, "slow": dtype == "float16"}
        rarely = {"dtype": dtype, "slow": dtype != "bfloat16"}
        yield case("Conv", conv, last(2), **typed)
        yield case("ConvTranspose", conv | {"strides": (2, 2)}, last(2), **rarely)
        yield case("ConvLocal", conv, last(2), **rarely)
        if not dtype.startswith("mixed"):
            yield case("max_pool", {"window_shape": (2, 2)}, last(2), "max_pool", **typed)
            yield case(
                "avg_pool",
                {"window_shape": (3, 3), "padding": "SAME"},
                last(2),
                "sum_pool",
                **rarely,
            )


def nnx_cases():
    def case(layer, arguments, shape, found="conv", count=1, **others):
        return Case("nnx", layer, arguments, shape, {found: count} if found else {}, **others)

    def named(options):
        return {"out_features" if name == "features" else name: value for name, value in options.items()}

    for n in (1, 2, 3):
        conv = {"in_features": 4, "out_features": 6, "kernel_size": (3,) * n}
        for at, options in enumerate(flax_conv_options(n)):
            often = at not in (2, 3, 4) if n == 2 else at in (0, 8)  # Linen's the others
            yield case("Conv", conv | named(options), last(n), slow=not often)
        for at, options in enumerate(flax_transposed_options(n)):
            often = at in (0, 3) if n == 2 else at == 0
            yield case("ConvTranspose", conv | named(options), last(n), slow=not often)
        yield from flax_pools(case, n, few=True)
        yield case("min_pool", {"window_shape": (2,) * n, "strides": (2,) * n}, last(n), "", slow=n != 2)
    pool = {"window_shape": (2, 2), "strides": (2, 2), "padding": "SAME"}
    yield case("pool", {"init": -math.inf, "reduce_fn": jax.lax.max} | pool, last(2), "max_pool")
    yield case("pool", {"init": 0.0, "reduce_fn": jax.lax.add} | pool, last(2), "sum_pool")
    conv = {"in_features": 4, "out_features": 6, "kernel_size": (3, 3)}
    yield case("Conv", conv, last(2, batch=()))
    yield case("Conv", conv, last(2, batch=(2, 3)))
    for dtype in ("float32", "bfloat16", "float16", "mixed_bfloat16"):
        typed = {"dtype": dtype, "slow": dtype == "float16"}
        rarely = {"dtype": dtype, "slow": dtype != "bfloat16"}
        yield case("Conv", conv, last(2), **typed)
        yield case("ConvTranspose", conv | {"strides": 2}, last(2), **rarely)
        if not dtype.startswith("mixed"):
            yield case("max_pool", {"window_shape": (2, 2)}, last(2), "max_pool", **typed)
    # the dtype of the outputs is not that of the inputs
    yield case("Conv", conv | {"preferred_element_type": jnp.float32}, last(2), dtype="bfloat16")


def causal(size):
    return size - 1, 0


def haiku_cases():
    def case(layer, arguments, shape, found="conv", count=1, **others):
        return Case("haiku", layer, arguments, shape, {found: count}, **others)

    for n in (1, 2, 3):
        conv = {"output_channels": 6, "kernel_shape": 3}
        layouts = "NCW", "NCHW", "NCDHW"
        pairs = [(2, 1), (0, 2), (1, 1)][:n]
        for at, options in enumerate(
            [
                {"stride": 2},
                {"rate": 2, "padding": "SAME", "with_bias": False},
                {"padding": pairs, "feature_group_count": 2},
                {"padding": causal, "rate": 2},
                {"padding": "VALID", "feature_group_count": 4, "output_channels": 8},
            ]
        ):
            yield case(f"Conv{n}D", conv | options, last(n), slow=rare(n, at, 4))
        yield case(f"Conv{n}D", conv | {"data_format": layouts[n - 1]}, first(n), slow=n != 2)
        for at, options in enumerate(
            [
                {"stride": 2},
                {"stride": 2, "padding": "VALID", "with_bias": False},
                {"stride": 2, "output_shape": tuple(2 * length for length in SPATIAL[n])},
                {"padding": pairs},
            ]
        ):
            yield case(f"Conv{n}DTranspose", conv | options, last(n), slow=rare(n, at, 3))
        yield case(f"Conv{n}DTranspose", conv | {"data_format": layouts[n - 1], "stride": 2}, first(n), slow=n != 2)
        depthwise = {"channel_multiplier": 2, "kernel_shape": 3}
        for at, options in enumerate([{"stride": 2}, {"rate": 2, "with_bias": False}, {"padding": pairs}]):
            yield case(f"DepthwiseConv{n}D", depthwise | options, last(n), slow=rare(n, at, 2))
        options = {"data_format": layouts[n - 1], "with_bias": n == 2}  # Haiku cannot add others
        yield case(f"DepthwiseConv{n}D", depthwise | options, first(n), slow=n != 2)
        lstm = {"input_shape": SPATIAL[n], "output_channels": 3, "kernel_shape": 2}
        yield case(f"Conv{n}DLSTM", lstm, last(n, 2), count=2)
        window, strides = (*(2,) * n, 1), (*(2,) * n, 1)
        for padding in ("VALID", "SAME"):
            pool = {"window_shape": window, "strides": strides, "padding": padding}
            slow = n != 2 and padding == "VALID"
            yield case("MaxPool", pool, last(n), "max_pool", slow=slow)
            yield case("AvgPool", pool, last(n), "sum_pool", 1 if padding == "VALID" else 2, slow=slow)
        yield case("max_pool", pool, last(n), "max_pool", ties=True, slow=n != 2)
        yield case("avg_pool", pool, last(n), "sum_pool", 2, slow=n != 2)
    by_one = {"window_shape": 2, "strides": 1, "padding": "VALID"}
    yield case("MaxPool", {**by_one, "window_shape": (1, 2, 2), "channel_axis": 1}, first(2), "max_pool")
    conv = {"num_spatial_dims": 2, "output_channels": 6, "kernel_shape": 3}
    yield case("ConvND", conv, last(2))
    yield case("ConvND", conv, last(2, batch=()))
    yield case("ConvNDTranspose", conv | {"stride": 2}, last(2, batch=()))
    for options in ({}, {"stride": 2, "padding": "VALID", "with_bias": False}):
        separable = {"channel_multiplier": 2, "kernel_shape": 3}
        yield case("SeparableDepthwiseConv2D", separable | options, last(2), count=2)
    conv = {"output_channels": 6, "kernel_shape": 3}
    pool = {"window_shape": (2, 2, 1), "strides": (2, 1, 1), "padding": "SAME"}
    for dtype in ("float32", "bfloat16", "float16"):
        typed = {"dtype": dtype, "slow": dtype == "float16"}
        rarely = {"dtype": dtype, "slow": dtype != "bfloat16"}
        yield case("Conv2D", conv, last(2), **typed)
        yield case("Conv2DTranspose", conv | {"stride": 2}, last(2), **rarely)
        yield case(
            "DepthwiseConv2D",
            {"channel_multiplier": 2, "kernel_shape": 3},
            last(2),
            **rarely,
        )
        yield case("MaxPool", pool, last(2), "max_pool", **typed)
        yield case("AvgPool", pool, last(2), "sum_pool", 2, **rarely)


def grid():
    """More than is tested each time: all combinations of the arguments that convolutions have in common."""
    for n, stride, padding, dilation, groups, bias in itertools.product(
        (1, 2, 3), (1, 2, 3), ("SAME", "VALID"), (1, 2), (1, 2, 4), (True, False)
    ):
        equinox = {
            "in_channels": 4,
            "out_channels": 8,
            "kernel_size": 2,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "use_bias": bias,
        }
        yield Case("equinox", f"Conv{n}d", equinox, first(n), {"conv": 1}, slow=True)
        yield Case("equinox", f"ConvTranspose{n}d", equinox, first(n), {"conv": 1}, slow=True)
        if n == 3:
            continue
        nnx = {
            "in_features": 4,
            "out_features": 8,
            "kernel_size": (3, 2)[:n],
            "strides": stride,
            "padding": padding,
            "kernel_dilation": dilation,
            "feature_group_count": groups,
            "use_bias": bias,
        }
        yield Case("nnx", "Conv", nnx, last(n), {"conv": 1}, slow=True)
        if stride == 1 or dilation == 1:  # Keras has no other
            keras = {
                "filters": 8,
                "kernel_size": 3,
                "strides": stride,
                "padding": padding.lower(),
                "dilation_rate": dilation,
                "groups": groups,
                "use_bias": bias,
                "data_format": "channels_last" if stride == 1 else "channels_first",
            }
            shape = last(n) if stride == 1 else first(n)
            yield Case("keras", f"Conv{n}D", keras, shape, {"conv": 1}, slow=True)
        if stride == 1 or dilation == 1:
            haiku = {
                "output_channels": 8,
                "kernel_shape": 2,
                "stride": stride,
                "padding": padding,
                "rate": dilation,
                "feature_group_count": groups,
                "with_bias": bias,
            }
            yield Case("haiku", f"Conv{n}D", haiku, last(n), {"conv": 1}, slow=True)


CASES = [*equinox_cases(), *keras_cases(), *linen_cases(), *nnx_cases(), *haiku_cases(), *grid()]


# Layers of each library, as functions ---------------------------------------------------------------------------------


class Problem(NamedTuple):
    """A loss, the arrays of its arguments, and the arguments with such arrays."""

    loss: Callable[..., Any]
    arrays: Any
    arguments: Callable[[Any], tuple[Any, ...]] = tuple

    def graded(self, loss: Callable[..., Any]) -> Callable[[Any], Any]:
        """The value of the loss, and its gradients with respect to all arrays."""
        return jax.value_and_grad(lambda arrays: loss(*self.arguments(arrays)))


def summed(outputs: Any) -> Any:
    """A scalar whose gradient is different everywhere; 16-bit floats are summed in 32."""
    wide = [one.astype(jnp.promote_types(one.dtype, jnp.float32)) for one in jax.tree.leaves(outputs)]
    return sum(jnp.sum(one * (one + 1)) for one in wide)


def numbers(shape, dtype, seed: int = 0, ties: bool = False):
    found = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(np.round(found) if ties else found, dtype)


def filled(tree):
    """Random numbers in the place of shapes: gradients with respect to zeros would prove less."""
    leaves, structure = jax.tree.flatten(tree)
    filled = [0.3 * numbers(leaf.shape, leaf.dtype, seed) for seed, leaf in enumerate(leaves, 1)]
    return jax.tree.unflatten(structure, [one.astype(leaf.dtype) for one, leaf in zip(filled, leaves, strict=True)])


def dtypes_of(case: Case) -> tuple[Any, Any]:
    """Of the inputs and the computation, and of the parameters."""
    dtype = jnp.dtype(case.dtype.removeprefix("mixed_"))
    return dtype, jnp.dtype("float32") if case.dtype.startswith("mixed_") else dtype


def equinox_problem(case: Case, layer: Any) -> Problem:
    import equinox as eqx

    dtype, _ = dtypes_of(case)
    if layer.__name__.startswith("Conv"):
        made = eqx.filter_eval_shape(lambda: layer(**case.arguments, dtype=dtype, key=jax.random.key(0)))
        shapes, rest = eqx.partition(made, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
        params = filled(shapes)
    else:
        params, rest = eqx.partition(layer(**case.arguments), eqx.is_array)
    axes = case.arguments.get("num_spatial_dims") or int(layer.__name__[-2])

    def loss(layer, x):
        return summed((layer if x.ndim == axes + 1 else jax.vmap(layer))(x))

    x = numbers(case.shape, dtype, ties=case.ties)
    return Problem(loss, (params, x), lambda arrays: (eqx.combine(arrays[0], rest), arrays[1]))


def keras_problem(case: Case, layer: Any) -> Problem:
    import keras

    dtype, _ = dtypes_of(case)
    made = layer(**case.arguments, dtype=case.dtype)
    made.build(case.shape)
    variables = made.trainable_variables

    def loss(params, x):
        # as in a model; `stateless_call` of a layer alone leaves out the casts of mixed precision
        with keras.StatelessScope(state_mapping=list(zip(variables, params, strict=True))):
            return summed(made(x))

    params = filled([jax.ShapeDtypeStruct(one.shape, one.dtype) for one in variables])
    return Problem(loss, (params, numbers(case.shape, dtype, ties=case.ties)))


def linen_problem(case: Case, layer: Any) -> Problem:
    dtype, param_dtype = dtypes_of(case)
    x = numbers(case.shape, dtype, ties=case.ties)
    if not isinstance(layer, type):
        return Problem(lambda x: summed(layer(x, **case.arguments)), (x,))
    made = layer(**case.arguments, dtype=dtype, param_dtype=param_dtype)
    carry = ()
    if hasattr(made, "initialize_carry"):
        carry = filled((jax.eval_shape(lambda: made.initialize_carry(jax.random.key(0), x.shape)),))
    params = filled(jax.eval_shape(made.init, jax.random.key(0), *carry, x))
    return Problem(lambda params, *inputs: summed(made.apply(params, *inputs)), (params, *carry, x))


def nnx_problem(case: Case, layer: Any) -> Problem:
    from flax import nnx

    dtype, param_dtype = dtypes_of(case)
    if not isinstance(layer, type):
        return linen_problem(case, layer)
    made = nnx.eval_shape(lambda: layer(**case.arguments, dtype=dtype, param_dtype=param_dtype, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(made)
    x = numbers(case.shape, dtype, ties=case.ties)

    def arguments(arrays):
        return nnx.merge(graph, arrays[0]), arrays[1]

    return Problem(lambda model, x: summed(model(x)), (filled(state), x), arguments)


def haiku_problem(case: Case, layer: Any) -> Problem:
    import haiku as hk

    dtype, _ = dtypes_of(case)
    x = numbers(case.shape, dtype, ties=case.ties)
    if not isinstance(layer, type):
        return Problem(lambda x: summed(layer(x, **case.arguments)), (x,))

    def called(x):
        made = layer(**case.arguments)
        if not isinstance(made, hk.RNNCore):
            return made(x)
        hidden, cell = made.initial_state(x.shape[0])
        return made(x, hk.LSTMState(hidden.astype(dtype) + 0.5, cell.astype(dtype) - 0.5))

    init, apply = hk.without_apply_rng(hk.transform(called))
    params = filled(jax.eval_shape(init, jax.random.key(0), x))
    return Problem(lambda params, x: summed(apply(params, x)), (params, x))


PROBLEMS = {
    "equinox": equinox_problem,
    "haiku": haiku_problem,
    "keras": keras_problem,
    "linen": linen_problem,
    "nnx": nnx_problem,
}


def library(name: str) -> Any:
    """Its module of layers; without the library, the test is skipped."""
    pytest.importorskip(INSTALLED_BY[name])
    if name == "keras" and importlib.import_module("keras").backend.backend() != "jax":
        pytest.skip("Keras runs on another backend")
    return importlib.import_module(MODULES[name])


# Tests ----------------------------------------------------------------------------------------------------------------


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    found, expected = jax.tree.leaves(found), jax.tree.leaves(expected)
    assert len(found) == len(expected) > 1
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        assert np.isfinite(other).all() and np.abs(other).max() > 0
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


def params_of(cases):
    return [pytest.param(case, id=told(case), marks=[pytest.mark.slow] * case.slow) for case in cases]


@pytest.mark.parametrize("case", params_of(CASES))
def test_layers_of_peers_are_the_same_by_hand(case):
    layer = getattr(library(case.library), case.layer)
    problem = PROBLEMS[case.library](case, layer)
    arguments = problem.arguments(problem.arrays)
    ours, chosen = jaxcnn.by_hand(problem.loss, rule="hand"), jaxcnn.by_hand(problem.loss)
    report = jaxcnn.by_hand.report(ours, *arguments)
    assert collections.Counter(one.op for one in report.replacements if one.op != "relu") == case.found, report
    assert all(one.replaced for one in report.replacements), report
    programs = [problem.loss, ours]
    replaced = {one.replaced for one in jaxcnn.by_hand.report(chosen, *arguments).replacements}
    if len(replaced) == 2:  # else what is chosen without being asked is one of these two
        programs.append(chosen)

    @jax.jit  # under one name, so that layers of several libraries that are the same program are compiled once
    def together(arrays):
        return [problem.graded(program)(arrays) for program in programs]

    expected, *found = together(problem.arrays)
    for one in found:
        assert_close(one, expected, TOLERANCES[case.dtype.removeprefix("mixed_")])


def test_equinox_among_peers_by_its_own_transformations():
    eqx = pytest.importorskip("equinox")
    layers = eqx.nn.Conv2d(4, 6, 3, dtype=jnp.float64, key=jax.random.key(0)), eqx.nn.MaxPool2d(2, 2)

    def loss(layers, x):
        for layer in layers:  # they hold numbers and functions besides arrays
            x = jax.vmap(layer)(x)
        return summed(x)

    x = numbers(first(2), jnp.float64)
    expected, found = (
        eqx.filter_jit(eqx.filter_value_and_grad(one))(layers, x) for one in (loss, jaxcnn.by_hand(loss, rule="hand"))
    )
    assert_close(found, expected, TOLERANCES["float64"])


def test_nnx_among_peers_by_its_own_transformations():
    nnx = pytest.importorskip("flax.nnx")
    model = nnx.Conv(4, 6, (3, 3), param_dtype=jnp.float64, rngs=nnx.Rngs(0))

    def loss(model, x):
        return summed(nnx.max_pool(model(x), (2, 2)))

    x = numbers(last(2), jnp.float64)
    expected, found = (
        nnx.jit(nnx.value_and_grad(one, argnums=(0, 1)))(model, x) for one in (loss, jaxcnn.by_hand(loss, rule="hand"))
    )
    assert_close(found, expected, TOLERANCES["float64"])


@pytest.mark.parametrize("name", MODULES)
def test_every_layer_of_peers_is_in_the_table(name):
    module = library(name)
    tested = {id(getattr(module, case.layer)) for case in CASES if case.library == name and not case.slow}
    missing = []
    for known in dir(module):
        function = getattr(module, known)
        windowed = "conv" in known.lower() or "pool" in known.lower()
        if windowed and callable(function) and not known.startswith("_") and (name, known) not in EXCEPTIONS:
            if id(function) not in tested:  # Keras has two names for many
                missing.append(known)
    assert not missing


def test_exceptions_of_peers_are_there():
    for (name, known), reason in EXCEPTIONS.items():
        assert hasattr(library(name), known) and reason
