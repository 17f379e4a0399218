"""The networks by name, and the source of each."""

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, cast

from flax import nnx

from jaxcnn.layers.options import NAMES as OPTION_NAMES
from jaxcnn.layers.with_options import with_options
from jaxcnn.models.alexnet import AlexNet
from jaxcnn.models.allcnn import AllCNN
from jaxcnn.models.bn_inception import BNInception
from jaxcnn.models.c3d import C3D
from jaxcnn.models.fcn import FCN
from jaxcnn.models.googlenet import GoogLeNet
from jaxcnn.models.imagenet import ERRORS, Published
from jaxcnn.models.importing import imported, is_own, made, options_taken
from jaxcnn.models.lecun1989 import LeCun1989
from jaxcnn.models.lenet import LeNet5
from jaxcnn.models.lenet1998 import LeNet5Of1998
from jaxcnn.models.mlp import MLP
from jaxcnn.models.network import Network
from jaxcnn.models.prelu_net import PReLUNet
from jaxcnn.models.resnet import CifarResNet, ResNet
from jaxcnn.models.tdnn import TDNN, WideTDNN
from jaxcnn.models.textcnn import TextCNN
from jaxcnn.models.unet import UNet
from jaxcnn.models.vgg import VGG

Constructor = Callable[..., Network]


class Card(NamedTuple):
    """The source of a network.

    Args:
      paper: authors and title.
      year: of publication.
      input_shape: shape of one standard example.
      published: one result of the paper in words, and where it is stated.
      errors: what papers report on ImageNet, top-1 and top-5, each with its protocol and table; that of `published`
        first.
      parameters: number of parameters, with the classes and the input of the paper.
      multiply_adds: multiply-adds for one such example, as `summary` counts them.
    """

    paper: str
    year: int
    input_shape: tuple[int, ...]
    published: str = ""
    parameters: int = 0
    multiply_adds: int = 0
    errors: tuple[Published, ...] = ()


_COLOR, _TINY = (224, 224, 3), (32, 32, 3)
_LECUN98 = "LeCun et al., Gradient-based learning applied to document recognition"
_HE16 = "He et al., Deep residual learning for image recognition"
_VGG = "Simonyan & Zisserman, Very deep convolutional networks"
_KRIZHEVSKY = "Krizhevsky et al., ImageNet classification with deep CNNs"


def _imagenet(name: str) -> str:
    """The first of a network's errors in words."""
    first = ERRORS[name][0]
    rank, error = ("top-5", first.top5) if first.top1 is None else ("top-1", first.top1)
    how, source = first.protocol.partition(", ")[2], first.source
    return f"ImageNet {rank} error {error:.2f} %, {how}, {source}"


def _families() -> Iterator[tuple[str, Constructor, Card]]:
    """The networks that differ only in depth."""
    for depth in (11, 13, 16, 19):
        card = Card(_VGG, 2015, _COLOR)
        yield f"vgg{depth}", partial(VGG, depth=depth), card
        yield f"vgg{depth}_bn", partial(VGG, depth=depth, batch_norm=True), card
    for depth in (18, 34, 50, 101, 152):
        yield f"resnet{depth}", partial(ResNet, depth=depth), Card(_HE16, 2016, _COLOR)
    for depth in (18, 34):
        yield f"plain{depth}", partial(ResNet, depth=depth, shortcut="none"), Card(_HE16, 2016, _COLOR)
    cifar = {20: (8.75, 10.08), 32: (7.51, 11.15), 44: (7.17, 14.12), 56: (6.97, 15.39), 110: (6.43, None)}
    for depth, errors in cifar.items():
        twins = {"resnet": {}, "plain": {"shortcut": "none"}}
        for (kind, options), error in zip(twins.items(), errors, strict=True):
            published = "" if error is None else f"CIFAR-10 error {error:.2f} %, section 4.2"
            build = partial(CifarResNet, depth=depth, **options)
            yield f"{kind}{depth}", build, Card(_HE16, 2016, _TINY, published)


_SINGLE: dict[str, tuple[Constructor, Card]] = {
    "mlp": (MLP, Card(_LECUN98, 1998, (28, 28, 1), "MNIST error 3.05 %, figure 9")),
    "lecun1989": (
        LeCun1989,
        Card("LeCun et al., Handwritten zip code recognition", 1989, (16, 16, 1), "zip codes, test error 5.0 %"),
    ),
    "lenet5": (LeNet5, Card(_LECUN98, 1998, (28, 28, 1))),
    "lenet5_1998": (LeNet5Of1998, Card(_LECUN98, 1998, (28, 28, 1), "MNIST error 0.95 %, figure 9")),
    "tdnn": (TDNN, Card("Waibel et al., Phoneme recognition using TDNNs", 1989, (15, 16), "B, D, G: 98.5 % right")),
    "tdnn_wide": (WideTDNN, Card("Peddinti et al., A TDNN for long temporal contexts", 2015, (100, 40))),
    "alexnet": (AlexNet, Card(_KRIZHEVSKY, 2012, _COLOR)),
    "alexnet_single": (partial(AlexNet, groups=1), Card(_KRIZHEVSKY, 2012, _COLOR)),
    "alexnet_torchvision": (
        partial(AlexNet, groups=1, local_response=False, border=(2, 2), grid=(6, 6), widths=(64, 192, 384, 256, 256)),
        Card("Krizhevsky, One weird trick for parallelizing convolutional neural networks", 2014, _COLOR),
    ),
    "googlenet": (
        GoogLeNet,
        Card("Szegedy et al., Going deeper with convolutions", 2015, _COLOR),
    ),
    "googlenet_torchvision": (
        partial(GoogLeNet, variant="torchvision"),
        Card("Szegedy et al., Going deeper with convolutions", 2015, _COLOR),
    ),
    "bn_inception": (
        BNInception,
        Card("Ioffe & Szegedy, Batch normalization", 2015, _COLOR),
    ),
    "prelu_net": (
        PReLUNet,
        Card("He et al., Delving deep into rectifiers", 2015, _COLOR),
    ),
    "allcnn": (
        AllCNN,
        Card("Springenberg et al., Striving for simplicity", 2015, _TINY, "CIFAR-10 error 9.08 %, table 3"),
    ),
    "textcnn": (TextCNN, Card("Kim, CNNs for sentence classification", 2014, (64,), "MR: 76.1 % right, table 2")),
    "c3d": (C3D, Card("Tran et al., Learning spatiotemporal features", 2015, (16, 112, 112, 3))),
    "fcn": (
        FCN,
        Card(
            "Long et al., Fully convolutional networks for semantic segmentation",
            2015,
            (500, 500, 3),
            "PASCAL VOC 2012 mean IoU 62.2 %, abstract",
        ),
    ),
    "unet": (
        UNet,
        Card(
            "Ronneberger et al., U-Net: convolutional networks for biomedical image segmentation",
            2015,
            (572, 572, 1),
            "DIC-HeLa mean IoU 77.56 %, table 2",
        ),
    ),
}

_ALL = _SINGLE | {name: (constructor, card) for name, constructor, card in _families()}
MODELS: dict[str, Constructor] = {name: constructor for name, (constructor, _) in _ALL.items()}

# Parameters and multiply-adds, by `summary`, which traces the network: that takes seconds for a deep one. A test holds
# every line.
_COUNTS: dict[str, tuple[int, int]] = {
    "mlp": (266_610, 266_200),
    "lecun1989": (9_760, 63_660),
    "lenet5": (61_706, 416_520),
    "lenet5_1998": (60_000, 325_680),
    "tdnn": (521, 6_072),
    "tdnn_wide": (33_290, 3_226_240),
    "alexnet": (60_965_224, 724_406_816),
    "alexnet_single": (62_378_344, 1_135_256_096),
    "alexnet_torchvision": (61_100_840, 714_188_480),
    "googlenet": (13_378_280, 1_582_671_872),
    "googlenet_torchvision": (13_004_888, 1_498_376_192),
    "bn_inception": (11_285_224, 2_032_600_064),
    "prelu_net": (178_032_072, 19_058_106_368),
    "allcnn": (1_369_738, 270_798_336),
    "textcnn": (6_360_902, 24_180_600),
    "c3d": (79_991_015, 38_548_959_232),
    "fcn": (134_376_863, 107_834_913_024),
    "unet": (31_030_658, 241_207_323_648),
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg11_bn": (132_866_088, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg13_bn": (133_050_792, 11_308_466_176),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg16_bn": (138_361_768, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "vgg19_bn": (143_672_744, 19_632_062_464),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "plain18": (11_515_688, 1_794_805_760),
    "plain34": (21_623_848, 3_644_493_824),
    "resnet20": (269_722, 40_551_040),
    "plain20": (269_722, 40_551_040),
    "resnet32": (464_154, 68_862_592),
    "plain32": (464_154, 68_862_592),
    "resnet44": (658_586, 97_174_144),
    "plain44": (658_586, 97_174_144),
    "resnet56": (853_018, 125_485_696),
    "plain56": (853_018, 125_485_696),
    "resnet110": (1_727_962, 252_887_680),
    "plain110": (1_727_962, 252_887_680),
}


def _complete(name: str, card: Card) -> Card:
    """A card with its counts, and with the errors on ImageNet."""
    counted = card._replace(parameters=_COUNTS[name][0], multiply_adds=_COUNTS[name][1])
    return counted._replace(published=_imagenet(name), errors=ERRORS[name]) if name in ERRORS else counted


CARDS: dict[str, Card] = {name: _complete(name, card) for name, (_, card) in _ALL.items()}


def options_of(name: str) -> tuple[str, ...]:
    """Returns the options that `create` takes for a network.

    Classes, channels and random streams are not among them.

    Args:
      name: as in `create`.

    Returns:
      The names of the options.

    Raises:
      ValueError: if the name is unknown.
    """
    if is_own(name):
        return options_taken(imported(name))
    if name not in MODELS:
        near = difflib.get_close_matches(str(name), MODELS, n=3, cutoff=0.5)
        known = f"{', '.join(map(repr, near))} or another of " if near else ""
        listed = f"{known}the {len(MODELS)} networks that `jaxcnn models` lists"
        raise ValueError(f"`name` must be {listed}, or MODULE:FUNCTION; got {name!r}.")
    constructor = MODELS[name]
    network, bound = (constructor.func, constructor.keywords) if isinstance(constructor, partial) else (constructor, {})
    parameters = inspect.signature(network.__init__).parameters  # a class of NNX hides its own signature
    own = set(parameters) - {"self", "num_classes", "in_features", "rngs", "given", *bound}
    return tuple(sorted(own | set(OPTION_NAMES)))


def create(
    name: str,
    *,
    num_classes: int | None = None,
    in_features: int | None = None,
    pretrained: bool | str = False,
    rngs: nnx.Rngs,
    **options: Any,
) -> Network:
    """Builds a network by its name.

    Args:
      name: a key of `MODELS`; or `module:function`, a function or class of your own that returns a Flax NNX module. It
        is called with those of `num_classes`, `in_features`, `rngs` and `image_size` that it has parameters for.
      num_classes: number of classes; by default that of the paper.
      in_features: channels of the input, or words of the vocabulary; by default as in the paper.
      pretrained: True for the network's first published weights, or the name of others, as
        `"timm/resnet50.a1_in1k"`; arguments and errors as in `weights.pretrained`, which also returns what the weights
        expect of a picture. With `num_classes`, the last layer is a new one.
      rngs: random streams; `params` initializes the parameters, `dropout` drops units in training.
      **options: further arguments of the constructor, among them those of `layers.Options`; with `pretrained`, those of
        `with_options`.

    Returns:
      The network, in training mode.

    Raises:
      ValueError: if the name or an option is unknown, or the weights are of another network.
    """
    known = options_of(name)
    if pretrained:
        return _pretrained(name, pretrained, num_classes, in_features, rngs, options)
    unknown = sorted(set(options) - {*known, "options"})
    if unknown:
        raise ValueError(f"`options` of {name} are {', '.join(known)}; got {', '.join(unknown)}.")
    given = {"num_classes": num_classes, "in_features": in_features}
    given = {key: value for key, value in given.items() if value is not None}
    if is_own(name):
        return cast(Network, made(name, imported(name), given | {"rngs": rngs}, options))
    return MODELS[name](rngs=rngs, **given, **options)


def _pretrained(
    name: str,
    pretrained: bool | str,
    num_classes: int | None,
    in_features: int | None,
    rngs: nnx.Rngs,
    options: dict[str, Any],
) -> Network:
    # `weights` stands above this package. Users look for trained networks here, so it is imported when they ask.
    weights = importlib.import_module("jaxcnn.weights")
    wanted = name if pretrained is True else pretrained
    model, config = weights.pretrained(wanted, num_classes=num_classes, rngs=rngs)
    if config["name"] != name:
        raise ValueError(f"`pretrained` must be weights of {name}; got {wanted!r}, which are of {config['name']}.")
    if in_features not in (None, config["in_features"]):
        raise ValueError(f"`in_features` of {wanted!r} is {config['in_features']}; got {in_features}.")
    model.train()
    return with_options(model, **options) if options else model
