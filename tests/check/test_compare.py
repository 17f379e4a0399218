"""Two functions held against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcnn import by_hand, check

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 3, 9, 9)).astype(np.float32)
PARAMETERS = {
    "stem": {"kernel": RANDOM.normal(size=(4, 3, 3, 3)).astype(np.float32)},
    "bias": np.ones((4, 1, 1), np.float32),
}


def network(parameters, x, flag=True):
    y = jax.nn.relu(lax.conv(x, parameters["stem"]["kernel"], (1, 1), "SAME") + parameters["bias"][None])
    y = lax.reduce_window(y, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return {"mean": y.mean() if flag else y.sum(), "maps": y, "count": 3}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, jnp.bfloat16])
def test_what_is_by_hand_agrees(dtype):
    with jax.enable_x64(dtype == np.float64):
        arguments = jax.tree.map(lambda a: jnp.asarray(a, dtype), (PARAMETERS, X))
        report = check.compare(network, by_hand(network, rule="hand"), *arguments)
    assert report.passed, str(report)
    assert [one.kind for one in report.findings] == ["in float64", "as given"]
    assert report.findings[0].error < 1e-10
    assert all(("worst in " in one.detail) == (one.error > 0) for one in report.findings)


def test_a_wrong_gradient_is_named_by_its_parameter():
    @jax.custom_vjp
    def wrong(kernel):
        return kernel

    wrong.defvjp(lambda kernel: (kernel, None), lambda _, error: (error.at[1, 2, 0, 0].add(1),))

    def other(parameters, x):
        return network(parameters | {"stem": {"kernel": wrong(parameters["stem"]["kernel"])}}, x)

    report = check.compare(network, other, PARAMETERS, X)
    assert not report.passed
    for finding in report.findings:
        assert finding.detail.startswith("gradient[0]['stem']['kernel'][1, 2, 0, 0]: rule ")


def test_a_wrong_value_is_named_by_its_output():
    report = check.compare(network, lambda p, x: network(p, x) | {"mean": jnp.float32(0)}, PARAMETERS, X)
    assert "output['mean']" in report.failures[-1].detail and not report.passed


def test_a_function_that_rounds_is_judged_by_how_it_rounds():
    def single(x):
        return jnp.sum(jnp.sin(x.astype(jnp.float32)))

    report = check.compare(single, single, X)
    assert report.findings[0].skipped and "gives float32" in report.findings[0].detail and report.passed
    coarse = check.compare(lambda x: jnp.sin(x), lambda x: jnp.sin(x.astype(jnp.bfloat16)).astype(x.dtype), X)
    assert not coarse.passed
    assert not check.compare(lambda x: jnp.sin(x), lambda x: jnp.sin(x) + 1e-3, X).findings[1].passed


def test_what_goes_wrong_inside_is_a_finding():
    report = check.compare(network, lambda parameters, x: 1 // 0, PARAMETERS, X)
    assert not report.passed and "ZeroDivisionError" in str(report)


def test_a_function_that_has_no_float64_is_compared_as_given():
    """As Equinox's BatchNorm, whose counter changes its dtype where 64 bits are on: no fault of the other function."""

    def counting(x):
        count = jax.lax.cond(True, lambda: jnp.asarray(1), lambda: jnp.int32(0))  # of two dtypes in x64
        return x * count.astype(x.dtype)

    report = check.compare(counting, by_hand(counting), X)
    assert report.passed and report.findings[0].skipped, str(report)
    assert "counting itself does not run in float64: " in report.findings[0].detail
    assert report.findings[1].passed and not report.findings[1].skipped
    broken = check.compare(lambda x: 1 // 0, lambda x: x, X)
    assert not broken.passed
