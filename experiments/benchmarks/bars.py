"""What jaxcnn has to reach, and whether it does."""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from experiments.benchmarks.ops import CONVS, DIRECTIONS
from experiments.benchmarks.rows import LAYOUTS

HAND, ONEDNN = "jaxcnn", "jaxcnn-onednn"
CONV_ROWS = tuple(f"conv/{name}/{direction}" for name in CONVS for direction in DIRECTIONS)


class Case(NamedTuple):
    """Rows that are taken together, and against whom."""

    rows: tuple[str, ...]
    peers: tuple[str, ...] = ("flax",)  # the better one counts
    label: str = ""
    ours: str = HAND
    take: Literal["mean", "worst"] = "worst"  # of several rows; the mean is geometric


class Bar(NamedTuple):
    """One line of the table."""

    number: int
    what: str
    limit: float | Mapping[str, float]  # by the version of jax where it matters, else under ""
    cases: tuple[Case, ...]
    fact: str | None = None  # compared instead of the time: ours over theirs, at most the limit
    gpu: bool = False

    def limit_on(self, jax_version: str) -> float:
        """The limit for a version of jax."""
        if not isinstance(self.limit, Mapping):
            return self.limit
        return self.limit.get(_minor(jax_version), self.limit[""])


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


_NAMES = {
    "lenet5": "LeNet-5",
    "alexnet": "AlexNet",
    "vgg11": "VGG-11",
    "resnet20": "ResNet-20",
    "resnet50": "ResNet-50",
}


def _steps(*networks: str, **options: Any) -> tuple[Case, ...]:
    several = len(networks) > 1
    return tuple(Case((f"step/{name}",), label=_NAMES[name] if several else "", **options) for name in networks)


def _pools(**options: Any) -> tuple[Case, ...]:
    return Case(("max-pool/k2s2",), label="2x2", **options), Case(("max-pool/k3s2",), label="3x3", **options)


_POOL, _GROUPED = "max-pool, value and gradient", "gradient of grouped convolution"
BARS = (
    Bar(1, _POOL, 10, _pools()),
    Bar(1, "max-pool by the C++ backend", 10, _pools(ours=ONEDNN)),
    Bar(1, "max-pool by the C++ backend, against PyTorch", 1, _pools(ours=ONEDNN, peers=LAYOUTS)),
    Bar(2, f"{_GROUPED}, AlexNet's conv2", 10, (Case(("conv/alexnet-conv2/gradient",)),)),
    Bar(2, f"{_GROUPED}, AlexNet's conv2, by oneDNN", 10, (Case(("conv/alexnet-conv2/gradient",), ours=ONEDNN),)),
    Bar(2, f"{_GROUPED}, depthwise 3x3", 2, (Case(("conv/depthwise/gradient",)),)),
    Bar(3, "convolution by oneDNN, geometric mean", 1.5, (Case(CONV_ROWS, ours=ONEDNN, take="mean"),)),
    Bar(3, "convolution by oneDNN, slowest row", 0.95, (Case(CONV_ROWS, ours=ONEDNN),)),
    Bar(
        3,
        "convolution by oneDNN against PyTorch, geometric mean",
        0.95,
        (Case(CONV_ROWS, LAYOUTS, ours=ONEDNN, take="mean"),),
    ),
    Bar(4, "training step of LeNet-5, batch 128", 1.7, _steps("lenet5")),
    Bar(4, "training step of AlexNet, batch 32", 2, _steps("alexnet")),
    Bar(4, "training step of VGG-11, batch 8", 1, _steps("vgg11")),
    Bar(4, "training step of ResNet-20, batch 128", {"0.10": 1, "": 1.5}, _steps("resnet20")),
    Bar(4, "training step of ResNet-50, batch 8", 1.2, _steps("resnet50")),
    Bar(4, "training step of LeNet-5 by oneDNN", 2, _steps("lenet5", ours=ONEDNN)),
    Bar(4, "training step of ResNet-20 by oneDNN", 1.9, _steps("resnet20", ours=ONEDNN)),
    Bar(
        4,
        "training steps by oneDNN against PyTorch",
        1,
        _steps("lenet5", "alexnet", "resnet20", "resnet50", ours=ONEDNN, peers=LAYOUTS),
    ),
    Bar(
        4,
        "training steps by oneDNN against torch.compile",
        1,
        _steps("lenet5", "resnet20", ours=ONEDNN, peers=("torch-compile",)),
    ),
    Bar(
        5,
        "temporary memory of a training step, jaxcnn's divided by Flax's",
        0.4,
        _steps("lenet5", "vgg11"),
        "temporaries_bytes",
    ),
    Bar(
        5,
        "temporary memory of a training step, jaxcnn's divided by Flax's",
        0.8,
        _steps("resnet20", "resnet50"),
        "temporaries_bytes",
    ),
    Bar(
        6,
        "training step of ResNet-50, batch 256, bfloat16",
        1,
        (
            Case(("step/resnet50-gpu",), label="Flax"),
            Case(("step/resnet50-gpu",), ("torch-compile",), "torch.compile"),
        ),
        gpu=True,
    ),
    Bar(6, _POOL, 1, _pools(), gpu=True),
)


def judge(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Holds the bars of this device against its rows.

    Returns:
      For every bar its number, what it is about, the limit, and of every case the value, its spread, and whether the
      bar is met; these are None where a row or a contestant was not run.
    """
    on_gpu = document["about"]["device"].lower() != "cpu"
    version = document["about"]["versions"]["jax"]
    verdicts = []
    for bar in BARS:
        if bar.gpu != on_gpu:
            continue
        limit = bar.limit_on(version)
        cases = []
        for case in bar.cases:
            values = _values(case, bar.fact, document["rows"])
            met = None
            if values is not None:
                met = values["value"] <= limit if bar.fact else values["value"] >= limit
            cases.append({"label": case.label, **(values or {"value": None, "low": None, "high": None}), "met": met})
        verdicts.append(
            {"bar": bar.number, "what": bar.what, "at_most" if bar.fact else "at_least": limit, "cases": cases}
        )
    return verdicts


def _values(case: Case, fact: str | None, rows: Mapping[str, Any]) -> dict[str, float] | None:
    """The value of a case; its spread is that of the row, or from the lowest to the highest of several."""
    found = []
    for name in case.rows:
        contestants = rows.get(name, {}).get("contestants", {})
        peers = [peer for peer in case.peers if peer in contestants]
        if case.ours not in contestants or len(peers) < len(case.peers):
            return None
        best = min(peers, key=lambda peer: contestants[peer]["ms"]["median"])
        if fact is None:
            found.append(rows[name]["ratios"][case.ours][best])
            continue
        if fact not in contestants[case.ours] or not contestants[best].get(fact):
            return None
        ratio = contestants[case.ours][fact] / contestants[best][fact]
        found.append({"median": ratio, "low": ratio, "high": ratio})
    medians = [ratio["median"] for ratio in found]
    if len(found) == 1:
        value, low, high = medians[0], found[0]["low"], found[0]["high"]
    elif case.take == "mean":
        value, low, high = math.exp(sum(map(math.log, medians)) / len(medians)), min(medians), max(medians)
    else:
        worst = min(found, key=lambda ratio: ratio["median"])
        value, low, high = worst["median"], worst["low"], worst["high"]
    return {key: float(f"{number:.4g}") for key, number in (("value", value), ("low", low), ("high", high))}
