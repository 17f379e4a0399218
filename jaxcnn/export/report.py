"""What an export leaves and tells."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple


class Exported(NamedTuple):
    """A file that holds a network."""

    path: Path
    size: int  # bytes
    difference: float  # from the network, the largest seen on random examples
    description: dict[str, Any]  # as it is kept in the file or beside it


def describe(format: str, libraries: Sequence[str], classes: Sequence[str], details: dict[str, Any]) -> dict[str, Any]:
    """What a file's reader must know: input, outputs, names of the classes, and who wrote it.

    Raises:
      ValueError: if there are names, but not one for each output.
    """
    outputs = details["output"]["count"]
    if classes and len(classes) != outputs:
        raise ValueError(f"`classes` must name all {outputs} outputs; got {len(classes)} names.")
    versions = {library: version(library) for library in ("jaxcnn", *libraries)}
    told = {"format": format, **details, "classes": list(classes), "versions": versions}
    return json.loads(json.dumps(told))  # as its readers get it
