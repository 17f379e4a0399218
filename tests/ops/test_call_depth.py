"""The way from `ops.conv` to XLA is short: whoever reads a trace, or steps through it, sees few of our calls."""

import sys

import jax
import jax.numpy as jnp
import pytest

import jaxcnn
from jaxcnn import ops

FOLDER = jaxcnn.__path__[0]


def calls_of(function, *arrays) -> tuple[int, int]:
    """How many functions of the package are called while this one is traced, and how deep they are nested."""
    count, deepest, ours = 0, 0, []

    def note(frame, event, _):
        nonlocal count, deepest
        if event == "call":
            code = frame.f_code
            ours.append(code.co_filename.startswith(FOLDER) and "<" not in code.co_name)  # no comprehensions
            count += ours[-1]
            deepest = max(deepest, sum(ours))
        elif event == "return" and ours:
            ours.pop()

    sys.setprofile(note)
    try:
        jax.eval_shape(function, *arrays)
    finally:
        sys.setprofile(None)
    return count, deepest


@pytest.mark.parametrize(
    ("inputs", "kernel", "options"),
    [
        ((2, 9, 9, 16), (3, 3, 16, 32), {}),
        ((2, 9, 9, 16), (1, 1, 16, 32), {"strides": 2}),
        ((2, 9, 9, 4), (3, 3, 1, 4), {"feature_group_count": 4}),
        ((2, 9, 9, 3), (3, 3, 3, 4), {"padding": "VALID"}),
        ((2, 30, 16), (3, 16, 32), {"kernel_dilation": 2, "flip_kernel": True}),
    ],
    ids=["dense", "pointwise", "depthwise", "few outputs", "one axis"],
)
def test_conv_is_at_most_60_calls_and_6_deep(inputs, kernel, options):
    x, w = jnp.ones(inputs), jnp.ones(kernel)
    ops.conv(x[:1], w, **options)  # tables are read once for a process
    count, deepest = calls_of(lambda x, w: ops.conv(x, w, **options), x, w)
    assert 10 < count <= 60 and 4 < deepest <= 6, (count, deepest)
