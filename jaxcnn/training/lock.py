"""The lock of a run's folder.

One process trains in it at a time. It is the system's lock on a file (`flock`), which the system releases when the
process ends for any reason. Reading the folder does not need the lock. On Windows and on some network file systems
there is no such lock; a run then continues without one, with a warning.
"""

import contextlib
import os
import platform
import warnings
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

_HELD: set[int] = set()  # descriptors of this process's locks


class FolderInUseError(RuntimeError):
    """Another process, or this one, already trains in a folder."""


class FolderLock:
    """The lock of a folder, held until `release`.

    Args:
      folder: the folder, which must exist.
      name: name of the file that is locked.

    Raises:
      OSError: if the file of the lock cannot be created.
      FolderInUseError: if another process, or this one, already holds the lock; the message names the process.
    """

    def __init__(self, folder: Path, name: str = ".lock"):
        self._descriptor: int | None = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = _take(self._descriptor, folder)
        except BaseException:
            os.close(self._descriptor)
            raise
        _HELD.add(self._descriptor)
        if locked:
            with contextlib.suppress(OSError):  # on a full disk it holds without a name
                os.ftruncate(self._descriptor, 0)
                os.write(self._descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())

    def release(self) -> None:
        """Releases the lock."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        _HELD.discard(descriptor)
        os.close(descriptor)


def is_held(folder: Path, name: str = ".lock") -> bool:
    """Whether a process trains in a folder now.

    Where the system has no such lock, the answer is False.

    Args:
      folder: the folder.
      name: name of the file that is locked.
    """
    file = folder / name
    with contextlib.suppress(FileNotFoundError, PermissionError):
        # one that was released is empty, so that it need not be touched: a run may just begin to take it
        if fcntl is not None and file.read_bytes():
            with file.open("rb") as opened:
                try:
                    fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
                except OSError:  # a file system without locks
                    return False
    return False


def _take(descriptor: int, folder: Path) -> bool:
    """Locks an open file.

    Returns False where the system has no such lock.
    """
    reason = "this system has no flock"
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
        rule = f"{folder} must be trained in by one process at a time"
        raise FolderInUseError(f"{rule}; {holder} does so now.") from None
    except OSError as error:
        reason = error.strerror
    told = f"{folder} cannot be locked ({reason}); two runs that train in it would not notice each other."
    warnings.warn(told, RuntimeWarning, stacklevel=3)
    return False


def _leave_to_parent() -> None:
    """Closes the lock's copy in a forked process.

    A data worker, for example, would hold it after the trainer.
    """
    for descriptor in _HELD:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _HELD.clear()


if hasattr(os, "register_at_fork"):  # started in other ways, a process does not inherit it (PEP 446)
    os.register_at_fork(after_in_child=_leave_to_parent)
