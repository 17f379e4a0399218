"""oneDNN in every layout: values and both gradients of small integers equal lax's to the bit, mapped and spread too."""

import functools
import random as choose_from
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn import geometry
from jaxcnn.geometry import Window
from jaxcnn.ops import native
from jaxcnn.ops.native import transposed
from jaxcnn.ops.native.form import Form, implementation

FIRST, LAST = (0, 1, 2, 3), (0, 3, 1, 2)
NCHW = lax.ConvDimensionNumbers(FIRST, FIRST, FIRST)
NHWC = lax.ConvDimensionNumbers(LAST, (3, 2, 0, 1), LAST)
CHWN = lax.ConvDimensionNumbers((3, 0, 1, 2), (3, 0, 1, 2), (3, 0, 1, 2))


class Case(NamedTuple):
    """One convolution: its sizes and where they lie."""

    window: Window
    dims: lax.ConvDimensionNumbers
    sizes: tuple[int, ...]
    batch: int = 2
    channels: int = 4
    outputs: int = 6
    groups: int = 1


def case(dims, *, size=6, taps=3, padding=1, stride=1, spread=1, dilation=1, **options):
    rank = len(dims.lhs_spec) - 2
    window = Window(
        (taps,) * rank, (stride,) * rank, ((padding, padding),) * rank, (spread,) * rank, (dilation,) * rank
    )
    return Case(window, dims, (size, *range(size + 1, size + rank)), **options)


def operands(case, random, dtype=np.float32):
    def integers(sizes, axes):
        shape = [size for _, size in sorted(zip(axes, sizes, strict=True))]
        return jnp.asarray(random.integers(-4, 5, shape), dtype)

    lhs, rhs, _ = case.dims
    x = integers((case.batch, case.channels, *case.sizes), lhs)
    return x, integers((case.outputs, case.channels // case.groups, *case.window.shape), rhs)


def form(case, dtype=np.float32):
    return Form(case.window, case.sizes, case.dims, case.groups, "outputs", jnp.dtype(dtype))


def ours(case, x, w):
    return native.compute(x, w, form(case, x.dtype))


def theirs(case, x, w):
    window = case.window
    return lax.conv_general_dilated(
        x,
        w,
        window.strides,
        window.padding,
        window.input_dilation,
        window.dilation,
        case.dims,
        case.groups,
        preferred_element_type=jnp.float32,
    )


def everything(conv, x, w):
    y, back = jax.vjp(conv, x, w)
    return y, *back((jnp.arange(y.size) % 7 - 3).reshape(y.shape).astype(y.dtype))


def assert_equal(case, x, w):
    found, expected = (jax.jit(functools.partial(everything, functools.partial(f, case)))(x, w) for f in (ours, theirs))
    for name, a, b in zip(("output", "input gradient", "kernel gradient"), found, expected, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def drawn(seed, spread=False):
    """Some convolution with its axes in some order."""
    draw = choose_from.Random(seed)
    rank = draw.choice((1, 2, 2, 3))
    orders = [tuple(draw.sample(range(rank + 2), rank + 2)) for _ in range(3)]
    own, groups, maps = draw.choice(((3, 1, 5), (1, 4, 1), (1, 3, 2), (2, 2, 3), (16, 1, 16), (8, 2, 8)))
    each = lambda *values: tuple(draw.choice(values) for _ in range(rank))  # noqa: E731
    taps, dilation = each(1, 2, 3, 4), each(1, 1, 2)
    steps = each(1, 2, 3)
    low = [draw.randrange(2 if spread else 4) for _ in taps]
    low = [min(amount, (k - 1) * d) if spread else amount for amount, k, d in zip(low, taps, dilation, strict=True)]
    padding = tuple((amount, draw.randrange(4)) for amount in low)
    ones = (1,) * rank
    if spread:
        extents = map(geometry.dilated_size, taps, dilation)
        padding = tuple(
            (a, min(b, extent - 2 + step)) for (a, b), extent, step in zip(padding, extents, steps, strict=True)
        )
    window = Window(taps, ones if spread else steps, padding, steps if spread else ones, dilation)
    dims = lax.ConvDimensionNumbers(*orders)
    return Case(window, dims, each(7, 8, 9), draw.choice((1, 2, 3)), own * groups, groups * maps, groups)


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_axes(built, random, seed):
    one = drawn(seed)
    assert_equal(one, *operands(one, random))


@pytest.mark.parametrize("seed", range(8))
def test_transposed_convolution(built, random, seed):
    one = drawn(seed, spread=True)
    assert_equal(one, *operands(one, random))


def spread_case(stride, low, high, taps=3):
    window = Window((taps,), (stride,), ((low, high),), (3,), (1,))
    return Case(window, lax.ConvDimensionNumbers((0, 1, 2), (0, 1, 2), (0, 1, 2)), (5,))


@pytest.mark.parametrize(("stride", "low", "high"), [(2, 0, 0), (1, 3, 0), (1, 0, 5)])
def test_what_is_no_transposed_convolution(random, stride, low, high):
    one = spread_case(stride, low, high)
    assert transposed.ordinary(form(one)) is None
    with pytest.raises(ValueError, match="needs `input_dilation` 1, or `strides` 1 and a padding below the window"):
        ours(one, *operands(one, random))


@pytest.mark.parametrize("high", range(-2, 5))
@pytest.mark.parametrize("low", range(-2, 3))
def test_transposed_padding(built, random, low, high):
    """Which may be negative, as it is in PyTorch where its padding is wider than the window."""
    one = spread_case(1, low, high)
    x, w = operands(one, random)
    ordinary = transposed.ordinary(form(one))
    assert ordinary is not None and ordinary.window.output_shape(ordinary.sizes) == one.sizes
    if native.suits(x, w, form(one)):
        assert_equal(one, x, w)
    else:
        assert low < 0 or high < 0


@pytest.mark.parametrize(
    "one",
    [
        case(NCHW, channels=16, outputs=16, groups=16, stride=2, size=9),
        case(NCHW, channels=3, outputs=12, groups=3, dilation=2),
        case(NCHW, channels=64, outputs=64, groups=64, taps=5, padding=2, size=40, batch=3),
        case(CHWN, channels=8, outputs=16, groups=8),
        case(lax.ConvDimensionNumbers((0, 1, 2), (0, 1, 2), (0, 1, 2)), channels=8, outputs=8, groups=8, taps=9),
        case(lax.ConvDimensionNumbers(*[(0, 1, 2, 3, 4)] * 3), channels=4, outputs=4, groups=4, stride=3, padding=0),
        case(NCHW, channels=4, outputs=4, groups=4, stride=5, size=7, taps=2, padding=0),
        case(NCHW, channels=4, outputs=4, groups=4, taps=1, padding=0),
        case(lax.ConvDimensionNumbers((1, 0, 2, 3), (2, 3, 0, 1), (1, 0, 2, 3)), channels=4, outputs=8, groups=4),
        case(NHWC, size=20, channels=40, outputs=40, groups=40, taps=7, padding=3),
        case(NHWC, size=9, channels=20, outputs=40, groups=20, taps=6, padding=2, stride=2),
        case(
            lax.ConvDimensionNumbers((0, 4, 1, 2, 3), (4, 3, 0, 1, 2), (0, 4, 1, 2, 3)),
            channels=20,
            outputs=20,
            groups=20,
        ),
        case(
            lax.ConvDimensionNumbers((0, 2, 1), (2, 1, 0), (0, 2, 1)), size=50, channels=8, outputs=8, groups=8, taps=31
        ),
    ],
    ids=str,
)
def test_depthwise(built, random, one):
    """By loops of our own where each channel is a plane in memory, and where oneDNN has none."""
    x, w = operands(one, random)
    rank = len(one.sizes)
    if one.dims.lhs_spec[2:] == one.dims.out_spec[2:] == tuple(range(2, rank + 2)) or rank != 2:
        assert implementation(x, w, form(one)) == "planes"
    assert_equal(one, x, w)


@pytest.mark.parametrize(
    "one",
    [
        case(NCHW, size=40, channels=16, outputs=32, batch=7),
        case(NCHW, size=40, channels=16, outputs=32, batch=1),
        case(NHWC, size=40, channels=16, outputs=32, batch=1, stride=2),
        case(CHWN, size=40, channels=16, outputs=32, batch=3),
        case(lax.ConvDimensionNumbers(FIRST, FIRST, LAST), size=40, channels=16, outputs=32, batch=1, padding=0),
        case(NCHW, size=150, channels=16, outputs=16, batch=1, dilation=2),
        case(NCHW, size=151, channels=16, outputs=16, batch=2, stride=2),
        case(NCHW, size=151, channels=16, outputs=16, batch=3, stride=3, padding=2),
        case(NCHW, size=41, channels=3, outputs=64, batch=1),
        case(NCHW, size=80, channels=64, outputs=64, taps=1, padding=0),
        case(NCHW, size=80, channels=64, outputs=64, taps=1, padding=0, stride=2, batch=1),
        case(
            lax.ConvDimensionNumbers(*[(0, 1, 2)] * 3), size=20001, channels=16, outputs=16, taps=8, batch=1, stride=3
        ),
    ],
    ids=str,
)
def test_divided_among_threads_and_pieces(built, random, one):
    """By examples, and by rows where there are few; what is reordered, in pieces that a cache holds."""
    assert_equal(one, *operands(one, random))


@pytest.mark.parametrize(("dtype", "in_hardware"), [(jnp.bfloat16, True), (jnp.bfloat16, False), (jnp.float16, False)])
@pytest.mark.parametrize(("dims", "groups"), [(NCHW, 1), (NCHW, 32), (NHWC, 1)], ids=["NCHW", "depthwise", "NHWC"])
def test_16_bits(built, random, monkeypatch, dims, groups, dtype, in_hardware):
    monkeypatch.setattr("jaxcnn.ops.native.backend.multiplies_bfloat16", lambda: in_hardware)
    one = case(dims, channels=32, outputs=32, groups=groups)
    x, w = operands(one, random, dtype)
    if in_hardware and not native.suits(x, w, form(one, dtype)):
        pytest.skip("this processor has no such products")
    found = jax.jit(functools.partial(everything, functools.partial(ours, one)))(x, w)
    assert [a.dtype for a in found] == [dtype] * 3
    expected = everything(lambda x, w: theirs(one, x, w).astype(dtype).astype(jnp.float32), *map(np.float32, (x, w)))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b.astype(dtype))


@pytest.mark.parametrize(
    ("dims", "axes", "batch", "groups"),
    [
        (NCHW, (0, None), 1, 1),
        (NCHW, (2, None), 2, 4),
        (NCHW, (None, 0), 1, 1),
        (NCHW, (None, 4), 2, 1),
        (NCHW, (0, 0), 1, 2),
        (NHWC, (0, None), 2, 2),
        (NHWC, (None, 1), 1, 4),
        (CHWN, (0, None), 1, 1),
        (CHWN, (3, None), 2, 1),
        (CHWN, (None, 2), 2, 1),
    ],
)
def test_mapped(built, random, dims, axes, batch, groups):
    one = case(dims, size=4, channels=4, outputs=8, batch=batch, groups=groups)
    x, w = (
        a if axis is None else jnp.stack([a, 2 * a, 1 - a], axis)
        for a, axis in zip(operands(one, random), axes, strict=True)
    )

    def run(conv):
        every = functools.partial(everything, functools.partial(conv, one))
        return jax.jit(jax.vmap(every, axes))(x, w)

    for found, expected in zip(run(ours), run(theirs), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dims", [NCHW, NHWC, CHWN], ids=["NCHW", "NHWC", "CHWN"])
def test_one_example_is_mapped_without_moving_it(built, random, dims):
    """As Equinox calls it."""
    one = case(dims, batch=1)
    x, w = operands(one, random)
    mapped = jax.jit(jax.vmap(functools.partial(ours, one), (0, None))).lower(jnp.stack([x, -x, 2 * x]), w)
    assert "transpose" not in mapped.as_text()


def test_in_a_loop(built, random):
    one = case(NCHW, channels=4, outputs=4)
    x, w = operands(one, random)

    def summed(conv, x, w):
        def step(carry, _):
            y, dx, dw = everything(functools.partial(conv, one), carry, w)
            return jnp.sign(y + dx), dw

        return lax.scan(step, x, length=3)

    for a, b in zip(*(jax.jit(functools.partial(summed, conv))(x, w) for conv in (ours, theirs)), strict=True):
        np.testing.assert_array_equal(a, b)


SPECS = [{"n": "data"}, {"n": "data", "o": "model"}, {"n": "data", "c": "model"}]


def placed(one, spec, which):
    axes = form(one).axes[which]
    entries = [None] * (len(one.sizes) + 2)
    for index, axis in axes.items():
        entries[axis] = spec.get(index)
    return P(*entries)


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("dims", [NCHW, CHWN], ids=["NCHW", "CHWN"])
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_over_a_mesh(built, random, kind, dims, spec):
    one = case(dims, batch=4)
    x, w = operands(one, random)
    expected = everything(functools.partial(theirs, one), x, w)
    mesh = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "model"), axis_types=(kind,) * 2)

    def run(x, w):
        y, back = jax.vjp(functools.partial(ours, one), x, w)
        return y, *back(error)

    error = np.asarray((jnp.arange(expected[0].size) % 7 - 3).reshape(expected[0].shape), np.float32)
    with jax.set_mesh(mesh):
        at = [
            jax.device_put(a, NamedSharding(mesh, placed(one, spec, part)))
            for a, part in ((x, "inputs"), (w, "kernel"))
        ]
        compiled = jax.jit(run).lower(*at).compile()
        found = compiled(*at)
    assert "all-gather" not in (compiled.as_text() or "")
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(a), b)


@pytest.mark.parametrize("dims", [NCHW, CHWN], ids=["NCHW", "CHWN"])
def test_in_shard_map(built, random, dims):
    one = case(dims, batch=4, channels=8, outputs=8, groups=8)
    x, w = operands(one, random)
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
    spread, whole = placed(one, {"n": "data"}, "inputs"), P()

    def run(conv, batch):
        share = functools.partial(conv, one._replace(batch=batch))
        every = lambda x, w: jax.vjp(share, x, w)[1](jnp.cos(share(x, w)).round())  # noqa: E731
        return (
            every
            if batch == 4
            else jax.shard_map(every, mesh=mesh, in_specs=(spread, whole), out_specs=(spread, whole))
        )

    for a, b in zip(jax.jit(run(ours, 1))(x, w), jax.jit(run(theirs, 4))(x, w), strict=True):
        np.testing.assert_array_equal(a, b)


def test_second_derivatives(built, random):
    one = case(NCHW, size=4, channels=2, outputs=2, taps=2, padding=0)
    x, w = operands(one, random)

    def curvature(conv):
        squares = lambda x, w: jnp.sum(conv(one, x, w) ** 2)  # noqa: E731
        return jax.jit(jax.grad(lambda x, w: sum(jnp.sum(g) for g in jax.grad(squares, (0, 1))(x, w)), (0, 1)))(x, w)

    for a, b in zip(curvature(ours), curvature(theirs), strict=True):
        np.testing.assert_array_equal(a, b)
