"""The result of an export, and the description of its file."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple


class Exported(NamedTuple):
    """An exported network.

    Args:
      path: the file.
      size: its size in bytes.
      difference: the largest difference from the network, on random examples.
      description: the description in the file or beside it.
    """

    path: Path
    size: int
    difference: float
    description: dict[str, Any]


def describe(format: str, libraries: Sequence[str], classes: Sequence[str], details: dict[str, Any]) -> dict[str, Any]:
    """Makes a file's description.

    It contains the input, the outputs, the names of the classes, and the libraries that wrote it.

    Raises:
      ValueError: if there are names of classes, but not one per output.
    """
    outputs = details["output"]["count"]
    if classes and len(classes) != outputs:
        raise ValueError(f"`classes` must name all {outputs} outputs; got {len(classes)} names.")
    versions = {library: version(library) for library in ("jaxcnn", *libraries)}
    told = {"format": format, **details, "classes": list(classes), "versions": versions}
    return json.loads(json.dumps(told))  # as its readers get it
