"""Convolutions and pools in a product of configurations."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import geometry, ops
from jaxcnn.ops.cases.case import AT_A_KINK, AT_A_PLACE, Case, apart, case, normal, random


def conv_cases(full: bool) -> Iterator[Case]:
    """Yields convolutions in a product of configurations, or a sample."""
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
        args = tuple(normal(*shape) for shape in shapes)
        kinds = ("reference", "adjoint", "value") if full and number % 7 else AT_A_PLACE[:-1]
        yield case(
            "conv",
            options | {"kernel": kernel},
            args,
            function=partial(ops.conv, **options),
            kinds=kinds,
            multilinear=(0, 1),
        )


def pool_cases(full: bool) -> Iterator[Case]:
    """Yields pools in a product of configurations, or a sample."""
    windows, strides = (1, 2, 3, (2, 3)), (None, 1, 2, (3, 2), 4)
    paddings = ("VALID", "SAME", "LECTURE", ((1, 0), (0, 1)), ((-1, 1), (1, -1)))
    product = itertools.product(windows, strides, paddings, (1, 2))
    for number, (window, stride, padding, dilation) in enumerate(product):
        if not full and number % 41:
            continue
        options = {"window_shape": window, "strides": stride, "padding": padding, "window_dilation": dilation}
        proof = {"kinds": AT_A_PLACE}
        yield case(
            "max_pool",
            options,
            (apart(1, 6, 7, 2),),
            reference=partial(_gathered, jnp.max, -jnp.inf, **options),
            **proof,
        )
        average = partial(_gathered, jnp.mean, 0.0, **options)
        yield case("avg_pool", options, (normal(1, 6, 7, 2),), reference=average, multilinear=(0,), **proof)
        norm = partial(_gathered, lambda x, axis: jnp.sum(jnp.abs(x) ** 3, axis) ** (1 / 3), 0.0, **options)
        if padding in ("VALID",):  # elsewhere a window of padding has norm 0, where the reference has no gradient
            yield case("lp_pool", options | {"p": 3.0}, (apart(1, 6, 7, 2),), reference=norm, **proof)
    options = {"window_shape": (4, 3), "strides": (3, 2), "padding": 1, "window_dilation": 1, "ceil_mode": True}
    args = (apart(1, 6, 6, 2),)  # both axes have one window more, which hangs out
    yield case("max_pool", options, args, reference=partial(_gathered, jnp.max, -jnp.inf, **options), kinds=AT_A_PLACE)
    for count in ({"count_include_pad": True}, {"count_include_pad": False}):
        yield case("avg_pool", options | count, args, kinds=AT_A_PLACE, multilinear=(0,))
    total = partial(_gathered, lambda x, axis: jnp.sum(x, axis) / 1.5, 0.0, **options)
    yield case("avg_pool", options | {"divisor": 1.5}, args, reference=total, kinds=AT_A_PLACE, multilinear=(0,))
    ties = random.integers(0, 3, size=(2, 6, 7, 2)).astype(np.float32)
    options = {"window_shape": 3, "strides": 2, "padding": "SAME"}
    yield case("max_pool", options, (ties,), kinds=AT_A_KINK)


def _gathered(
    reduce: Callable, fill: float, x: jax.Array, *, window_shape, strides, padding, window_dilation, ceil_mode=False
) -> jax.Array:
    """A pool by indexing: gathers every window and reduces it.

    JAX differentiates it.
    """
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
