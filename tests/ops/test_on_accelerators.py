"""What the rules lower to for a GPU, of which none is needed: XLA's own convolutions, and nothing beside them."""

import re
from collections import Counter
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import Var

from jaxcnn import layers, ops

COUNTED = ("convolution", "transpose", "reverse", "dot_general")


@pytest.fixture
def gpu(monkeypatch):
    """Lets the rules choose as on a GPU."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def lowered(function, *shapes) -> list[str]:
    """The operations of a function, in StableHLO as for CUDA; each call stands as what it calls."""
    text = jax.jit(function).trace(*shapes).lower(lowering_platforms=("cuda",)).as_text()
    bodies = dict(re.findall(r"func\.func \w+ @(\w+)\((.*?)\n  \}", text, re.DOTALL))

    def operations(name: str) -> Iterator[str]:
        for line in bodies[name].splitlines():
            called = re.search(r"call @(\w+)\(", line)
            if called:
                yield from operations(called[1])
            elif "stablehlo." in line:
                yield re.sub(r"%[\w#:]+", "%", line.strip())

    return list(operations("main"))


def of_kind(operations, kind) -> Counter:
    return Counter(line for line in operations if f"stablehlo.{kind}" in line)


class Network(nnx.Module):
    """A ResNet's stem, a block, and a bottleneck, in bfloat16."""

    def __init__(self, rule):
        options = {"dtype": jnp.bfloat16, "rule": rule, "rngs": nnx.Rngs(0)}
        self.layers = nnx.List(
            [
                layers.ConvUnit(3, 8, 7, 2, **options),
                layers.ResidualBlock(8, 16, 2, shortcut="A", **options),
                layers.ResidualBlock(16, 8, 2, bottleneck=True, stride_on="middle", **options),
            ]
        )

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def gradient_of(rule) -> list[str]:
    graph, params, rest = nnx.split(nnx.eval_shape(lambda: Network(rule)), nnx.Param, ...)

    def loss(params, rest, images):
        model = nnx.merge(graph, params, rest, copy=True)
        return jnp.sum(jnp.square(model(images).astype(jnp.float32))), nnx.split(model, nnx.Param, ...)[2]

    images = jax.ShapeDtypeStruct((8, 64, 64, 3), jnp.bfloat16)
    return lowered(jax.grad(loss, has_aux=True), params, rest, images)


def activations(operations) -> Counter:
    """The types between which whole activations, arrays of four axes that begin with the batch, are converted."""
    found = Counter()
    for line in of_kind(operations, "convert").elements():
        types = re.findall(r"tensor<8x(?:\d+x){3}(\w+)>", line)
        if types:
            found[tuple(types)] += 1
    return found


def test_a_residual_networks_gradient_is_made_of_the_convolutions_that_autodiff_has(gpu):
    hand, autodiff = gradient_of("hand"), gradient_of("autodiff")
    # value, input gradient but the first, kernel gradient: to the letter, so XLA finds cuDNN's forms in them or nowhere
    convolutions = of_kind(hand, "convolution")
    assert convolutions == of_kind(autodiff, "convolution")
    assert sum(convolutions.values()) == 3 * 7 - 1
    assert all("f32" not in line for line in convolutions)
    for kind in ("transpose", "reverse", "dot_general", "optimization_barrier"):
        assert of_kind(hand, kind) == of_kind(autodiff, kind), kind
    assert sum(of_kind(hand, "reduce").values()) < sum(of_kind(autodiff, "reduce").values())
    assert activations(hand) and activations(hand) <= activations(autodiff)


CONVOLUTIONS = {
    "one axis": ((9, 4), (3, 4, 6), {}),
    "1x1": ((5, 5, 4), (1, 1, 4, 6), {}),
    "1x1, strided": ((6, 6, 4), (1, 1, 4, 6), {"strides": 2}),
    "one output": ((5, 5, 4), (5, 5, 4, 6), {"padding": "VALID"}),
    "one channel": ((8, 8, 1), (5, 5, 1, 6), {}),
    "strided": ((8, 8, 4), (3, 3, 4, 6), {"strides": 2, "padding": 1}),
    "dilated": ((8, 8, 4), (3, 3, 4, 6), {"kernel_dilation": 2}),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_every_convolutions_gradients_are_those_of_autodiff(gpu, case, dtype):
    inputs, kernel, options = CONVOLUTIONS[case]
    shapes = jax.ShapeDtypeStruct((2, *inputs), dtype), jax.ShapeDtypeStruct(kernel, dtype)

    def gradients(rule):
        return lowered(jax.grad(lambda x, w: jnp.sum(ops.conv(x, w, rule=rule, **options) ** 2), (0, 1)), *shapes)

    hand, autodiff = gradients("hand"), gradients("autodiff")
    for kind in COUNTED:
        assert of_kind(hand, kind) == of_kind(autodiff, kind), kind


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_cost_no_convolution_more(gpu, groups):
    shapes = (
        jax.ShapeDtypeStruct((2, 6, 6, 4), jnp.bfloat16),
        jax.ShapeDtypeStruct((3, 3, 4 // groups, 8), jnp.bfloat16),
    )

    def gradients(rule):
        def value(x, w):
            return jnp.sum(ops.conv(x, w, feature_group_count=groups, rule=rule) ** 2)

        return lowered(jax.grad(value, (0, 1)), *shapes)

    hand, autodiff = gradients("hand"), gradients("autodiff")
    assert of_kind(hand, "convolution") == of_kind(autodiff, "convolution")
    assert of_kind(hand, "transpose").total() <= of_kind(autodiff, "transpose").total()


@pytest.mark.parametrize(("window", "options"), [(2, {}), (3, {"strides": 2, "padding": 1})])
def test_max_pools_gradient_moves_whole_arrays_only(gpu, window, options):
    """No scatter, gather, sort or loop; the switches are bytes; the error stays in bfloat16."""

    def gradient(x, error):
        return jax.vjp(lambda x: ops.max_pool(x, window, **options), x)[1](error)

    shapes = (jax.ShapeDtypeStruct((8, size, size, 4), jnp.bfloat16) for size in (12, 6))
    text = "\n".join(operations := lowered(gradient, *shapes))
    kinds = set(re.findall(r"stablehlo\.(\w+)", text))
    assert not kinds & {"select_and_scatter", "scatter", "gather", "sort", "while", "transpose", "reverse"}
    assert not activations(operations)
    assert set(re.findall(r"tensor<8x6x6x4x(u?i\d+)>", text)) == {"i1", "ui8"}


@pytest.mark.parametrize(("dtype", "passes"), [(jnp.bfloat16, 1), (jnp.float16, 2), (jnp.float32, 2)])
def test_in_bfloat16_one_reading_finds_mean_and_variance(dtype, passes):
    """The longest chain of sums over the batch that wait for each other, in the value."""
    ones = jnp.ones(4, jnp.float32)
    program = jax.make_jaxpr(lambda x: ops.batch_norm(x, ones, ones, rule="autodiff"))(jnp.ones((8, 4), dtype))

    def longest(jaxpr, given) -> list[int]:
        depth = dict(zip(jaxpr.invars, given, strict=True))

        def of(values) -> list[int]:
            return [depth.get(value, 0) for value in values if isinstance(value, Var)]

        for equation in jaxpr.eqns:
            before = of(equation.invars)
            inner = equation.params.get("jaxpr")
            if inner is None:
                after = [max(before, default=0) + (equation.primitive.name == "reduce_sum")] * len(equation.outvars)
            else:
                after = longest(inner.jaxpr, before)
            depth |= dict(zip(equation.outvars, after, strict=True))
        return of(jaxpr.outvars)

    assert max(longest(program.jaxpr, [0])) == passes


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("mean", [0.0, 3.0, -40.0])
def test_halves_have_the_statistics_of_their_own_values(random, dtype, mean):
    x = jnp.asarray(random.normal(mean, 1.0, (64, 16, 4)), dtype)
    exact = np.asarray(x, np.float64)
    ones = jnp.ones(4, jnp.float32)
    y, found_mean, variance = ops.batch_norm(x, ones, 0 * ones)
    np.testing.assert_allclose(found_mean, exact.mean((0, 1)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(variance, exact.var((0, 1)), rtol=1e-3)
    normal = (exact - exact.mean((0, 1))) / np.sqrt(exact.var((0, 1)) + 1e-5)
    np.testing.assert_allclose(np.asarray(y, np.float64), normal, rtol=2e-2, atol=2e-2)


def test_a_constant_channel_in_halves_has_no_negative_variance():
    x = jnp.full((33, 7, 2), 3.14159, jnp.bfloat16)
    y, _, variance = ops.batch_norm(x, jnp.ones(2), jnp.zeros(2))
    assert np.all(np.asarray(variance) >= 0) and np.all(np.isfinite(np.asarray(y, np.float32)))
