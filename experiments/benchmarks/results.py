"""The files of figures: one for each device and version of jax."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.benchmarks.bars import judge
from jaxcnn.training import write_atomically

RESULTS = Path(__file__).parent.parent / "results"

Document = dict[str, Any]


def path_for(about: Mapping[str, Any]) -> Path:
    """Where the figures of a device and a version of jax belong."""
    return RESULTS / f"benchmarks-{slug(about['device'])}-jax{about['versions']['jax']}.json"


def slug(device: str) -> str:
    """A device's name as files have it."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def opened(path: Path | None, about: dict[str, Any]) -> Document:
    """What a run adds its rows to: the file's document, or an empty one.

    Raises:
      ValueError: if the file's figures come from another machine, or from other versions.
    """
    if path is None or not path.exists():
        return {"about": about, "rows": {}, "bars": []}
    document = read(path)
    differ = sorted(key for key in ("device", "processor", "cores", "versions") if document["about"][key] != about[key])
    if differ:
        raise ValueError(f"`out` must hold figures of this machine and these versions; {path} differs in {differ}.")
    return document


def read(path: Path) -> Document:
    """A document.

    Raises:
      ValueError: if it is none.
    """
    refusal = f"{path} must be a file that `jaxcnn bench` wrote; it is not."
    try:
        document = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(refusal) from error
    if not isinstance(document, dict) or not {"about", "rows"} <= set(document):
        raise ValueError(refusal)
    return document


def write(path: Path, document: Document) -> None:
    """Writes a document whole, with its verdicts."""
    document["bars"] = judge(document)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(document, indent=1) + "\n")


def all_documents() -> list[Document]:
    """The documents of the repository."""
    return [read(path) for path in sorted(RESULTS.glob("benchmarks-*.json"))]
