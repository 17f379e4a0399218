"""The two small networks, in detail: parameters by layer, shapes by stage, sentences, both rules alike."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import models

LENET5 = {
    "conv1": 5 * 5 * 1 * 6 + 6,
    "pool1": 0,
    "conv2": 5 * 5 * 6 * 16 + 16,
    "pool2": 0,
    "dense1": 400 * 120 + 120,
    "dense2": 120 * 84 + 84,
    "head": 84 * 10 + 10,
}
SMALL = ["lenet5", "mlp"]
STAGES = {
    "lenet5": {
        "conv1": (28, 28, 6),
        "pool1": (14, 14, 6),
        "conv2": (10, 10, 16),
        "pool2": (5, 5, 16),
        "dense1": (120,),
        "dense2": (84,),
        "head": (10,),
    },
    "mlp": {"dense1": (300,), "dense2": (100,), "head": (10,)},
}


def parameters(module: nnx.Module) -> list:
    return jax.tree.leaves(nnx.state(module, nnx.Param))


def count(module: nnx.Module) -> int:
    return sum(leaf.size for leaf in parameters(module))


def shape_of(build: Callable[[], nnx.Module]) -> nnx.Module:
    """The network without numbers, which costs nothing."""
    return nnx.eval_shape(build)


def logits_of(model: nnx.Module, shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a network's answer."""
    graph, state = nnx.split(model)
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.eval_shape(lambda state, images: nnx.merge(graph, state)(images), state, images)


@pytest.fixture(scope="module", params=SMALL)
def captured(request):
    """A network, its images, its logits, and its stages."""
    model = models.create(request.param, rngs=nnx.Rngs(0))
    images = digits_like(np.random.default_rng(0), 3)
    logits, stages = nnx.jit(lambda model, images: model(images, capture=True))(model, images)
    return request.param, model, images, logits, stages


def digits_like(random, count=2, channels=1):
    return jnp.asarray(random.normal(size=(count, 28, 28, channels)), jnp.float32)


def test_lenet5_has_61_706_parameters_where_the_paper_has_them():
    model = shape_of(lambda: models.LeNet5(rngs=nnx.Rngs(0)))
    assert {name: count(getattr(model, name)) for name in LENET5} == LENET5
    assert count(model) == sum(LENET5.values()) == 61_706


def test_mlp_has_266_610_parameters():
    model = shape_of(lambda: models.MLP(rngs=nnx.Rngs(0)))
    assert [count(layer) for layer in (*model.dense, model.head)] == [784 * 300 + 300, 300 * 100 + 100, 100 * 10 + 10]
    assert count(model) == 266_610


def test_average_pooling_in_a_tdnn_does_not_grow_with_the_sound(random):
    model = models.create("tdnn", pool="average", rngs=nnx.Rngs(0))
    summing = models.create("tdnn", rngs=nnx.Rngs(0))
    frames = jnp.asarray(np.tile(random.normal(size=(2, 1, 16)), (1, 30, 1)), jnp.float32)
    np.testing.assert_allclose(model(frames), model(frames[:, :15]), rtol=1e-5)
    np.testing.assert_allclose(summing(frames), 24 * model(frames), rtol=1e-5)


def test_mlp_takes_any_widths_and_sizes():
    model = shape_of(lambda: models.MLP(5, 3, image_size=(4, 6), hidden=(7,), rngs=nnx.Rngs(0)))
    assert count(model) == 4 * 6 * 3 * 7 + 7 + 7 * 5 + 5
    assert logits_of(model, (2, 4, 6, 3)).shape == (2, 5)


@pytest.mark.parametrize("name", SMALL)
def test_classes_and_channels_are_free(name):
    model = shape_of(lambda: models.create(name, num_classes=3, in_features=2, rngs=nnx.Rngs(0)))
    assert logits_of(model, (4, 28, 28, 2)).shape == (4, 3)


def test_capture_gives_every_stage_and_the_same_logits(captured):
    name, model, images, logits, stages = captured
    assert {stage: a.shape for stage, a in stages.items()} == {k: (3, *shape) for k, shape in STAGES[name].items()}
    np.testing.assert_array_equal(stages["head"], logits)
    np.testing.assert_allclose(model(images), logits, rtol=1e-5, atol=1e-5)


def test_captured_stages_are_after_the_activation(captured):
    *_, stages = captured
    for name, activations in stages.items():
        if name != "head":
            assert np.min(activations) == 0 < np.max(activations), name
    assert np.min(stages["head"]) < 0


def test_lenet5_is_the_composition_of_its_layers(random):
    """The network in plain lax, from the paper's figure: no line is shared with the model."""
    model, images = models.LeNet5(rngs=nnx.Rngs(0)), digits_like(random, 3)
    numbers = ("NHWC", "HWIO", "NHWC")

    def stage(x, layer, padding):
        x = jax.lax.conv_general_dilated(x, layer.kernel[...], (1, 1), padding, dimension_numbers=numbers)
        x = jnp.maximum(x + layer.bias[...].reshape(1, 1, 1, -1), 0)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    x = stage(stage(images, model.conv1, ((2, 2), (2, 2))), model.conv2, "VALID").reshape(3, 400)
    for layer in (model.dense1, model.dense2):
        x = jnp.maximum(x @ layer.kernel[...] + layer.bias[...][None], 0)
    expected = x @ model.head.kernel[...] + model.head.bias[...][None]
    np.testing.assert_allclose(model(images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("border", [0, 1, 2])
def test_lenet5_s_border_is_what_is_round_the_image(random, border):
    images = digits_like(random)
    wide = jnp.pad(images, ((0, 0), (2 - border, 2 - border), (2 - border, 2 - border), (0, 0)))
    with_border = models.LeNet5(border=border, rngs=nnx.Rngs(0))
    assert with_border.input_shape == (32 - 2 * border, 32 - 2 * border, 1)
    np.testing.assert_allclose(with_border(wide), models.LeNet5(rngs=nnx.Rngs(0))(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"pool": "average", "activation": "tanh"}], ids=str)
def test_both_rules_give_the_same_gradient(random, options):
    images = digits_like(random, 4)

    @nnx.jit
    def gradient(model, images):
        return nnx.grad(lambda model: jnp.sum(jnp.sin(model(images))))(model)

    hand, autodiff = (
        gradient(models.LeNet5(rule=rule, rngs=nnx.Rngs(0), **options), images) for rule in ("hand", "autodiff")
    )
    for path, expected in nnx.to_flat_state(autodiff):
        found = dict(nnx.to_flat_state(hand))[path]
        np.testing.assert_allclose(found[...], expected[...], rtol=1e-4, atol=1e-4, err_msg=str(path))
        assert np.abs(expected[...]).max() > 0


@pytest.mark.parametrize("name", SMALL)
def test_computation_and_parameters_have_the_asked_dtypes(name):
    for options, stored, computed in (
        ({"dtype": jnp.bfloat16}, jnp.float32, jnp.bfloat16),
        ({"dtype": jnp.bfloat16, "param_dtype": jnp.bfloat16}, jnp.bfloat16, jnp.bfloat16),
        ({"dtype": jnp.float32, "param_dtype": jnp.bfloat16}, jnp.bfloat16, jnp.float32),
        ({"param_dtype": jnp.bfloat16}, jnp.bfloat16, jnp.bfloat16),
        ({}, jnp.float32, jnp.float32),
    ):
        model = shape_of(lambda options=options: models.create(name, rngs=nnx.Rngs(0), **options))
        assert {leaf.dtype for leaf in parameters(model)} == {jnp.dtype(stored)}, options
        assert logits_of(model, (1, 28, 28, 1)).dtype == computed, options


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_alone_decides_the_parameters(name):
    first, again, other = (jax.tree.leaves(nnx.state(models.create(name, rngs=nnx.Rngs(s)))) for s in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_kernels_start_with_variance_one_over_fan_in(name):
    state = nnx.to_flat_state(nnx.state(models.create(name, rngs=nnx.Rngs(0)), nnx.Param))
    for path, leaf in state:
        if path[-1] == "bias":
            assert not np.any(leaf[...]), path
        elif leaf.size > 2000:
            assert np.var(leaf[...]) * math.prod(leaf.shape[:-1]) == pytest.approx(1, rel=0.1), path


@pytest.mark.parametrize(("name", "network"), [("lenet5", "LeNet5"), ("mlp", "MLP")])
@pytest.mark.parametrize("shape", [(1, 32, 32, 1), (1, 28, 28, 3), (28, 28, 1), (28, 28), (1, 28, 27, 1)], ids=str)
def test_images_of_another_shape_are_refused(name, network, shape):
    with pytest.raises(ValueError) as caught:
        models.create(name, rngs=nnx.Rngs(0))(jnp.zeros(shape))
    assert str(caught.value) == f"{network} expects images of shape (N, 28, 28, 1); got {shape}."


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lenet", {}, " networks that `jaxcnn models` lists, or MODULE:FUNCTION; got 'lenet'."),
        ("lenet5", {"pool": "mean"}, "`pool` must be one of 'max', 'average'; got 'mean'."),
        ("lenet5", {"activation": "gelu"}, "'signum', 'identity'; got 'gelu'."),
        ("mlp", {"activation": 3}, "'signum', 'identity'; got 3."),
        ("tdnn", {"pool": "max"}, "`pool` must be one of 'sum', 'average'; got 'max'."),
        ("lenet5", {"border": 16}, "`border` must be at least 0 and less than half of 32; got 16."),
        ("lenet5", {"border": 0.5}, "`border` must be at least 0 and less than half of 32; got 0.5."),
        ("lenet5", {"depth": 3, "width": 2}, "got depth, width."),
        ("mlp", {"pool": "max"}, "got pool."),
        ("alexnet", {"image_size": 28}, "`image_size` must be at least 64; got 28."),
        ("vgg11", {"depth": 13}, "got depth."),
        ("resnet20", {"depth": 18, "version": 2}, "got depth."),
        ("resnet20", {"version": 3}, "`version` must be 1 or 2; got 3."),
        ("resnet50", {"version": 2, "zero_last": True}, "version 2, which ends with a convolution; got True."),
        ("resnet18", {"shortcut": "D"}, "'none'; got 'D'."),
        ("allcnn", {"base": "D"}, "'C'; got 'D'."),
        ("tdnn_wide", {"dilations": (1, 2)}, "one entry per width, here 3; got (1, 2)."),
        ("lenet5_1998", {"num_classes": 11}, "the number of bitmaps; got 11."),
    ],
    ids=str,
)
def test_unknown_names_and_options_are_answered_with_the_known_ones(name, options, message):
    with pytest.raises(ValueError) as caught:
        models.create(name, rngs=nnx.Rngs(0), **options)
    assert str(caught.value).endswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "known"),
    [("lenet5", "activation, border, dtype, method, param_dtype, pool, precision, rule"), ("mlp", "hidden")],
)
def test_the_known_options_are_listed(name, known):
    with pytest.raises(ValueError, match=known):
        models.create(name, rngs=nnx.Rngs(0), depth=3)


def test_activations_are_kept_only_where_somebody_asks_for_them():
    model = models.create("lenet5", num_classes=3, rngs=nnx.Rngs(0))
    images = jnp.ones((1, 28, 28, 1))
    kept = {}
    for capture in (False, True):
        call = (lambda x: model(x, capture=True)[0]) if capture else model
        pull = jax.make_jaxpr(lambda x, call=call: jax.vjp(call, x)[1])(images)
        kept[capture] = sum(variable.aval.size for variable in pull.jaxpr.outvars if variable.aval.size >= 28 * 28 * 6)
    assert kept[False] < kept[True]
