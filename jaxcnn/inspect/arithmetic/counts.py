"""Counts parameters and multiply-adds by layer.

It also counts the parameters that weight sharing saves.
"""

import math
from typing import NamedTuple

from jaxcnn.models import LayerRow, Summary

_SHORT = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


class Cost(NamedTuple):
    """The cost of a layer, or of several layers together.

    Several layers have a common prefix of their names.

    Args:
      name: name of the layer, or the common prefix.
      parameters: number of parameters.
      multiply_adds: number of multiply-adds.
    """

    name: str
    parameters: int
    multiply_adds: int


def costs(summary: Summary, most: int = 24) -> list[Cost]:
    """Counts parameters and multiply-adds by layer.

    Layers are grouped by the prefixes of their names until there are at most `most` groups.

    Args:
      summary: the result of `models.summary`.
      most: largest number of groups.

    Returns:
      The cost of each group.
    """
    rows = [row for row in summary.rows if row.parameters or row.multiply_adds]
    groups: dict[str, list[LayerRow]] = {}
    for depth in range(max((row.name.count(".") for row in rows), default=0) + 1, 0, -1):
        groups = {}
        for row in rows:
            groups.setdefault("/".join(row.name.split("/")[:depth]), []).append(row)
        if len(groups) <= most:
            break
    return [
        Cost(name, sum(row.parameters for row in group), sum(row.multiply_adds for row in group))
        for name, group in groups.items()
    ]


class Shared(NamedTuple):
    """The parameters of a convolution, and of layers without sharing.

    These have the same inputs and outputs.

    Args:
      name: name of the convolution.
      convolution: number of its parameters.
      local: number of parameters of a locally connected layer, with the same windows but without weight sharing.
      dense: number of parameters of a dense layer.
    """

    name: str
    convolution: int
    local: int
    dense: int


def shared_counts(summary: Summary) -> list[Shared]:
    """Counts parameters of layers that would replace each convolution.

    They are the locally connected and the dense layer.

    Args:
      summary: the result of `models.summary`.

    Returns:
      The numbers for each convolution.
    """
    shared = []
    for row in summary.rows:
        if row.input_shape is None or "Conv" not in row.kind or not (row.multiply_adds and row.parameters):
            continue
        inputs, outputs = math.prod(row.input_shape[1:]), math.prod(row.output_shape[1:])
        weights = row.multiply_adds // math.prod(row.output_shape[:-1])
        biases = outputs if row.parameters > weights else 0
        local = row.multiply_adds // row.output_shape[0] + biases
        shared.append(Shared(row.name, row.parameters, local, inputs * outputs + biases))
    return shared


def short(count: float) -> str:
    """Formats a count with three digits, as 61.7 k."""
    for size, letter in _SHORT:
        if count >= size:
            return f"{count / size:.3g} {letter}"
    return f"{count:g}"
