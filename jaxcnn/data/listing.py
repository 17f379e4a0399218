"""Lists the picture files below a folder, and counts others."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from jaxcnn.data.pictures import SUFFIXES

# what file managers, archives and network drives leave behind; names with a dot in front are hidden as well
_LEFT_BEHIND = frozenset({"__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "#recycle"})


def expanded(path: str | Path) -> Path:
    """Expands `~` to the home folder.

    Shells do not expand it inside words, as in `folder:~/pictures`.
    """
    return Path(os.path.expanduser(path))


def is_seen(name: str) -> bool:
    """Whether a file or folder of this name is used.

    It is not if it is hidden, or a by-product of some program.
    """
    return not name.startswith(".") and name.lower() not in _LEFT_BEHIND


def folders_in(folder: Path) -> list[Path]:
    """Lists the folders in a folder, sorted.

    Hidden ones and by-products of programs are left out.
    """
    return sorted(path for path in folder.iterdir() if is_seen(path.name) and path.is_dir())


def pictures_below(folder: Path, passed: Counter[str] | None = None, *, deep: bool = True) -> Iterator[Path]:
    """Finds the picture files in and below a folder, sorted.

    The files of a folder come before those of its subfolders. Links to folders are not followed. A link to a file that
    no longer exists is included, so that reading it gives an error.

    Args:
      folder: the folder to search.
      passed: counts the files that are ignored, by suffix.
      deep: whether to search subfolders.

    Yields:
      The paths of the pictures.
    """
    passed = Counter() if passed is None else passed
    with os.scandir(folder) as entries:
        seen = sorted((entry for entry in entries if is_seen(entry.name)), key=lambda entry: entry.name)
    for entry in seen:
        if entry.is_dir():
            if deep and entry.is_symlink():
                passed["linked folders"] += 1
            continue
        ending = os.path.splitext(entry.name)[1].lower()
        if ending in SUFFIXES and (entry.is_file() or entry.is_symlink()):
            yield folder / entry.name
        else:
            passed[ending or "without ending"] += 1
    for entry in seen if deep else ():
        if entry.is_dir() and not entry.is_symlink():
            yield from pictures_below(folder / entry.name, passed)


def told(passed: Counter[str]) -> str:
    """Describes the ignored files in words, the most frequent suffix first."""
    ordered = sorted(passed.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {ending}" for ending, count in ordered)
