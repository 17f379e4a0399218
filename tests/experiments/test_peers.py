"""The peers' networks and operations are the same networks and operations."""

import functools
import math

import jax
import numpy as np
import pytest
from flax import nnx

from experiments.benchmarks import functions, ops
from experiments.benchmarks.networks import SHAPES
from jaxcnn import models

TINY = {
    "strided": functions.Conv((2, 9, 9, 4), 3, 6, 2),
    "grouped": functions.Conv((2, 6, 6, 4), 5, 6, 1, 2),
    "depthwise": functions.Conv((2, 6, 6, 4), 3, 4, 1, 4),
}


@functools.cache
def summary(name):
    model = nnx.eval_shape(lambda: models.create(name, rngs=nnx.Rngs(0)))
    shape = SHAPES[name]
    return model, models.summary(model, (1, shape.size, shape.size, shape.channels))


def sizes(shapes):
    """Shapes of parameters, whatever the order of their axes, without the axes of length 1 that biases may have."""
    return sorted(tuple(sorted(length for length in shape if length > 1)) for shape in shapes)


def ours(name):
    return sizes(leaf.shape for leaf in jax.tree.leaves(nnx.state(summary(name)[0], nnx.Param)))


def images(name, layout="NHWC"):
    size, channels, _ = SHAPES[name]
    return jax.ShapeDtypeStruct((2, size, size, channels) if layout == "NHWC" else (2, channels, size, size), "float32")


def forward_flops(name, function, *arguments):
    """Operations of the forward pass, as XLA counts them, which tell strides and paddings apart."""
    with jax.numpy_dtype_promotion("standard"):
        lowered = jax.jit(function).lower(*arguments)
    assert lowered.out_info.shape == (2, SHAPES[name].classes)
    return lowered.cost_analysis()["flops"]


def nnx_flops(model, name):
    graph, state = nnx.split(model)
    return forward_flops(name, lambda state, x: nnx.merge(graph, state, copy=True)(x), state, images(name))


@functools.cache
def our_flops(name):
    return nnx_flops(summary(name)[0], name)


@pytest.mark.parametrize("name", SHAPES)
def test_stock_flax(name):
    from experiments.benchmarks import peers_flax

    model = nnx.eval_shape(lambda: peers_flax.network(name, SHAPES[name].classes))
    assert sizes(leaf.shape for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) == ours(name)
    assert nnx_flops(model, name) == pytest.approx(our_flops(name), rel=0.03)


@pytest.mark.parametrize("name", SHAPES)
def test_equinox(name):
    eqx = pytest.importorskip("equinox")
    from experiments.benchmarks import peers_equinox

    model, state = eqx.filter_eval_shape(peers_equinox.network, name, SHAPES[name].classes)
    params, static = eqx.partition(model, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    assert sizes(leaf.shape for leaf in jax.tree.leaves(params)) == ours(name)

    def forward(params, state, x):
        return peers_equinox.forward(eqx.combine(params, static), state, x, jax.random.key(0))[0]

    assert forward_flops(name, forward, params, state, images(name, "NCHW")) == pytest.approx(our_flops(name), rel=0.03)


@pytest.mark.parametrize("name", SHAPES)
def test_keras(name, monkeypatch):
    pytest.importorskip("keras")
    from experiments.benchmarks.peers_keras import keras, network

    with keras.StatelessScope():  # shapes without values
        model = network(name, SHAPES[name].classes)
    assert sizes(variable.shape for variable in model.trainable_variables) == ours(name)
    variables = [
        [jax.ShapeDtypeStruct(variable.shape, variable.dtype) for variable in part]
        for part in (model.trainable_variables, model.non_trainable_variables)
    ]

    def forward(trainable, rest, x):
        return model.stateless_call(trainable, rest, x)[0]

    assert forward_flops(name, forward, *variables, images(name)) == pytest.approx(our_flops(name), rel=0.03)


@pytest.mark.parametrize("name", SHAPES)
def test_pytorch(name):
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from experiments.benchmarks import peers_torch

    size, channels, classes = SHAPES[name]
    with torch.device("meta"):
        model = peers_torch.NETWORKS[name](classes)
        x = torch.zeros(1, channels, size, size)
    assert sizes(parameter.shape for parameter in model.parameters()) == ours(name)
    with FlopCounterMode(display=False) as counter:
        assert model.eval()(x).shape == (1, classes)
    assert counter.get_total_flops() == pytest.approx(2 * summary(name)[1].multiply_adds, rel=0.01)


def values(found):
    """Arrays, channels last."""
    found = jax.tree.leaves(found, is_leaf=lambda leaf: hasattr(leaf, "detach"))
    return [
        np.moveaxis(leaf.detach().numpy(), 1, -1) if hasattr(leaf, "detach") and leaf.ndim == 4 else np.asarray(leaf)
        for leaf in (leaf.detach() if hasattr(leaf, "detach") else leaf for leaf in found)
    ]


def assert_all_equal(build, peers):
    with jax.numpy_dtype_promotion("standard"):
        expected = values(build("flax").call())
        for peer in peers:
            if peer != "keras":
                found = values(build(peer).call())
            else:
                pytest.importorskip(peer)
                found = values(build(peer).call())
            for a, b in zip(found, expected, strict=True):
                if a.shape != b.shape:  # a kernel: outputs first, and last
                    a = np.moveaxis(a, 0, -1)
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4, err_msg=peer)


def peers(*names):
    import importlib.util

    return [name for name in names if importlib.util.find_spec(name.partition("-")[0])]


EVERYONE = peers("jaxcnn", "keras", "torch-nchw", "torch-channels-last")


@pytest.mark.parametrize("direction", ["forward", "input-gradient", "kernel-gradient", "gradient"])
@pytest.mark.parametrize("name", TINY)
def test_all_convolve_alike(name, direction):
    assert_all_equal(lambda peer: ops.conv(TINY[name], direction, peer), EVERYONE)


@pytest.mark.parametrize("case", [functions.Pool((2, 6, 6, 3), 2, 2), functions.Pool((2, 7, 7, 3), 3, 2, 1)])
def test_all_pool_alike(case):
    assert_all_equal(lambda peer: ops.max_pool(case, peer), EVERYONE)


def test_all_normalise_alike():
    assert_all_equal(lambda peer: ops.norm_relu((4, 5, 5, 3), peer), EVERYONE)


def test_the_stages_are_alike():
    assert_all_equal(lambda peer: ops.stage(functions.Conv((2, 8, 8, 3), 3, 5), peer), EVERYONE)


def test_the_cases_are_those_of_the_bars():
    assert math.prod(ops.POOLS["k2s2"].inputs) == 128 * 32 * 32 * 64
    assert ops.CONVS["alexnet-conv2"].kernel == (5, 5, 48, 256)
    assert ops.CONVS["depthwise"].kernel == (3, 3, 1, 64)
