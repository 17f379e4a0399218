"""The random rest: whatever window, stride, padding and dilation hypothesis thinks of."""

import jax
import numpy as np
import oracles
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jaxcnn import geometry, ops

RARELY = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@st.composite
def windows(draw, rank, *, cropping=True):
    """Sizes, window, strides, padding and dilation of 1 to 3 axes."""
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(rank))  # noqa: E731
    least = -1 if cropping else 0
    options = {
        "strides": each(1, 4),
        "padding": draw(
            st.one_of(
                st.sampled_from(["SAME", "VALID", "LECTURE"]),
                st.tuples(*[st.tuples(st.integers(least, 2), st.integers(least, 2))] * rank),
            )
        ),
    }
    return each(1, 6 if rank < 3 else 4), each(1, 3), options, each(1, 2)


def gradients(function, error, *args):
    @jax.jit
    def run(error, *args):
        value, back = jax.vjp(function, *args)
        return value, *back(error.reshape(value.shape))

    return run(error, *args)


@RARELY
@given(st.integers(1, 3).flatmap(windows), st.sampled_from([1, 2]), st.booleans(), st.integers(0, 2**32 - 1))
def test_convolutions_equal_the_oracle(window, groups, flip, seed):
    (sizes, kernel, options, dilation), random = window, np.random.default_rng(seed)
    spread = tuple(random.integers(1, 3, len(sizes)).tolist())
    options = options | {"input_dilation": spread, "kernel_dilation": dilation, "feature_group_count": groups}
    x = random.normal(size=(2, *sizes, 2))
    w = random.normal(size=(*kernel, 2 // groups, 4))
    try:
        resolved = geometry.conv_window(x.shape, w.shape, **options)
    except ValueError:
        assume(False)
    error = random.normal(size=(2, *resolved.output_shape(sizes), 4))
    plain = resolved.strides, resolved.padding, resolved.input_dilation, resolved.dilation
    expected = oracles.conv(x, w, error, *plain, groups, flip)
    with jax.enable_x64(True):
        found = gradients(lambda x, w: ops.conv(x, w, flip_kernel=flip, **options), error, x, w)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)


@RARELY
@given(st.integers(1, 3).flatmap(windows), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1))
def test_pools_equal_the_oracle(window, ties, include, seed):
    (sizes, shape, options, dilation), random = window, np.random.default_rng(seed)
    x = random.integers(0, 3, size=(2, *sizes, 2)).astype(float) if ties else random.normal(size=(2, *sizes, 2))
    try:
        resolved = geometry.pool_window(x.shape, shape, window_dilation=dilation, **options)
    except ValueError:
        assume(False)
    error = random.normal(size=(2, *resolved.output_shape(sizes), 2))
    plain = resolved.shape, resolved.strides, resolved.padding, resolved.dilation
    with jax.enable_x64(True):
        biggest = gradients(lambda x: ops.max_pool(x, shape, window_dilation=dilation, **options), error, x)
        mean = gradients(
            lambda x: ops.avg_pool(x, shape, window_dilation=dilation, count_include_pad=include, **options), error, x
        )
    for found, expected in (
        (biggest, oracles.max_pool(x, error, *plain)),
        (mean, oracles.avg_pool(x, error, *plain, include)),
    ):
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)
