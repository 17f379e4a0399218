"""Parameters and multiply-adds as the papers and their reference implementations have them."""

import functools

import jax
import pytest
from flax import nnx

from jaxcnn import models

PARAMETERS = {
    "alexnet": 60_965_224,
    "alexnet_single": 62_378_344,
    "alexnet_torchvision": 61_100_840,
    "allcnn": 1_369_738,
    "fcn": 134_376_863,
    "unet": 31_030_658,
    "bn_inception": 11_285_224,  # 11,295,240 where its convolutions also have the 10,016 biases that norms undo
    "lecun1989": 9_760,
    "lenet5": 61_706,
    "lenet5_1998": 60_000,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "plain20": 269_722,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg16_bn": 138_365_992 - 4_224,  # torchvision's convolutions keep their 4,224 biases
}
MULTIPLY_ADDS = {
    "alexnet": 724e6,  # Sze et al. 2017, "Efficient processing of deep neural networks", table II
    "vgg16": 15.5e9,  # the same
    "resnet50": 4.09e9,  # torchvision's documentation of its weights
    "resnet18": 1.81e9,  # the same
    "resnet20": 4.06e7,  # He et al. 2019, "Filter pruning via geometric median", table 1
    "resnet56": 1.25e8,  # the same
    "resnet110": 2.53e8,  # the same
    "prelu_net": 1.90e10,  # He et al. 2015, table 3
}


@functools.cache  # of the networks as they are; deep ones take seconds to trace
def as_it_is(name):
    return summary(name)


def summary(name, **options):
    model = nnx.eval_shape(lambda: models.create(name, rngs=nnx.Rngs(0), **options))
    return models.summary(model, (1, *models.CARDS[name].input_shape))


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_exactly_those_of_the_paper(name):
    assert as_it_is(name).parameters == PARAMETERS[name]


@pytest.mark.parametrize("name", MULTIPLY_ADDS)
def test_multiply_adds_are_the_published_ones(name):
    assert as_it_is(name).multiply_adds == pytest.approx(MULTIPLY_ADDS[name], rel=0.01)


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("googlenet", {"auxiliary": False}, 6_998_552),
        ("googlenet_torchvision", {"auxiliary": False}, 6_624_904),
        ("googlenet_torchvision", {}, 13_004_888),
        ("vgg16", {"grid": (7, 7), "image_size": (64, 64)}, 138_357_544),
        ("resnet50", {"stride_on": "first"}, 25_557_032),
        ("resnet18", {"shortcut": "A"}, 11_689_512 - (64 * 128 + 128 * 256 + 256 * 512 + 2 * (128 + 256 + 512))),
        ("resnet20", {"shortcut": "B"}, 269_722 + 16 * 32 + 32 * 64 + 2 * (32 + 64)),
        ("mlp", {"hidden": ()}, 7_850),
    ],
    ids=str,
)
def test_options_change_the_count_as_they_should(name, options, count):
    assert summary(name, **options).parameters == count


def test_lecun1989_has_its_parameters_where_the_paper_has_them():
    model = models.create("lecun1989", rngs=nnx.Rngs(0))
    count = lambda part: sum(leaf.size for leaf in jax.tree.leaves(nnx.state(part, nnx.Param)))  # noqa: E731
    assert count(model.h1) + model.h1_bias.size == 1_068
    assert count(model.h2) + model.h2_bias.size == 2_592
    assert (count(model.h3), count(model.head)) == (5_790, 310)


def test_lenet_1998_has_its_parameters_where_the_paper_has_them():
    model = models.create("lenet5_1998", rngs=nnx.Rngs(0))
    count = lambda part: sum(leaf.size for leaf in jax.tree.leaves(nnx.state(part, nnx.Param)))  # noqa: E731
    parts = {name: count(getattr(model, name)) for name in ("c1", "s2", "c3", "s4", "c5", "f6")}
    assert parts == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}


def test_every_network_has_a_card_and_every_card_a_network():
    assert set(models.CARDS) == set(models.MODELS)


@pytest.mark.parametrize("name", models.MODELS)
def test_a_card_tells_what_the_network_has(name):
    found, card = as_it_is(name), models.CARDS[name]
    assert (card.parameters, card.multiply_adds) == (found.parameters, found.multiply_adds)
