"""The table by which `method="auto"` chooses, made of the rows of single convolutions, pools and batch norms."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from experiments.benchmarks.ops import CONVS, DIRECTIONS, NORMS, POOLS
from experiments.benchmarks.results import Document
from jaxcnn import geometry
from jaxcnn.ops import choices

_METHODS = {"jax": "jaxcnn", "native": "jaxcnn-onednn"}  # by their contestants
_PARTS = dict(zip(DIRECTIONS, ("outputs", "inputs", "kernel"), strict=True))


def kind_of(name: str) -> str:
    """The kind of a row's convolution."""
    case = CONVS[name]
    window = geometry.resolve_window(case.inputs[1:3], (case.window,) * 2, strides=case.strides, padding=case.pads)
    return choices.kind(window, case.inputs[3], case.groups)


def _rows() -> Iterator[tuple[str, str, str]]:
    """The rows that are read, with what each is an instance of."""
    for name in CONVS:
        for direction, part in _PARTS.items():
            yield f"conv/{name}/{direction}", kind_of(name), part
    for name, pool in POOLS.items():
        yield f"max-pool/{name}", choices.pool_kind(pool.inputs[-1]), choices.WHOLE
    for name in NORMS:
        yield f"batch-norm-relu/{name}", choices.NORM, choices.WHOLE


def table(documents: Iterable[Document]) -> dict[str, Any]:
    """Geometric means of the speed against XLA, by version of jax, kind, part and method."""
    versions: dict[str, Any] = {}
    for document in documents:
        if document["about"]["device"].lower() != "cpu":
            continue
        found: dict[tuple[str, str, str], list[float]] = {}
        for row, kind, part in _rows():
            ratios = document["rows"].get(row, {}).get("ratios", {})
            for method, contestant in _METHODS.items():
                if "flax" in ratios.get(contestant, {}):
                    found.setdefault((kind, part, method), []).append(ratios[contestant]["flax"]["median"])
        version = ".".join(document["about"]["versions"]["jax"].split(".")[:2])
        kinds = versions.setdefault(version, {})
        for (kind, part, method), values in found.items():
            mean = math.exp(sum(map(math.log, values)) / len(values))
            kinds.setdefault(kind, {}).setdefault(part, {})[method] = float(f"{mean:.3g}")
    return versions


def write(documents: Iterable[Document]) -> None:
    """Writes the table into the library."""
    choices.TABLE.write_text(json.dumps(table(documents), indent=1) + "\n")
