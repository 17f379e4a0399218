"""What was built, kept in the user's cache: whose it is, whether it is whole, and how it gets there in one step."""

import contextlib
import hashlib
import os
import stat
from pathlib import Path

_OTHERS_CAN_WRITE = stat.S_IWGRP | stat.S_IWOTH


def find(build: Path) -> Path | None:
    """The library of a build, whole, which its user alone could have written; None if there is none.

    Args:
      build: folder and beginning of the name, which a digest of the content ends, so that both change in one step.

    Raises:
      RuntimeError: if others could have written it.
      OSError: if the folder cannot be read.
    """
    if not build.parent.is_dir():
        return None
    _check(build.parent)
    for library in _candidates(build):
        _check(library)
        if _is_whole(library, build):
            return library
    return None


def clear(build: Path) -> None:
    """Makes the folder of a build, and removes what `find` would not take.

    Raises:
      RuntimeError: if the folder is another user's.
      OSError: if it cannot be written.
    """
    own(build.parent)
    for library in _candidates(build):
        with contextlib.suppress(FileNotFoundError):  # another process may do the same
            if _trouble(library) is not None or not _is_whole(library, build):
                library.unlink()


def own(folder: Path) -> None:
    """Makes a folder for code that is compiled, or makes it one that its user alone can write.

    Raises:
      RuntimeError: if it is another user's.
      OSError: if it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not hasattr(os, "geteuid"):  # on Windows, where homes have owners' rights
        return
    found = folder.stat()
    if found.st_uid == os.geteuid() and found.st_mode & _OTHERS_CAN_WRITE:
        folder.chmod(0o700)
    _check(folder)


def keep(unfinished: Path, build: Path) -> Path:
    """Gives what was written its name, once it is on the disk."""
    os.chmod(unfinished, 0o700)
    library = build.with_name(_name(build, unfinished.read_bytes()))
    _to_disk(unfinished)
    os.replace(unfinished, library)
    _to_disk(library.parent)
    return library


def _candidates(build: Path) -> list[Path]:
    return sorted(build.parent.glob(f"{build.name}-*.so"))


def _is_whole(library: Path, build: Path) -> bool:
    try:
        return library.name == _name(build, library.read_bytes())
    except OSError:
        return False


def _name(build: Path, content: bytes) -> str:
    return f"{build.name}-{hashlib.sha256(content).hexdigest()[:32]}.so"


def _check(path: Path) -> None:
    trouble = _trouble(path)
    if trouble is not None:
        raise RuntimeError(f"compiled code is loaded only from where its user alone can write; {trouble}.")


def _trouble(path: Path) -> str | None:
    """How others could have written a file or folder, and what to do."""
    is_folder = path.is_dir()
    found = path.stat() if is_folder else path.lstat()
    if found.st_uid not in (os.geteuid(), 0):  # root could write anything
        return (
            f"{path} belongs to user {found.st_uid}, not to {os.geteuid()}: remove it, or name another place in "
            "XDG_CACHE_HOME"
        )
    if not is_folder and not stat.S_ISREG(found.st_mode):
        return f"{path} is no plain file: jaxcnn doctor --build-onednn builds it again"
    if found.st_mode & _OTHERS_CAN_WRITE:
        return f"{path} has mode {stat.S_IMODE(found.st_mode):04o}: jaxcnn doctor --build-onednn makes it right"
    return None


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
