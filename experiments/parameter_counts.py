"""How many parameters a convolution saves, and by which of its two ideas.

Hypothesis:
  A fully connected layer from a picture of 2000x3000 colored pixels to 500 units has nine billion weights, and by the
  rule of as many examples as parameters needs nine billion pictures. A convolution needs some hundred weights. Locality
  and sharing each save their part. The networks of the library have the published counts.

Proxy:
  None: parameters are counted, not estimated. The lecture's layer has 2000 x 3000 x 3 = 18,000,000 inputs and 500
  units. It has no windows, so locality and sharing are told apart on another layer of nine billion weights: a 100x100
  color picture and 30 maps of 100x100, 3x3 windows, 30,000 x 300,000. Beside it three others of which courses tell.

Protocol:
  The lecture's layer is the first of `models.MLP(in_features=3, image_size=(2000, 3000), hidden=(500,))`, which is
  built without memory for its weights. `models.summary` follows one call and counts; `inspect.shared_counts` gives,
  between the same arrays, a layer that connects everything (`dense`), one with the same windows but weights of their
  own at every place (`local`), and the convolution (`shared`). Locality saves dense / local, sharing local / shared.
  Biases are counted where the convolution has them. By network all its convolutions are added up, a dense layer in the
  place of each. Published counts: of the papers, or of the implementations that are commonly cited (torchvision for
  ImageNet's ResNets and VGG, He et al.'s for CIFAR by option A, Krizhevsky's groups for AlexNet). No chance is
  involved: one seed.

Expected:
  9,000,000,000 weights, 643 times as many as ImageNet has pictures. 9.0 billion against 840. No difference from
  published counts. The dense layers hold above 85 % of AlexNet and VGG-16.

Result:
  1 seed, jax 0.10.2, 2 cores of AMD EPYC, 2026-11-30, commit 4e633df.
  - Holds: a dense layer from 2000x3000 colored pixels to 500 units has nine billion weights (18,000,000 inputs,
    9,000,000,000 weights; published: 18,000,000 inputs, 9,000,000,000 weights (the lecture); gap: 0).
  - Holds: to have as many pictures as weights, it would need over 600 times those of ImageNet (643 times 14,000,000;
    published: at least nine billion (the lecture)).
  - Holds: a dense layer from a picture to its maps has nine billion weights, a convolution less than a thousand
    (100x100x3 to 30 maps, 3x3: 9,000,300,000 with biases, against 840).
  - Holds: as a matrix, an edge detector of two weights would have over eight billion (8,003,072,000 against 2;
    published: over eight billion (Goodfellow et al. 2016); gap: +0.04 %).
  - Holds: of these nine billion weights, locality and sharing each save a factor of a thousand or more (locality 1,071
    times, sharing 10,000 times).
  - Holds: the library's networks have exactly the published numbers of parameters (18 of 18 equal; published: 18
    counts; gap: 0).
  - Holds: most parameters of AlexNet and VGG-16, 85 % or more, are in the few layers that are not convolutions (alexnet
    96.2 %, vgg16 89.4 %).

  | the lecture's layer, counts | inputs | units | weights | weights by picture of ImageNet |
  | --- | --- | --- | --- | --- |
  | 2000x3000x3 to 500 units | 18,000,000 | 500 | 9,000,000,000 | 642.9 |

  | one layer, weights | dense | local | shared | saved by locality | saved by sharing |
  | --- | --- | --- | --- | --- | --- |
  | 100x100x3 to 30 maps, 3x3 | 9,000,300,000 | 8,400,000 | 840 | 1,071 | 10,000 |
  | 320x280 edges, 1x2 | 8,003,072,000 | 178,640 | 2 | 44,800 | 89,320 |
  | 224x224x3 to 3 maps, 3x3 | 22,658,829,312 | 4,214,784 | 84 | 5,376 | 50,176 |
  | 28x28x1 to 6 maps, 5x5 | 3,692,640 | 122,304 | 156 | 30.19 | 784 |

  | its convolutions, parameters | dense | local | shared | saved by locality | saved by sharing | all its parameters |
  | --- | --- | --- | --- | --- | --- | --- |
  | lecun1989 | 638,976 | 57,600 | 2,700 | 11.09 | 21.33 | 9,760 |
  | lenet5 | 5,575,840 | 363,904 | 2,572 | 15.32 | 141.5 | 61,706 |
  | alexnet | 66,601,487,200 | 666,434,944 | 2,334,080 | 99.94 | 285.5 | 60,965,224 |
  | vgg16 | 16,707,012,704,256 | 15,360,178,176 | 14,714,688 | 1,088 | 1,044 | 138,357,544 |
  | allcnn | 16,744,988,520 | 271,144,296 | 1,369,738 | 61.76 | 198 | 1,369,738 |
  | resnet20 | 2,248,146,944 | 40,550,400 | 267,696 | 55.44 | 151.5 | 269,722 |
  | resnet50 | 2,596,936,351,744 | 4,087,136,256 | 23,454,912 | 635.4 | 174.3 | 25,557,032 |
  | tdnn_wide | 107,520,000 | 3,225,600 | 32,256 | 33.33 | 100 | 33,290 |

  | networks, parameters | here | published | difference |
  | --- | --- | --- | --- |
  | lecun1989 | 9,760 | 9,760 | 0 |
  | lenet5_1998 | 60,000 | 60,000 | 0 |
  | lenet5 | 61,706 | 61,706 | 0 |
  | mlp | 266,610 | 266,610 | 0 |
  | alexnet | 60,965,224 | 60,965,224 | 0 |
  | alexnet_single | 62,378,344 | 62,378,344 | 0 |
  | vgg16 | 138,357,544 | 138,357,544 | 0 |
  | vgg19 | 143,667,240 | 143,667,240 | 0 |
  | allcnn | 1,369,738 | 1,369,738 | 0 |
  | resnet20 | 269,722 | 269,722 | 0 |
  | resnet32 | 464,154 | 464,154 | 0 |
  | resnet44 | 658,586 | 658,586 | 0 |
  | resnet56 | 853,018 | 853,018 | 0 |
  | resnet18 | 11,689,512 | 11,689,512 | 0 |
  | resnet34 | 21,797,672 | 21,797,672 | 0 |
  | resnet50 | 25,557,032 | 25,557,032 | 0 |
  | resnet101 | 44,549,160 | 44,549,160 | 0 |
  | resnet152 | 60,192,808 | 60,192,808 | 0 |

Command:
  python -m experiments.parameter_counts

Cost:
  32 seconds a seed, where the result comes from.
"""

import argparse
import sys
from typing import Any

import jax
from flax import nnx

from experiments.form import Claim, Document, Experiment, Tables, mean, number, say
from jaxcnn import inspect, layers, models

LAYERS, NETWORKS, COUNTS = "one layer, weights", "its convolutions, parameters", "networks, parameters"
LECTURE, LECTURE_ROW = "the lecture's layer, counts", "2000x3000x3 to 500 units"
IMAGENET = 14_000_000  # pictures, as the lectures say; 14,197,122 in 2010
DENSE, LOCAL, SHARED = "dense", "local", "shared"
NINE = "100x100x3 to 30 maps, 3x3"
EDGE = "320x280 edges, 1x2"  # Goodfellow, Bengio & Courville 2016, figure 9.6
ONE_LAYER = {
    NINE: ((100, 100, 3), 30, (3, 3), "SAME", True),
    EDGE: ((280, 320, 1), 1, (1, 2), "VALID", False),
    "224x224x3 to 3 maps, 3x3": ((224, 224, 3), 3, (3, 3), "SAME", True),
    "28x28x1 to 6 maps, 5x5": ((28, 28, 1), 6, (5, 5), "SAME", True),
}
PUBLISHED = {
    "lecun1989": 9_760,
    "lenet5_1998": 60_000,
    "lenet5": 61_706,
    "mlp": 266_610,
    "alexnet": 60_965_224,
    "alexnet_single": 62_378_344,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "allcnn": 1_369_738,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}
SPELT_OUT = ("lecun1989", "lenet5", "alexnet", "vgg16", "allcnn", "resnet20", "resnet50", "tdnn_wide")
QUICK = ("lecun1989", "lenet5", "mlp", "alexnet", "vgg16")


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """The three tables; the seed has no part in them."""
    del seed
    found: Tables = {LECTURE: {LECTURE_ROW: lecture_layer()}, LAYERS: {}, NETWORKS: {}, COUNTS: {}}
    for name, (shape, maps, window, padding, bias) in ONE_LAYER.items():
        settings = {"padding": padding, "use_bias": bias, "rngs": nnx.Rngs(0)}
        layer = layers.Conv(shape[-1], maps, window, **settings)
        (counts,) = inspect.shared_counts(models.summary(layer, (1, *shape)))
        found[LAYERS][name] = saved(counts.dense, counts.local, counts.convolution)
        say(f"{name}: {counts.dense:,} {counts.local:,} {counts.convolution:,}")
    for name in QUICK if options.quick else dict.fromkeys((*PUBLISHED, *SPELT_OUT)):
        model = nnx.eval_shape(lambda name=name: models.create(name, rngs=nnx.Rngs(0)))
        parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
        if name in PUBLISHED:
            known = PUBLISHED[name]
            found[COUNTS][name] = {"here": parameters, "published": known, "difference": parameters - known}
        if name in SPELT_OUT:
            layer_counts = inspect.shared_counts(models.summary(model, (1, *models.CARDS[name].input_shape)))
            columns = zip(*(counts[1:] for counts in layer_counts), strict=True)
            shared, local, dense = map(sum, columns)
            found[NETWORKS][name] = {**saved(dense, local, shared), "all its parameters": parameters}
        say(f"{name}: {parameters:,} parameters")
    return found


def lecture_layer() -> dict[str, float]:
    """The first layer of the lecture's network, whose weights are counted and not made."""
    model = nnx.eval_shape(lambda: models.MLP(in_features=3, image_size=(2000, 3000), hidden=(500,), rngs=nnx.Rngs(0)))
    inputs, units = model.dense[0].kernel.shape
    weights = inputs * units
    return {"inputs": inputs, "units": units, "weights": weights, "weights by picture of ImageNet": weights / IMAGENET}


def saved(dense: int, local: int, shared: int) -> dict[str, float]:
    """A row of counts, and what each idea saves."""
    return {
        DENSE: dense,
        LOCAL: local,
        SHARED: shared,
        "saved by locality": dense / local,
        "saved by sharing": local / shared,
    }


def claims(document: Document) -> list[Claim]:
    """The lecture's number, the two ideas apart, and the published counts."""
    counts, networks = document["tables"][COUNTS], document["tables"][NETWORKS]

    def layer(name: str, column: str) -> float:
        return mean(document, LAYERS, name, column)

    lecture = {column: cell["mean"] for column, cell in document["tables"][LECTURE][LECTURE_ROW].items()}
    dense, shared = layer(NINE, DENSE), layer(NINE, SHARED)
    ideas = [layer(NINE, f"saved by {idea}") for idea in ("locality", "sharing")]
    edges = layer(EDGE, DENSE)
    differ = {name: mean(document, COUNTS, name, "difference") for name in counts}
    wrong = [f"{name} by {number(difference)}" for name, difference in differ.items() if difference]
    heavy = {
        name: 100 * (1 - networks[name][SHARED]["mean"] / networks[name]["all its parameters"]["mean"])
        for name in ("alexnet", "vgg16")
    }
    return [
        Claim(
            "a dense layer from 2000x3000 colored pixels to 500 units has nine billion weights",
            lecture["weights"] == 9e9 and lecture["inputs"] == 18e6,
            f"{number(lecture['inputs'])} inputs, {number(lecture['weights'])} weights",
            "18,000,000 inputs, 9,000,000,000 weights (the lecture)",
            number(abs(lecture["weights"] - 9e9)),
        ),
        Claim(
            "to have as many pictures as weights, it would need over 600 times those of ImageNet",
            lecture["weights by picture of ImageNet"] > 600,
            f"{lecture['weights by picture of ImageNet']:.0f} times 14,000,000",
            "at least nine billion (the lecture)",
        ),
        Claim(
            "a dense layer from a picture to its maps has nine billion weights, a convolution less than a thousand",
            abs(dense / 9e9 - 1) < 0.01 and shared < 1000,
            f"{NINE}: {number(dense)} with biases, against {number(shared)}",
        ),
        Claim(
            "as a matrix, an edge detector of two weights would have over eight billion",
            edges > 8e9 and layer(EDGE, SHARED) == 2,
            f"{number(edges)} against {number(layer(EDGE, SHARED))}",
            "over eight billion (Goodfellow et al. 2016)",
            f"{100 * (edges / 8e9 - 1):+.2f} %",
        ),
        Claim(
            "of these nine billion weights, locality and sharing each save a factor of a thousand or more",
            min(ideas) >= 1000,
            f"locality {number(ideas[0])} times, sharing {number(ideas[1])} times",
        ),
        Claim(
            "the library's networks have exactly the published numbers of parameters",
            not wrong,
            f"{len(differ) - len(wrong)} of {len(differ)} equal" + (f"; {', '.join(wrong)}" if wrong else ""),
            f"{len(differ)} counts",
            number(max(abs(difference) for difference in differ.values())),
        ),
        Claim(
            "most parameters of AlexNet and VGG-16, 85 % or more, are in the few layers that are not convolutions",
            min(heavy.values()) >= 85,
            ", ".join(f"{name} {share:.1f} %" for name, share in heavy.items()),
        ),
    ]


def figure(document: Document) -> Any:
    """Three counts a row, on a logarithmic axis."""
    from matplotlib.figure import Figure

    tables = document["tables"]
    drawn = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, title, head in zip(
        drawn.subplots(1, 2), (LAYERS, NETWORKS), ("One layer", "All convolutions of a network"), strict=True
    ):
        rows = tables[title]
        order = sorted(rows, key=lambda name: rows[name][DENSE]["mean"])
        for place, name in enumerate(order):
            dense, local, shared = (rows[name][column]["mean"] for column in (DENSE, LOCAL, SHARED))
            axes.plot([shared, local], [place] * 2, color="0.75", linewidth=7, solid_capstyle="butt")
            axes.plot([local, dense], [place] * 2, color="0.5", linewidth=7, solid_capstyle="butt")
        for column, marker, text in (
            (SHARED, "o", "convolution: local and shared"),
            (LOCAL, "D", "local, not shared"),
            (DENSE, "s", "fully connected"),
        ):
            counts = [rows[name][column]["mean"] for name in order]
            axes.plot(counts, range(len(order)), marker, color="black", label=text, markersize=6)
        axes.set_yticks(range(len(order)), order)
        axes.set(xscale="log", xlabel="parameters", title=head)
        axes.grid(axis="x", color="0.92")
        axes.set_axisbelow(True)
    drawn.axes[0].axvline(9e9, color="black", linestyle=":", linewidth=1)
    drawn.axes[0].annotate("9 billion ", (9e9, 0.4), ha="right", fontsize="small")
    drawn.suptitle("What locality (dark) and sharing (light) save")
    drawn.legend(*drawn.axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3)
    return drawn


EXPERIMENT = Experiment("experiments.parameter_counts", __doc__, one_seed, claims, figure, seeds=(0,))

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
