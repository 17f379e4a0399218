"""Where a network's parameters and multiply-adds are, and what sharing weights saves."""

import math
from typing import NamedTuple

from jaxcnn.models import LayerRow, Summary

_SHORT = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


class Cost(NamedTuple):
    """A layer, or several of a common name."""

    name: str
    parameters: int
    multiply_adds: int


def costs(summary: Summary, most: int = 24) -> list[Cost]:
    """Parameters and multiply-adds by layer; layers are put together by their names until there are few enough.

    Args:
      summary: of a network.
      most: how many there may be.
    """
    rows = [row for row in summary.rows if row.parameters or row.multiply_adds]
    groups: dict[str, list[LayerRow]] = {}
    for depth in range(max((row.name.count(".") for row in rows), default=0) + 1, 0, -1):
        groups = {}
        for row in rows:
            groups.setdefault(".".join(row.name.split(".")[:depth]), []).append(row)
        if len(groups) <= most:
            break
    return [
        Cost(name, sum(row.parameters for row in group), sum(row.multiply_adds for row in group))
        for name, group in groups.items()
    ]


class Shared(NamedTuple):
    """A convolution's parameters, and those of other layers between the same arrays."""

    name: str
    convolution: int
    local: int  # the same windows, without sharing
    dense: int  # every output from every input


def shared_counts(summary: Summary) -> list[Shared]:
    """What a fully connected layer in each convolution's place would have.

    Args:
      summary: of a network, with the shapes that each layer reads.
    """
    found = []
    for row in summary.rows:
        if row.input_shape is None or "Conv" not in row.kind or not (row.multiply_adds and row.parameters):
            continue
        inputs, outputs = math.prod(row.input_shape[1:]), math.prod(row.output_shape[1:])
        weights = row.multiply_adds // math.prod(row.output_shape[:-1])
        biases = outputs if row.parameters > weights else 0
        local = row.multiply_adds // row.output_shape[0] + biases
        found.append(Shared(row.name, row.parameters, local, inputs * outputs + biases))
    return found


def short(count: float) -> str:
    """A count in three digits, as 61.7 k."""
    for size, letter in _SHORT:
        if count >= size:
            return f"{count / size:.3g} {letter}"
    return f"{count:g}"
