"""Flax's ImageNet example, whose strides pad only behind: into ours with the same logits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx, traverse_util
from safetensors.numpy import save_file

from jaxcnn import weights


class Block(linen.Module):
    """`ResNetBlock` and `BottleneckResNetBlock` of the example."""

    filters: int
    strides: tuple[int, int]
    kernels: tuple[int, ...] = (3, 3)

    @linen.compact
    def __call__(self, x):
        conv = functools.partial(linen.Conv, use_bias=False)
        norm = functools.partial(linen.BatchNorm, use_running_average=True, epsilon=1e-5)
        residual, out = x, self.filters * (4 if len(self.kernels) == 3 else 1)
        striding = len(self.kernels) - 2  # the first 3x3
        for i, kernel in enumerate(self.kernels):
            last = i == len(self.kernels) - 1
            strides = self.strides if i == striding else (1, 1)
            x = norm()(conv(out if last else self.filters, (kernel, kernel), strides)(x))
            x = x if last else linen.relu(x)
        if residual.shape != x.shape:
            residual = norm(name="norm_proj")(conv(out, (1, 1), self.strides, name="conv_proj")(residual))
        return linen.relu(residual + x)


class ResNetBlock(Block):
    """Its name is in the checkpoint."""


class BottleneckResNetBlock(Block):
    """Its name is in the checkpoint."""

    kernels: tuple[int, ...] = (1, 3, 1)


class ResNet(linen.Module):
    """The network of the example; `num_filters` is 64 there."""

    block: type
    counts: tuple[int, ...]
    num_filters: int = 8
    num_classes: int = 7

    @linen.compact
    def __call__(self, x):
        x = linen.Conv(self.num_filters, (7, 7), (2, 2), [(3, 3), (3, 3)], use_bias=False, name="conv_init")(x)
        x = linen.relu(linen.BatchNorm(use_running_average=True, epsilon=1e-5, name="bn_init")(x))
        x = linen.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        for stage, count in enumerate(self.counts):
            for place in range(count):
                strides = (2, 2) if stage and not place else (1, 1)
                x = self.block(self.num_filters * 2**stage, strides)(x)
        return linen.Dense(self.num_classes)(x.mean((1, 2)))


KINDS = {
    "resnet18": (ResNetBlock, (2, 2, 2, 2)),
    "resnet50": (BottleneckResNetBlock, (3, 4, 6, 3)),
}


@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_its_checkpoint_comes_in_with_its_logits(name, tmp_path, random, drawn):
    network = ResNet(*KINDS[name])
    images = random.normal(size=(2, 64, 64, 3)).astype(np.float32)
    options = {"widths": [8, 16, 32, 64], "padding": "same"}
    flat = weights.to_torch(drawn(name, num_classes=7, options=options), "flax")
    variables = traverse_util.unflatten_dict(flat, sep="/")
    shapes = jax.eval_shape(network.init, jax.random.key(0), images)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    expected = jax.jit(network.apply)(variables, images)
    np.savez(tmp_path / "linen.npz", **flat)

    model, config = weights.open_model(tmp_path / "linen.npz")
    assert (config["name"], config["num_classes"], config["options"]) == (name, 7, options)
    graph, state = nnx.split(model)
    found = jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, images)
    assert float(jnp.ptp(found)) > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * float(jnp.abs(expected).max()))


def test_dots_between_the_names_and_an_optimizer_s_state_are_no_obstacle(tmp_path, drawn):
    options = {"widths": [4, 4, 4, 4], "padding": "same"}
    model = drawn("resnet18", num_classes=7, options=options)
    dotted = {key.replace("/", "."): array for key, array in weights.to_torch(model, "flax").items()}
    extra = {"opt_state.0.trace.conv_init.kernel": np.zeros(3, np.float32), "step": np.zeros((), np.int64)}
    save_file(dotted | extra, tmp_path / "linen.safetensors")
    report = weights.load(model, tmp_path / "linen.safetensors")
    assert (report.scheme, report.complete) == ("flax", True)


def test_a_network_that_pads_otherwise_is_refused(tmp_path, drawn):
    options = {"widths": [4, 4, 4, 4]}
    model = drawn("resnet18", num_classes=7, options=options | {"padding": "same"})
    np.savez(tmp_path / "linen.npz", **weights.to_torch(model, "flax"))
    with pytest.raises(ValueError, match="linen.npz has flax weights, for which the model must be built with padding="):
        weights.load(drawn("resnet18", num_classes=7, options=options), tmp_path / "linen.npz")
    with pytest.raises(ValueError, match="`scheme` 'torchvision' must have names for the network; .*'symmetric'"):
        weights.to_torch(model, "torchvision")
