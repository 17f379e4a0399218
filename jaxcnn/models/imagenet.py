"""Published errors on ImageNet, and the winners of its challenge, ILSVRC."""

from typing import NamedTuple


class Published(NamedTuple):
    """Errors that a paper reports on ImageNet.

    Args:
      top1: share of pictures whose class is not the first of the network, in percent; None if it is not reported.
      top5: share of pictures whose class is not among the first five, in percent.
      protocol: the pictures, and how the network looks at them.
      source: the paper and its table.
    """

    top1: float | None
    top5: float | None
    protocol: str
    source: str


class Winner(NamedTuple):
    """The best entry of a year in ILSVRC's classification.

    Args:
      year: of the challenge.
      entry: name of the network, or of the team.
      authors: who entered it.
      layers: layers with weights of its deepest network; None for methods without a deep network.
      top5: error on the test pictures, in percent, without further training pictures.
      model: name of the network here, if there is one.
    """

    year: int
    entry: str
    authors: str
    layers: int | None
    top5: float
    model: str | None = None


ILSVRC: tuple[Winner, ...] = (
    Winner(2010, "NEC-UIUC", "Lin et al.", None, 28.2),
    Winner(2011, "XRCE", "Sánchez & Perronnin", None, 25.8),
    Winner(2012, "AlexNet", "Krizhevsky et al.", 8, 16.4, "alexnet"),
    Winner(2013, "ZFNet", "Zeiler & Fergus", 8, 11.7),
    Winner(2014, "GoogLeNet", "Szegedy et al.", 22, 6.7, "googlenet"),
    Winner(2015, "ResNet", "He et al.", 152, 3.57, "resnet152"),
    Winner(2016, "Trimps-Soushen", "Shao et al.", 152, 2.99),
    Winner(2017, "SENet", "Hu et al.", 152, 2.25),
)

_VALIDATION, _TEN, _SCALES = "validation 2012", "ten crops", "several scales"
_HE16, _VGG, _GOOGLENET = "He et al. 2016", "Simonyan & Zisserman 2015", "Szegedy et al. 2015"
_ALEXNET, _BATCH_NORM = "Krizhevsky et al. 2012", "Ioffe & Szegedy 2015"


def _on_validation(top1: float | None, top5: float | None, how: str, source: str) -> Published:
    return Published(top1, top5, f"{_VALIDATION}, {how}", source)


def _vgg(one: tuple[float, float], *more: Published) -> tuple[Published, ...]:
    return (_on_validation(*one, "one scale, dense", f"{_VGG}, table 3"), *more)


# by network; the first is the one that the card says in words
ERRORS: dict[str, tuple[Published, ...]] = {
    "alexnet": (
        _on_validation(40.7, 18.2, "ten crops", f"{_ALEXNET}, table 2"),
        _on_validation(38.1, 16.4, "five networks, ten crops", f"{_ALEXNET}, table 2"),
        Published(37.5, 17.0, "test 2010, ten crops", f"{_ALEXNET}, table 1"),
    ),
    "vgg11": _vgg((29.6, 10.4)),
    "vgg13": _vgg((28.7, 9.9)),
    "vgg16": _vgg(
        (27.0, 8.8),
        _on_validation(24.4, 7.2, "crops and dense, several scales", f"{_VGG}, table 5"),
        _on_validation(28.07, 9.33, _TEN, f"{_HE16}, table 3"),
    ),
    "vgg19": _vgg((27.3, 9.0), _on_validation(24.4, 7.1, "crops and dense, several scales", f"{_VGG}, table 5")),
    "googlenet": (
        _on_validation(None, 7.89, "144 crops", f"{_GOOGLENET}, table 3"),
        _on_validation(None, 9.15, _TEN, f"{_GOOGLENET}, table 3"),
        _on_validation(None, 10.07, "one crop", f"{_GOOGLENET}, table 3"),
        _on_validation(None, 6.67, "seven networks, 144 crops", f"{_GOOGLENET}, table 3"),
    ),
    "bn_inception": (_on_validation(21.99, 5.82, "144 crops", f"{_BATCH_NORM}, figure 4"),),
    "prelu_net": (
        _on_validation(21.59, 5.71, _SCALES, f"{_HE16}, table 4"),
        _on_validation(24.27, 7.38, _TEN, f"{_HE16}, table 3"),
    ),
    "plain18": (_on_validation(27.94, None, _TEN, f"{_HE16}, table 2"),),
    "plain34": (_on_validation(28.54, 10.02, _TEN, f"{_HE16}, table 3"),),
    "resnet18": (_on_validation(27.88, None, "option A, ten crops", f"{_HE16}, table 2"),),
    "resnet34": (
        _on_validation(21.84, 5.71, "option B, several scales", f"{_HE16}, table 4"),
        _on_validation(21.53, 5.60, "option C, several scales", f"{_HE16}, table 4"),
        _on_validation(25.03, 7.76, "option A, ten crops", f"{_HE16}, table 3"),
        _on_validation(24.52, 7.46, "option B, ten crops", f"{_HE16}, table 3"),
        _on_validation(24.19, 7.40, "option C, ten crops", f"{_HE16}, table 3"),
    ),
    "resnet50": (
        _on_validation(20.74, 5.25, _SCALES, f"{_HE16}, table 4"),
        _on_validation(22.85, 6.71, _TEN, f"{_HE16}, table 3"),
    ),
    "resnet101": (
        _on_validation(19.87, 4.60, _SCALES, f"{_HE16}, table 4"),
        _on_validation(21.75, 6.05, _TEN, f"{_HE16}, table 3"),
    ),
    "resnet152": (
        _on_validation(19.38, 4.49, _SCALES, f"{_HE16}, table 4"),
        _on_validation(21.43, 5.71, _TEN, f"{_HE16}, table 3"),
    ),
}

# what these are compared with in the papers: entries that are no network of this library
OTHERS: dict[str, Published] = {
    "sparse coding": Published(47.1, 28.2, "test 2010", f"{_ALEXNET}, table 1"),
    "SIFT and Fisher vectors": Published(45.7, 25.7, "test 2010", f"{_ALEXNET}, table 1"),
    "VGG as entered in 2014": Published(None, 8.43, "test 2014, several scales", f"{_HE16}, table 4"),
}
