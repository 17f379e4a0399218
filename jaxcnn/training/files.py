"""The files of a run, written atomically.

An error says clearly where the system refuses to write.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

# What a system says of a place, and not of the bytes that are there. Libraries pass it on in words of their own, with
# the system's among them.
_OF_THE_SYSTEM = {
    number: os.strerror(number)
    for name in (
        "EACCES EPERM EROFS EIO ENOSPC EDQUOT EFBIG EMFILE ENFILE ENOMEM EBUSY ESTALE ETIMEDOUT ENOTCONN ENODEV ENXIO "
        "ELOOP ENAMETOOLONG EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH EREMOTEIO"
    ).split()
    if (number := getattr(errno, name, None)) is not None
}
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)  # said of a file that was damaged, as by removing it


class CheckpointError(RuntimeError):
    """A run could not write or read a file.

    The message names the file, the reason, and where to resume.
    """


def system_says(error: BaseException, but: tuple[int, ...] = ()) -> str | None:
    """Finds the operating system's message in an error.

    It may be in the error's causes, or in the text of a library's error.

    Args:
      error: any error.
      but: error numbers to ignore.

    Returns:
      The message, or None if there is none.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, MemoryError) or "out of memory" in str(cause).lower():
            return os.strerror(errno.ENOMEM)
        if isinstance(cause, OSError) and cause.errno and cause.errno not in but:
            return cause.strerror or os.strerror(cause.errno)
        told = [words for number, words in _OF_THE_SYSTEM.items() if number not in but and words in str(cause)]
        if told:
            return max(told, key=len)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


def brief(error: BaseException) -> str:
    """Returns the first sentence of an error."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).partition(". ")[0].rstrip(".")[:200]


def unreadable(folder: Path, error: BaseException) -> str | None:
    """Finds out why the system cannot read a folder.

    Args:
      folder: the folder, with everything below it.
      error: the error of the program that read it.

    Returns:
      The reason, or None if the folder is readable, and so its content is damaged.
    """

    def refuse(error: OSError) -> None:
        raise error

    told = system_says(error, _MISSING)
    try:
        for place, _, names in os.walk(folder, onerror=refuse):
            for name in names:
                path = os.path.join(place, name)
                with naming(path), open(path, "rb", buffering=0) as file:
                    while file.read(2**20):
                        pass
    except OSError as refused:
        if refused.errno not in _MISSING:
            return f"{refused.strerror} ({refused.filename or folder})"
    return told


@contextlib.contextmanager
def writing(path: str | Path, what: str, last_good: Callable[[], str] | None = None) -> Iterator[None]:
    """Converts errors of writing to one sentence.

    It names the place and the reason.

    Args:
      path: the file or folder that is written to.
      what: the content that is written, in words.
      last_good: returns in words where the run can resume.

    Raises:
      CheckpointError: if the system refuses to write.
    """
    try:
        yield
    except (CheckpointError, BrokenPipeError):  # the second is no fault: whoever reads the output has gone
        raise
    except Exception as error:
        why = system_says(error)
        if why is None and not isinstance(error, OSError):
            raise
        rest = "" if last_good is None else f", {last_good()}"
        raise CheckpointError(f"{path} must take {what}; {why or brief(error)}{rest}.") from None


@contextlib.contextmanager
def naming(path: str | Path, draft: Path | None = None) -> Iterator[None]:
    """Adds the name of the file to errors of writing.

    The error of a full disk has none.

    Args:
      path: the file.
      draft: the temporary file that is written first and then replaces it.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(draft)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None  # of the class that the number stands for


@contextlib.contextmanager
def replacing(path: Path, suffix: str = "") -> Iterator[Path]:
    """Replaces a file in one step.

    A reader gets either the old or the new content, complete.

    Args:
      path: the file.
      suffix: suffix of the draft, for writers that add one.

    Yields:
      The path of a draft. It replaces the file when the context ends, and is removed after an error.
    """
    draft = path.with_name(f"{path.name}.draft{suffix}")
    with naming(path, draft):
        try:
            yield draft
            with draft.open("rb") as written:
                os.fsync(written.fileno())  # before the old file's name is given away
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replaces a file in one step; text is written as UTF-8."""
    with replacing(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
