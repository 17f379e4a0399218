"""FCN and U-Net: parameters and sizes of the papers, any size of picture, and twins in PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import models

FCN = {"widths": (4, 6, 8, 8, 8), "depths": (1, 1, 1, 1, 1), "hidden": 8, "dropout": 0.0}
UNET = {"widths": (4, 6, 8), "dropout": 0.0}


def shape_of(name, shape, **options):
    model = nnx.eval_shape(lambda: models.create(name, num_classes=3, in_features=1, rngs=nnx.Rngs(0), **options))
    graph, state = nnx.split(model)
    run = lambda state, x: nnx.merge(graph, state)(x, capture=True)  # noqa: E731
    logits, stages = jax.eval_shape(run, state, jax.ShapeDtypeStruct((2, *shape, 1), jnp.float32))
    return logits.shape, {name: stage.shape[1:] for name, stage in stages.items()}


def count(module):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def test_the_u_net_of_the_paper_sees_572_pixels_and_tells_388():
    logits, stages = shape_of("unet", (572, 572), padding="VALID")
    assert logits == (2, 388, 388, 3)
    sides = {"down1_2": (568, 64), "down2_2": (280, 128), "down4_2": (64, 512), "down5_2": (28, 1024)}
    sides |= {"enlarge4": (56, 512), "up4_2": (52, 512), "up2_2": (196, 128), "up1_2": (388, 64)}
    assert {name: stages[name] for name in sides} == {name: (side, side, maps) for name, (side, maps) in sides.items()}
    with pytest.raises(ValueError, match="`strides` must divide padded input minus window"):
        shape_of("unet", (573, 573), padding="VALID")


def test_parameters_are_where_the_papers_have_them():
    unet = nnx.eval_shape(lambda: models.create("unet", rngs=nnx.Rngs(0)))
    assert count(unet) == 31_030_658 and count(unet.down) == 18_842_048
    assert [count(layer) for layer in unet.enlarge] == [2_097_664, 524_544, 131_200, 32_832]
    fcn = nnx.eval_shape(lambda: models.create("fcn", rngs=nnx.Rngs(0)))
    assert count(fcn.blocks) == 14_714_688  # those of VGG-16
    assert count(fcn.conv6) + count(fcn.conv7) == 119_545_856  # those of its two dense layers
    assert [count(layer) for layer in (fcn.head, *fcn.scores)] == [86_037, 10_773, 5_397]
    assert [count(layer) for layer in fcn.enlarge] == [7_056, 7_056]
    without = nnx.eval_shape(lambda: models.create("fcn", stride=32, rngs=nnx.Rngs(0)))
    assert count(without) == 14_714_688 + 119_545_856 + 86_037


@pytest.mark.parametrize("size", [(48, 48), (33, 50), (7, 13), (1, 1)])
@pytest.mark.parametrize(("name", "options"), [("unet", UNET), ("fcn", FCN), ("fcn", FCN | {"stride": 32})])
def test_every_pixel_of_a_picture_of_any_size_has_its_logits(name, options, size):
    assert shape_of(name, size, **options)[0] == (2, *size, 3)


@pytest.mark.parametrize(("name", "options"), [("unet", UNET), ("fcn", FCN)])
def test_a_pixel_depends_on_what_is_there(name, options):
    """The gradient of the logits of a pixel is largest near the pixel, also in a corner of an odd size."""
    model = models.create(name, num_classes=3, in_features=1, rngs=nnx.Rngs(0), **options)
    model.replace_head(3, rngs=nnx.Rngs(1))  # those of the FCN begin at zero
    x = np.random.default_rng(0).normal(size=(1, 37, 41, 1)).astype(np.float32)
    rows, columns = np.mgrid[:37, :41]
    slope_of = jax.jit(jax.grad(lambda x, weights: jnp.sum(model(x).sum(-1) * weights)))
    for pixel in ((18, 20), (0, 0), (36, 40)):
        weights = np.zeros((1, 37, 41), np.float32)
        weights[0, *pixel] = 1
        slope = np.abs(np.asarray(slope_of(x, weights)))[0, ..., 0]
        distance = np.hypot(rows - pixel[0], columns - pixel[1])
        assert (slope * distance).sum() / slope.sum() < 0.9 * distance.mean(), pixel


def test_other_classes_have_other_scores_between_equal_layers():
    model = models.create("fcn", num_classes=3, in_features=1, rngs=nnx.Rngs(0), **FCN)
    before = np.asarray(model.conv6.kernel[...])
    model.replace_head(5, rngs=nnx.Rngs(1))
    assert model(jnp.zeros((1, 16, 16, 1))).shape == (1, 16, 16, 5)
    np.testing.assert_array_equal(model.conv6.kernel[...], before)
    kernel = np.asarray(model.enlarge[0].kernel[...])
    assert kernel.shape == (4, 4, 5, 5) and kernel[1, 1, 2, 2] == 0.75**2 and not kernel[..., 0, 1].any()


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("unet", {"padding": "same"}, "`padding` must be one of 'SAME', 'VALID'; got 'same'."),
        ("unet", {"widths": (8,)}, r"`widths` must have one number for each of at least two levels; got \(8,\)."),
        ("fcn", {"stride": 4}, "`stride` must be one of 8, 16, 32; got 4."),
        ("fcn", {"widths": (8, 8)}, "`widths` must have one entry per block, here 5; got"),
    ],
)
def test_options_that_do_not_exist_are_refused(name, options, told):
    with pytest.raises(ValueError, match=told):
        models.create(name, rngs=nnx.Rngs(0), **options)


def tensors(model):
    torch = pytest.importorskip("torch")
    from jaxcnn.weights.schemes import entries, leaves

    there = leaves(model)
    return torch, {
        entry.path: torch.tensor(
            np.ascontiguousarray(entry.layout.write(np.asarray(there[entry.path]))), requires_grad=True
        )
        for entry in entries(model, "pytorch")
    }


def unet_in_pytorch(torch, w, x):
    functional = torch.nn.functional
    conv = lambda path, x: functional.conv2d(x, w[f"{path}/kernel"], w[f"{path}/bias"], padding="same")  # noqa: E731
    joined = []
    for level in range(3):
        for place in range(2):
            x = conv(f"down/{level}/{place}/conv", x).relu()
        if level < 2:
            joined.append(x)
            x = functional.max_pool2d(x, 2, ceil_mode=True)
    for level in range(2):
        x = functional.conv_transpose2d(x, w[f"enlarge/{level}/kernel"], w[f"enlarge/{level}/bias"], stride=2)
        maps = joined.pop()
        x = functional.pad(x, (0, maps.shape[3] - x.shape[3], 0, maps.shape[2] - x.shape[2]))  # crops
        x = x[:, :, : maps.shape[2], : maps.shape[3]]
        x = conv(f"up/{level}/0/conv", torch.cat([maps, x], 1)).relu()
        x = conv(f"up/{level}/1/conv", x).relu()
    return conv("head", x)


def fcn_in_pytorch(torch, w, x):
    functional = torch.nn.functional
    conv = lambda path, x: functional.conv2d(x, w[f"{path}/kernel"], w[f"{path}/bias"], padding="same")  # noqa: E731
    size, pools = x.shape[2:], []
    for block in range(5):
        x = functional.max_pool2d(conv(f"blocks/{block}/0/conv", x).relu(), 2, ceil_mode=True)
        pools.append(x)
    x = conv("head", conv("conv7", conv("conv6", x).relu()).relu())
    for place, skip in enumerate((pools[3], pools[2])):
        x = functional.conv_transpose2d(x, w[f"enlarge/{place}/kernel"], stride=2, padding=1)
        x = x[:, :, : skip.shape[2], : skip.shape[3]] + conv(f"scores/{place}", skip)
    bordered = functional.pad(x, (1, 1, 1, 1))  # interpolation repeats what is at the border: here zeros
    large = functional.interpolate(bordered, scale_factor=8, mode="bilinear", align_corners=False)[:, :, 8:-8, 8:-8]
    return large[:, :, : size[0], : size[1]]


@pytest.mark.parametrize(("name", "options", "twin"), [("unet", UNET, unet_in_pytorch), ("fcn", FCN, fcn_in_pytorch)])
def test_logits_and_gradients_are_those_of_a_twin_in_pytorch(random, name, options, twin):
    model = models.create(name, num_classes=3, in_features=1, rngs=nnx.Rngs(0), **options)
    model.replace_head(3, rngs=nnx.Rngs(1))
    torch, w = tensors(model)
    x = random.normal(size=(2, 21, 18, 1)).astype(np.float32)
    expected = twin(torch, w, torch.tensor(x).permute(0, 3, 1, 2))

    @nnx.jit
    @functools.partial(nnx.value_and_grad, has_aux=True)
    def both(model):
        logits = model(x)
        return jnp.sum(jnp.sin(logits)), logits

    (_, logits), slope = both(model)
    np.testing.assert_allclose(logits, expected.detach().permute(0, 2, 3, 1), rtol=1e-3, atol=1e-4)
    torch.sin(expected).sum().backward()
    from jaxcnn.weights.schemes import entries

    found = {"/".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(slope)}
    for entry in entries(model, "pytorch"):
        wanted = w[entry.path].grad.numpy()
        own = entry.layout.write(found[entry.path])
        np.testing.assert_allclose(own, wanted, rtol=1e-2, atol=1e-3 * np.abs(wanted).max(), err_msg=entry.path)
