"""A convolution is the same in whatever order the axes of its three arrays stand."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcnn import ops
from jaxcnn.ops import choices

AXES = "HWD"


@pytest.fixture(autouse=True)
def every_form(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    monkeypatch.setattr(choices, "fastest", lambda *_: "jax")  # whatever was measured last


def shuffled(random: np.random.Generator, letters: str) -> str:
    return "".join(random.permutation(list(letters)))


def drawn(seed: int):
    """A convolution that lax accepts: two arrays, and options with three layouts in random order."""
    random = np.random.default_rng(seed)
    one_of = lambda *values: values[random.integers(len(values))]  # noqa: E731
    spatial = AXES[: one_of(1, 1, 2, 2, 2, 3)]
    usual = one_of(True, False)  # channels last or first, where the forms are at home; the other axes in order
    roles = {"N": "NHWC", "K": "HWIO"}
    if usual:
        roles = one_of(("N{}C", "{}IO"), ("NC{}", "OI{}"))
        dims = [roles[0].format(spatial), roles[1].format(spatial), roles[0].format(spatial)]
        turned = random.integers(4)
        dims = [shuffled(random, d) if at == turned else d for at, d in enumerate(dims)]
    else:
        dims = [shuffled(random, spatial + more) for more in ("NC", "IO", "NC")]
    kind = one_of("none", "none", "feature", "batch")
    groups = 1 if kind == "none" else one_of(2, 3, 20)
    own, batch = one_of(1, 2, 5, 32), one_of(1, 2)
    maps = groups * one_of(1, 2, 3)
    sizes = {"N": batch * (groups if kind == "batch" else 1), "C": own * (groups if kind == "feature" else 1)}
    kernel = {"I": own, "O": maps}
    options: dict = {"window_strides": [], "padding": [], "lhs_dilation": [], "rhs_dilation": []}
    plain = one_of(True, False)
    for axis in filter(spatial.__contains__, dims[1]):  # lax's order of the spatial axes is the kernel's
        n, k = int(random.integers(1, 8)), int(random.integers(1, 4))
        s, b, d = (1, 1, 1) if plain else (one_of(1, 2, 3), one_of(1, 1, 2), one_of(1, 1, 2))
        low, high = (int(p) for p in random.integers(-1 if n > 2 else 0, 3, 2))
        short = (k - 1) * d + 1 - ((n - 1) * b + 1 + low + high)
        sizes[axis], kernel[axis] = n, k
        options["window_strides"].append(s)
        options["padding"].append((low, high + max(0, short)))
        options["lhs_dilation"].append(b)
        options["rhs_dilation"].append(d)
    options |= {
        "dimension_numbers": tuple(dims),
        "feature_group_count": groups if kind == "feature" else 1,
        "batch_group_count": groups if kind == "batch" else 1,
    }
    x = random.normal(size=[sizes[letter] for letter in dims[0]])
    w = random.normal(size=[kernel[letter] for letter in dims[1]])
    return x, w, options


def assert_equal_to_lax(x, w, options):
    """Value and both gradients, of an error that no symmetry hides."""

    @functools.partial(jax.jit, static_argnums=0)
    def results(convolve, x, w):
        y, back = jax.vjp(functools.partial(convolve, **options), x, w)
        return y, *back(jnp.cos(jnp.arange(math.prod(y.shape), dtype=y.dtype)).reshape(y.shape))

    ours, theirs = (results(f, x, w) for f in (ops.conv_general_dilated, lax.conv_general_dilated))
    for name, found, expected in zip(("value", "input gradient", "kernel gradient"), ours, theirs, strict=True):
        np.testing.assert_allclose(
            found, expected, rtol=1e-10, atol=1e-10, strict=True, err_msg=f"{name}, {x.shape} {w.shape} {options}"
        )


@pytest.mark.parametrize(
    "x, w, dims",
    [
        ((2, 6, 6, 1), (3, 3, 1, 4), ("NHWC", "HWIO", "NWHC")),
        ((2, 6, 5, 1), (3, 3, 1, 4), ("NHWC", "HWIO", "HWNC")),
        ((2, 6, 1), (1, 3, 4), ("NHC", "IHO", "HNC")),
        ((6, 1, 1), (1, 3, 4), ("HCN", "IHO", "NCH")),
    ],
)
def test_another_order_of_the_outputs(float64, random, x, w, dims):
    rank = len(x) - 2
    x, w = random.normal(size=x), random.normal(size=w)
    assert_equal_to_lax(x, w, {"window_strides": (1,) * rank, "padding": ((1, 1),) * rank, "dimension_numbers": dims})


ABORTS = {7}  # there XLA's simplifier ends the process, for lax's own gradient too (jaxlib 0.10.2)


@pytest.mark.parametrize("seed", sorted({*range(61)} - ABORTS))
def test_any_order_of_any_array(float64, seed):
    assert_equal_to_lax(*drawn(seed))
