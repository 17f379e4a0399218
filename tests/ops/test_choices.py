"""How `method="auto"` chooses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import geometry, ops
from jaxcnn.ops import choices
from jaxcnn.ops.native import backend, form


@pytest.fixture
def table(monkeypatch):
    """Puts another table in the place of the measured one."""

    def put(kinds: dict, built: bool = True) -> None:
        version = ".".join(jax.__version__.split(".")[:2])
        monkeypatch.setattr(choices, "table", lambda: {version: kinds})
        monkeypatch.setattr(backend, "active", lambda: built)
        choices.fastest.cache_clear()

    yield put
    choices.fastest.cache_clear()


@pytest.mark.parametrize(
    ("channels", "groups", "window", "strides", "kind"),
    [
        (8, 8, 3, 1, "depthwise"),
        (8, 2, 3, 1, "grouped"),
        (8, 1, 1, 2, "pointwise"),
        (1, 1, 5, 1, "one channel"),
        (3, 1, 7, 2, "few channels"),
        (6, 1, 5, 1, "narrow"),
        (16, 1, 3, 2, "strided"),
        (16, 1, 3, 1, "dense"),
    ],
)
def test_kinds(channels, groups, window, strides, kind):
    window = geometry.resolve_window((16, 16), (window, window), strides=strides, padding="SAME")
    assert choices.kind(window, channels, groups) == kind


def test_the_table_that_comes_with_the_library_is_whole():
    assert {"0.10", "0.12"} <= choices.table().keys()
    for kinds in choices.table().values():
        assert kinds.keys() == {*choices.KINDS, *choices.POOL_KINDS, choices.NORM}
        for kind, parts in kinds.items():
            assert parts.keys() == (choices.PARTS.keys() if kind in choices.KINDS else {choices.WHOLE})
            assert all(methods.keys() == {"jax", "native"} for methods in parts.values())


def test_the_fastest_that_can_be_had(table):
    kinds = {"dense": {"kernel": {"jax": 1.1, "native": 1.5}, "inputs": {"jax": 0.5, "native": 0.8}}}
    table(kinds)
    assert choices.fastest("dense", "kernel", True) == "native"
    assert choices.fastest("dense", "kernel", False) == "jax"
    assert choices.fastest("dense", "inputs", True) == "lax"
    assert choices.fastest("dense", "outputs", True) == "jax"  # was not measured


def test_the_nearest_version_speaks_for_one_that_was_not_measured(monkeypatch):
    kinds = {"dense": {"kernel": {"jax": 2.0}}}
    monkeypatch.setattr(choices, "table", lambda: {"0.1": {}, "0.3": {"dense": {}}, "0.7": kinds})
    assert choices.ratios("dense", "kernel") == {"jax": 2.0}
    assert choices.ratios("dense", "inputs") == {}
    monkeypatch.setattr(choices, "table", lambda: {"0.10": kinds, "1.9": {"dense": {"kernel": {"jax": 3.0}}}})
    monkeypatch.setattr(jax, "__version__", "1.0.2")
    assert choices.ratios("dense", "kernel") == {"jax": 3.0}  # of the same major version, if any


def _calls(function, *arrays) -> int:
    return str(jax.make_jaxpr(function)(*arrays)).count("ffi_call")


def test_onednn_takes_the_parts_for_which_it_is_fastest(built, table, random):
    x, w = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((2, 8, 8, 16), (3, 3, 16, 4)))
    both = {"jax": 1.0, "native": 2.0}

    def loss(x, w, method):
        return jnp.sum(jnp.sin(ops.conv(x, w, method=method)))

    expected = jax.value_and_grad(loss, (0, 1))(x, w, "lax")
    for parts in ({"outputs": both}, {"inputs": both}, {"kernel": both}, dict.fromkeys(choices.PARTS, both)):
        table({"dense": parts})
        gradient = jax.value_and_grad(lambda x, w: loss(x, w, "auto"), (0, 1))
        assert _calls(gradient, x, w) == len(parts)
        for ours, theirs in zip(jax.tree.leaves(gradient(x, w)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)
    assert _calls(jax.grad(lambda x, w: loss(x, w, "jax")), x, w) == 0


def test_auto_leaves_alone_what_the_backend_cannot_do(built, table):
    both = {"jax": 1.0, "native": 2.0}
    table({kind: dict.fromkeys(choices.PARTS, both) for kind in choices.KINDS})
    x, w = jnp.ones((1, 8, 8, 16)), jnp.ones((3, 3, 16, 4))
    assert _calls(ops.conv, x, w) == 1
    assert _calls(lambda x, w: ops.conv(x, w, flip_kernel=True), x, w) == 1
    assert _calls(lambda x, w: ops.conv(x, w, input_dilation=2), x, w) == 1
    assert _calls(lambda x, w: ops.conv(x, w, input_dilation=2, strides=2), x, w) == 0
    assert _calls(lambda x, w: ops.conv(x, w, padding=-1), x, w) == 0
    assert _calls(lambda x, w: ops.conv(x.astype(jnp.bfloat16), w.astype(jnp.bfloat16)), x, w) == 1
    with jax.enable_x64(True):
        assert _calls(lambda x, w: ops.conv(x.astype(jnp.float64), w.astype(jnp.float64)), x, w) == 0
    assert _calls(ops.conv, x[:0], w) == 0


def test_auto_refuses_nothing_for_which_onednn_has_no_fast_code(built, table, monkeypatch, random):
    both = {"jax": 1.0, "native": 2.0}
    table({kind: dict.fromkeys(choices.PARTS, both) for kind in choices.KINDS})
    x, w = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((1, 8, 8, 16), (3, 3, 16, 4)))
    original = form.implementation
    monkeypatch.setattr(
        form, "implementation", lambda *call: "ref:any" if call[2].wanted == "kernel" else original(*call)
    )
    assert _calls(lambda x, w: ops.conv(x, w), x, w) == 0  # its gradients may be asked for
    assert jnp.all(jnp.isfinite(jax.grad(lambda w: ops.conv(x, w).sum())(w)))


def test_the_old_name_of_the_backend_is_told_and_taken(built):
    x, w = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
    calls = {
        "conv": lambda method: ops.conv(x, w, method=method),
        "pool": lambda method: ops.max_pool(x, 2, method=method),
        "norm": lambda method: ops.batch_norm(x, w[0, 0, 0], w[0, 0, 0], method=method)[0],
    }
    for call in calls.values():
        with pytest.warns(DeprecationWarning, match="method='onednn' is now called method='native'"):
            found = call("onednn")
        np.testing.assert_array_equal(found, call("native"))
    with pytest.warns(DeprecationWarning, match="jaxcnn.ops.onednn is now called jaxcnn.ops.native"):
        assert ops.onednn is ops.native
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = ops.nothing
