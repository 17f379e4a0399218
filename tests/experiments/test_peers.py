"""The peers' networks and operations are the same networks and operations."""

import functools
import math

import jax
import numpy as np
import pytest
from flax import nnx

from experiments.benchmarks import functions, ops, steps
from experiments.benchmarks.contestants import LeftOut
from experiments.benchmarks.networks import SHAPES, Task
from jaxcnn import models

TINY = {
    "strided": functions.Conv((2, 9, 9, 4), 3, 6, 2),
    "grouped": functions.Conv((2, 6, 6, 4), 5, 6, 1, 2),
    "depthwise": functions.Conv((2, 6, 6, 4), 3, 4, 1, 4),
}


PEERS = ("flax", "equinox", "keras", "torch")
SLOW = [name if name != "resnet50" else pytest.param(name, marks=pytest.mark.slow) for name in SHAPES]


@pytest.fixture(autouse=True)
def ranks_as_peers_take_them():
    """Keras adds biases to maps of more axes."""
    with jax.numpy_rank_promotion("allow"):
        yield


def sizes(arrays):
    """Shapes of parameters, whatever the order of their axes."""
    return sorted(tuple(sorted(length for length in array.shape if length > 1)) for array in arrays)


def operations(name, function, *arguments):
    """Those of the forward pass, as XLA counts them, which tell strides and paddings apart."""
    with jax.numpy_dtype_promotion("standard"):
        lowered = jax.jit(function).lower(*arguments)
    assert lowered.out_info.shape == (2, SHAPES[name].classes)
    return lowered.cost_analysis()["flops"]


def nnx_twin(name, model):
    graph, state = nnx.split(model)
    params = jax.tree.leaves(nnx.state(model, nnx.Param))
    return params, lambda x: operations(name, lambda s, x: nnx.merge(graph, s, copy=True)(x), state, x)


def equinox_twin(name):
    import equinox as eqx

    from experiments.benchmarks import peers_equinox

    model, state = eqx.filter_eval_shape(peers_equinox.network, name, SHAPES[name].classes)
    params, static = eqx.partition(model, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))

    def forward(params, state, x):
        x = x.transpose(0, 3, 1, 2)
        return peers_equinox.forward(eqx.combine(params, static), state, x, jax.random.key(0))[0]

    return jax.tree.leaves(params), lambda x: operations(name, forward, params, state, x)


def keras_twin(name):
    from experiments.benchmarks import peers_keras

    built = []
    jax.eval_shape(lambda: built.append(peers_keras.network(name, SHAPES[name].classes)))  # shapes without values
    (model,) = built
    params, rest = (
        [jax.ShapeDtypeStruct(variable.shape, variable.dtype) for variable in part]
        for part in (model.trainable_variables, model.non_trainable_variables)
    )

    def forward(params, rest, x):
        return model.stateless_call(params, rest, x)[0]

    return params, lambda x: operations(name, forward, params, rest, x)


def torch_twin(name):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from experiments.benchmarks import peers_torch

    with torch.device("meta"):
        model = peers_torch.NETWORKS[name](SHAPES[name].classes)

    def count(x):
        """Only of convolutions and matrix products."""
        with FlopCounterMode(display=False) as counter, torch.device("meta"):
            model.eval()(torch.zeros(x.shape[0], x.shape[3], *x.shape[1:3]))
        return counter.get_total_flops()

    return list(model.parameters()), count


@functools.cache
def twin(peer, name):
    """A network's parameters, without values, and a function that counts the operations of its forward pass."""
    pytest.importorskip(peer)
    if peer != "flax":
        return {"equinox": equinox_twin, "keras": keras_twin, "torch": torch_twin}[peer](name)
    from experiments.benchmarks import peers_flax

    return nnx_twin(name, nnx.eval_shape(lambda: peers_flax.network(name, SHAPES[name].classes)))


@functools.cache
def ours(name):
    return nnx_twin(name, nnx.eval_shape(lambda: models.create(name, rngs=nnx.Rngs(0))))


@functools.cache
def our_operations(name):
    size, channels, _ = SHAPES[name]
    images = jax.ShapeDtypeStruct((2, size, size, channels), "float32")
    return images, ours(name)[1](images)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("peer", PEERS)
def test_all_networks_have_the_same_parameters(peer, name):
    found, expected = twin(peer, name)[0], ours(name)[0]
    assert sizes(found) == sizes(expected)
    assert sum(math.prod(array.shape) for array in found) == sum(math.prod(array.shape) for array in expected)


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("peer", PEERS)
def test_all_networks_do_the_same_work(peer, name):
    images, expected = our_operations(name)
    if peer != "torch":
        # 5 % of LeNet-5 are products with padding, which count where a convolution is a sum over taps, as in ours
        assert twin(peer, name)[1](images) == pytest.approx(expected, rel=0.06)
        return
    model = nnx.eval_shape(lambda: models.create(name, rngs=nnx.Rngs(0)))
    one = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
    assert twin(peer, name)[1](one) == pytest.approx(2 * models.summary(model, one.shape).multiply_adds, rel=0.01)


def test_another_method_reaches_every_convolution_or_is_left_out():
    def written(peer):
        program = steps.program(Task("lenet5", 2), peer)
        with jax.numpy_dtype_promotion("standard"):
            return str(jax.make_jaxpr(program.step)(program.state, *program.batch))

    assert "conv_general_dilated" not in written("jaxcnn-im2col")
    with pytest.raises(LeftOut, match="'unknown'"):
        written("jaxcnn-unknown")


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


def test_all_normalize_alike():
    assert_all_equal(lambda peer: ops.norm_relu((4, 5, 5, 3), peer), EVERYONE)


def test_the_stages_are_alike():
    assert_all_equal(lambda peer: ops.stage(functions.Conv((2, 8, 8, 3), 3, 5), peer), EVERYONE)


def test_the_cases_are_those_of_the_bars():
    assert math.prod(ops.POOLS["k2s2"].inputs) == 128 * 32 * 32 * 64
    assert ops.CONVS["alexnet-conv2"].kernel == (5, 5, 48, 256)
    assert ops.CONVS["depthwise"].kernel == (3, 3, 1, 64)
