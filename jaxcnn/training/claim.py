"""Decides whether a run may start or resume in a folder.

It reads `config.json`, the other files and the lock.
"""

import dataclasses
import json
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcnn.data.batches import steps_per_epoch
from jaxcnn.training.checkpoint import written_in
from jaxcnn.training.config import TrainConfig
from jaxcnn.training.files import write_atomically, writing
from jaxcnn.training.lock import FolderLock

_OF_THE_SITTING = ("command", "arguments", "versions", "devices")  # may differ between the sittings of one run
_OLDER = {"task": "classification"}  # what a run did whose configuration has no such option
_LEFT_OVERS = ("checkpoints", "damaged", "metrics.jsonl", "metrics.csv")


def begin(path: Path, description: dict[str, Any], resume: bool, force: bool) -> FolderLock:
    """Makes a folder that of a run, or checks it.

    A folder that is refused stays unchanged.

    Args:
      path: the folder; created if missing.
      description: the description of the run, for `config.json`.
      resume: resume the run that the folder holds.
      force: resume even with another description.

    Returns:
      The lock of the folder.

    Raises:
      CheckpointError: if the folder cannot be written to.
      RuntimeError: if another process trains in it.
      ValueError: if it holds a run and `resume` is false, or holds another run, or parts of a run without its
        `config.json`.
    """
    _check(path, description, resume, force)
    with writing(path, "a run", lambda: written_in(path)):
        path.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(path)
    try:
        if not _check(path, description, resume, force):  # once more, where nobody can come between
            with writing(path / "config.json", "the configuration", lambda: written_in(path)):
                write_description(path, description)
    except BaseException:
        lock.release()
        raise
    return lock


def _check(path: Path, description: dict[str, Any], resume: bool, force: bool) -> bool:
    """Refuses a folder that is not for this run.

    Returns whether it already holds the run.
    """
    if not (path / "config.json").exists():
        left = [name for name in _LEFT_OVERS if _holds_something(path / name)]
        if left:
            raise ValueError(f"{path} must be a new folder, or have the config.json of its run; it holds {left[0]}.")
        return False
    if not resume:
        raise ValueError(f"{path} already holds a run; resume it, or name another folder.")
    if not force:
        _check_same(path, description)
    damaged = path / "damaged"
    if _holds_something(damaged) and not any(place.name.isdigit() for place in (path / "checkpoints").glob("*")):
        raise ValueError(f"{path} must hold an undamaged checkpoint; all that remain are in {damaged}.")
    return True


def _holds_something(place: Path) -> bool:
    return any(place.iterdir()) if place.is_dir() else place.exists() and place.stat().st_size > 0


def expect_none(path: Path, config: TrainConfig, count: int, rows: list[dict[str, Any]]) -> None:
    """Refuses to restart a run whose checkpoints are missing.

    Its log shows that it had some.

    Args:
      path: the folder of the run, without checkpoints.
      config: its configuration.
      count: number of its training examples.
      rows: rows of its log.

    Raises:
      ValueError: if the run had checkpoints.
    """
    every = min(config.checkpoint_every, steps_per_epoch(count, config.batch_size))
    last = max((row["step"] for row in rows), default=0)
    if last > 2 * every:  # before the second is begun the first is written
        raise ValueError(f"{path} must hold the checkpoints of its {last} steps, as its log has them; it holds none.")


def write_description(path: Path, description: dict[str, Any]) -> None:
    """Writes `config.json`."""
    write_atomically(path / "config.json", json.dumps(description, indent=2) + "\n")


def read_description(path: str | Path) -> dict[str, Any]:
    """Reads the `config.json` of a run.

    Args:
      path: the folder of the run.

    Returns:
      Its content.

    Raises:
      FileNotFoundError: if the folder is not that of a run.
      ValueError: if the file is damaged.
    """
    file = Path(path) / "config.json"
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path} must be the folder of a run; it has no config.json.") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} must be UTF-8; {error.reason} at byte {error.start + 1}.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} must be JSON; {error}.") from None
    if not isinstance(description, dict):
        raise ValueError(f"{file} must be a JSON object; got {type(description).__name__}.")
    return description


def _as_read(description: dict[str, Any]) -> dict[str, Any]:
    """A description as it is read from a file.

    Accented letters are one character (Unicode NFC).
    """
    return json.loads(unicodedata.normalize("NFC", json.dumps(description, ensure_ascii=False)))


def _check_same(path: Path, description: dict[str, Any]) -> None:
    """Refuses to resume a run with another description.

    The message names every field that differs.
    """
    written = read_description(path)
    if isinstance(written.get("training"), dict):  # an option that is newer than the run had its default's effect
        written["training"] = dataclasses.asdict(TrainConfig()) | _OLDER | written["training"]
    before, now = (flat_values(_as_read(told), _OF_THE_SITTING) for told in (written, description))
    fields = sorted(field for field in before.keys() | now.keys() if before.get(field) != now.get(field))
    if fields:
        changes = ", ".join(f"{field} was {before.get(field)!r}, now {now.get(field)!r}" for field in fields)
        raise ValueError(f"{path} must be resumed with its own configuration, or with force; {changes}.")


def flat_values(tree: Mapping[str, Any], but: Sequence[str] = (), prefix: str = "") -> dict[str, Any]:
    """Flattens a description to values by dotted names.

    Args:
      tree: the content of a `config.json`, or a part of it.
      but: keys on its first level to leave out.
      prefix: what all names begin with.

    Returns:
      The values; `training.epochs` is one of the names.
    """
    flat = {}
    for key, value in tree.items():
        if key not in but:
            flat |= flat_values(value, prefix=f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
