"""The ways in which a convolution is fast on a CPU compute the convolution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.export import symbolic_shape

from jaxcnn import ops
from jaxcnn.ops import choices
from jaxcnn.ops.cases.lowerings import PLACES, WAYS, lowering_cases, problem_at
from jaxcnn.ops.conv import select as conv_select
from jaxcnn.ops.conv.lowerings import xla

# (spatial sizes, channels, kernel, outputs, groups, options), and the lowerings of value, input and kernel gradient
CASES = {
    "1x1": ((5, 6), 3, (1, 1), 4, 1, {}, ("pointwise", "pointwise", "whole_product")),
    "1x1, strides": ((6, 7), 3, (1, 1), 4, 1, {"strides": (2, 3)}, ("pointwise", "pointwise", "whole_product")),
    "1x1, dilated inputs": ((4, 3), 3, (1, 1), 4, 1, {"input_dilation": 2}, ("pointwise", "pointwise", None)),
    "1x1, padded": ((4, 3), 3, (1, 1), 4, 1, {"padding": ((1, -1), (0, 2))}, ("pointwise", "pointwise", None)),
    "one output": ((5, 5), 3, (5, 5), 4, 1, {"padding": "VALID"}, ("whole_product", None, "pointwise")),
    "one output, flipped": (
        (5, 5),
        2,
        (2, 3),
        4,
        1,
        {"padding": "VALID", "strides": 4, "kernel_dilation": 2, "flip_kernel": True},
        ("whole_product", None, "pointwise"),
    ),
    "one channel": ((7, 6), 1, (3, 2), 4, 1, {}, ("tap_by_tap", None, None)),
    "many channels": ((5, 6), 32, (3, 2), 4, 1, {}, (None, None, "row_by_row")),
    "many channels, strided and dilated": (
        (9, 8),
        32,
        (2, 3),
        4,
        1,
        {"strides": (2, 1), "padding": ((2, -1), (0, 1)), "kernel_dilation": (2, 1), "flip_kernel": True},
        (None, None, "row_by_row"),
    ),
    "many channels, dilated inputs": ((4, 5), 32, (3, 2), 4, 1, {"input_dilation": 2}, (None, None, "row_by_row")),
    "many channels, three axes": ((4, 3, 4), 32, (2, 2, 2), 3, 1, {}, (None, None, "row_by_row")),
    "few outputs": ((5, 17), 3, (3, 2), 4, 1, {}, ("side_by_side", "side_by_side", None)),
    "few outputs, strided": (
        (7, 19),
        2,
        (2, 3),
        6,
        1,
        {"strides": (3, 2), "padding": ((0, 1), (2, -1)), "flip_kernel": True, "kernel_dilation": (2, 1)},
        ("side_by_side", None, None),
    ),
    "few outputs, one axis": ((11,), 3, (4,), 5, 1, {"strides": 2}, ("side_by_side", None, "one_axis")),
    "two groups": ((6, 5), 6, (3, 3), 4, 2, {"strides": 2}, ("group_by_group", "group_by_group", "group_by_group")),
    "1x1 in groups": ((4, 5), 6, (1, 1), 4, 2, {}, ("group_by_group", "group_by_group", "group_by_group")),
    "depthwise": ((6, 5), 4, (3, 3), 4, 4, {}, ("tap_by_tap", "tap_by_tap", "cell_by_cell")),
    "depthwise x3, strided": (
        (7, 8),
        4,
        (3, 2),
        12,
        4,
        {"strides": (2, 3), "padding": ((0, 2), (1, -1)), "flip_kernel": True},
        ("tap_by_tap", "group_by_group", "cell_by_cell"),
    ),
    "depthwise x2, many": ((4, 5), 20, (3, 3), 40, 20, {}, ("tap_by_tap", "tap_by_tap", "cell_by_cell")),
    "depthwise, dilated": (
        (8, 9),
        3,
        (2, 3),
        3,
        3,
        {"kernel_dilation": (2, 1), "input_dilation": (1, 2)},
        ("tap_by_tap", "tap_by_tap", "cell_by_cell"),
    ),
    "depthwise, one axis": ((9,), 4, (3,), 4, 4, {"padding": "LECTURE"}, ("tap_by_tap", "tap_by_tap", "cell_by_cell")),
    "depthwise, three axes": ((4, 3, 4), 2, (2, 2, 2), 2, 2, {}, ("tap_by_tap", "tap_by_tap", "cell_by_cell")),
}


def arrays_of(case, dtype=np.float64):
    sizes, channels, kernel, outputs, groups, options, _ = CASES[case]
    random = np.random.default_rng(7)
    inputs = random.normal(size=(2, *sizes, channels)).astype(dtype)
    weights = random.normal(size=(*kernel, channels // groups, outputs)).astype(dtype)
    return jnp.asarray(inputs), jnp.asarray(weights), {"feature_group_count": groups, **options}


@pytest.fixture(autouse=True)
def one_device_and_no_table(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    monkeypatch.setattr(choices, "fastest", lambda *_: "jax")  # whatever was measured last


@pytest.mark.parametrize("case", CASES)
def test_every_lowering_has_the_value_and_all_gradients_of_xlas(float64, case):
    inputs, weights, options = arrays_of(case)

    def results(method, inputs, weights):
        def value(x, w):
            return ops.conv(x, w, method=method, **options)

        def bent(x, w):
            return jnp.sum(jnp.sin(value(x, w)))

        first = jax.grad(bent, (0, 1))
        second = jax.grad(lambda x, w: sum(jnp.sum(jnp.cos(g)) for g in first(x, w)), (0, 1))
        return value(inputs, weights), first(inputs, weights), second(inputs, weights)

    compiled = jax.jit(results, static_argnums=0)
    auto, lax = (jax.tree.leaves(compiled(method, inputs, weights)) for method in ("auto", "lax"))
    for found, expected in zip(auto, lax, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_the_lowering_is_the_one_that_is_meant(monkeypatch, case):
    inputs, weights, options = arrays_of(case, np.float32)
    taken, choose = [], conv_select.lowering

    def noted(problem):
        way = choose(problem)
        if way is None:  # a gradient that is expressed as a convolution: that is noted
            return None
        taken.append(None if way is xla else way.__name__.rpartition(".")[2])
        return xla if problem.wanted == "outputs" else way  # noted is each product, and none of what it is made of

    monkeypatch.setattr(conv_select, "lowering", noted)
    jax.eval_shape(jax.grad(lambda x, w: jnp.sum(ops.conv(x, w, **options)), (0, 1)), inputs, weights)
    assert tuple(taken) == CASES[case][-1]


def test_elsewhere_xlas_own_is_taken(monkeypatch):
    inputs, weights, options = arrays_of("1x1", np.float32)

    def primitives(**more):
        return str(jax.make_jaxpr(lambda x, w: ops.conv(x, w, **options, **more))(inputs, weights))

    assert "conv_general_dilated" not in primitives()
    assert "conv_general_dilated" in primitives(method="lax")
    assert "conv_general_dilated" in primitives(rule="autodiff")
    with jax.enable_x64(True):
        assert "conv_general_dilated" in primitives(preferred_element_type=jnp.float64)
    halves = inputs.astype(jnp.bfloat16), weights.astype(jnp.bfloat16)
    assert "conv_general_dilated" in str(jax.make_jaxpr(ops.conv)(*halves))
    (batch,) = symbolic_shape("batch")  # left open for export, to any device
    left_open = jax.ShapeDtypeStruct((batch, *inputs.shape[1:]), inputs.dtype)
    assert "conv_general_dilated" in str(jax.make_jaxpr(ops.conv)(left_open, weights))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "conv_general_dilated" in primitives()


def test_no_outputs():
    x, w = jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3, 0))
    y, back = jax.vjp(ops.conv, x, w)
    assert y.shape == (1, 8, 8, 0) and not np.any(back(y)[0])


def test_no_spatial_axes(random):
    x, w = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((40, 3), (4, 3)))
    (y, back), (expected, expected_back) = (
        jax.vjp(lambda x, w, f=f: f(x, w, (), ()), x, w)
        for f in (ops.conv_general_dilated, jax.lax.conv_general_dilated)
    )
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), (y, back(y)), (expected, expected_back(y)))


def test_no_form_gathers_a_divided_batch(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    divided, everywhere = (jax.NamedSharding(mesh, jax.P(*axes)) for axes in (("batch",), ()))
    inputs = jax.ShapeDtypeStruct((8, 9, 9, 32), jnp.float32, sharding=divided)
    kernel = jax.ShapeDtypeStruct((3, 3, 32, 32), jnp.float32, sharding=everywhere)
    gradient = jax.jit(jax.grad(lambda w, x: jnp.sum(jnp.sin(ops.conv(x, w)))))
    program = gradient.lower(kernel, inputs).compile().as_text()
    assert " all-reduce(" in program
    assert " all-gather(" not in program


def test_the_table_of_cases_has_every_lowering_where_it_is_taken(monkeypatch):
    """`jaxcnn check` proves each by name."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    assert PLACES.keys() | {"native"} == {name for name in WAYS}
    for case in lowering_cases():
        name = case.label.removeprefix("lowering=")
        problem = problem_at(name, *map(jnp.asarray, case.args))
        assert (
            WAYS[name].supports(problem)
            and conv_select.lowering(
                problem._replace(spec=problem.spec._replace(method="lax" if name == "xla" else "jax"))
            )
            is WAYS[name]
        )
