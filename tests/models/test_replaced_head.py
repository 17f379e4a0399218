"""Other classes on the same network: the outputs are fresh, all below keeps its bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import models

REDUCED = {
    "alexnet": {"image_size": (67, 67), "widths": (8, 16, 16, 16, 16), "hidden": (16, 16)},
    "googlenet": {},
    "lecun1989": {},
    "prelu_net": {"widths": (4, 8, 8, 8), "hidden": 16},
    "resnet20": {"widths": (4, 6, 8)},
    "tdnn_wide": {"widths": (8, 8), "dilations": (1, 2)},
    "textcnn": {"embedding": 8, "features": 4, "in_features": 11},
    "vgg11_bn": {"image_size": (32, 32), "widths": (4, 8, 8, 8, 8), "hidden": 16},
}


def create(name, num_classes, **options):
    return models.create(name, num_classes=num_classes, rngs=nnx.Rngs(params=0, dropout=1), **options)


def parameters(model):
    return {"/".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(nnx.state(model, nnx.Param))}


@pytest.mark.parametrize("name", REDUCED)
def test_it_has_the_shapes_of_a_network_of_so_many_classes(name):
    def replaced():
        model = create(name, 7, **REDUCED[name])
        model.replace_head(3, rngs=nnx.Rngs(5))
        return nnx.state(model)

    def shapes(states):
        return {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(states)}

    wanted = jax.eval_shape(lambda: nnx.state(create(name, 3, **REDUCED[name])))
    assert shapes(jax.eval_shape(replaced)) == shapes(wanted)


@pytest.mark.parametrize(
    ("name", "options", "fresh"),
    [
        ("mlp", {"image_size": (6, 5), "hidden": (8,)}, {"head/kernel", "head/bias"}),
        ("allcnn", {"widths": (4, 4)}, {"conv5/conv/kernel", "conv5/conv/bias"}),
        ("tdnn", {}, {"hidden2/kernel", "hidden2/bias", "weight", "bias"}),
    ],
)
def test_the_outputs_are_fresh_and_all_below_keeps_its_bits(name, options, fresh):
    model = create(name, 7, **options)
    before = parameters(model)
    model.replace_head(3, rngs=nnx.Rngs(5))
    after = parameters(model)
    assert {path for path in after if after[path].shape != before[path].shape} == fresh
    for path in after.keys() - fresh:
        np.testing.assert_array_equal(after[path], before[path], err_msg=path)
    for path in fresh:
        assert bool(jnp.any(after[path] != 0)) != path.endswith("bias"), path


def test_the_auxiliary_heads_are_replaced_too():
    def stages():
        model = create("googlenet", 7)
        model.replace_head(3, rngs=nnx.Rngs(5))
        return model(jnp.ones((2, 64, 64, 3)), capture=True)[1]

    found = jax.eval_shape(stages)
    assert [found[name].shape for name in ("aux1", "aux2", "head")] == [(2, 3)] * 3


def test_the_outputs_of_1998_are_as_many_of_its_bitmaps():
    model = create("lenet5_1998", 10)
    digits = jnp.ones((2, 28, 28, 1))
    before = model(digits)
    model.replace_head(4, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(model(digits), before[:, :4])
    with pytest.raises(ValueError) as caught:
        model.replace_head(11, rngs=nnx.Rngs(0))
    assert str(caught.value) == "`num_classes` must be at most 10, the number of bitmaps; got 11."


def test_the_draw_and_its_dtype_are_those_asked_for():
    model = create("mlp", 10, image_size=(6, 5), hidden=(8,), param_dtype=jnp.bfloat16)
    model.replace_head(4, rngs=nnx.Rngs(0), kernel_init=nnx.initializers.constant(2.0))
    assert model.head.kernel.dtype == model.head.bias.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(model.head.kernel[...], np.float32), np.full((8, 4), 2.0))
    assert model(jnp.ones((2, 6, 5, 1))).shape == (2, 4)


@pytest.mark.parametrize("count", [0, -3])
def test_no_classes_are_refused(count):
    model = create("mlp", 10, image_size=(6, 5), hidden=(8,))
    with pytest.raises(ValueError) as caught:
        model.replace_head(count, rngs=nnx.Rngs(0))
    assert str(caught.value) == f"`num_classes` must be positive; got {count}."
