"""Downloads files of weights, and other files, from plain addresses.

They are kept in a cache, and their SHA-256 is checked.
"""

import contextlib
import hashlib
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO

from jaxcnn.training.files import naming

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

_PIECE = 2**20
_TRIES = 5  # without a further byte
_SECONDS = 30  # without an answer
_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[\w.]+$")  # as torch.hub has it: resnet50-0676ba61.pth


def cache_folder() -> Path:
    """Returns the folder of downloaded files: `$XDG_CACHE_HOME/jaxcnn/weights` or `~/.cache/jaxcnn/weights`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxcnn" / "weights"


def is_offline() -> bool:
    """Whether downloads are forbidden, by `HF_HUB_OFFLINE` as for the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def digest_of(url: str) -> tuple[str, str]:
    """Splits an address into the address proper and its digest.

    The digest is the beginning of the file's SHA-256.

    Raises:
      ValueError: if it has no digest: neither `-0676ba61` at the end of the file's name nor `#sha256=...` at its own.
    """
    plain, _, mark = url.partition("#")
    told = re.fullmatch(r"sha256=([0-9a-f]{8,64})", mark) or _IN_NAME.search(plain)
    if told is None:
        raise ValueError(
            f"`name` must end in the file's digest, as resnet50-0676ba61.pth does, or in #sha256=DIGEST; got {url}."
        )
    return plain, told[1]


def from_url(url: str, folder: Path | None = None) -> tuple[Path, str]:
    """Finds a file in the cache, or downloads it.

    A download that broke off is continued.

    Args:
      url: address with a digest, as in `digest_of`.
      folder: where downloaded files are kept; by default `cache_folder()`.

    Returns:
      The file, and its whole SHA-256.

    Raises:
      FileNotFoundError: if it is not in the cache and downloads are forbidden, or there is no such file.
      ConnectionError: if the server cannot be reached, or stops to answer.
      ValueError: if the file has another digest; it is removed.
      OSError: if the disk is full.
    """
    plain, wanted = digest_of(url)
    name = plain.rpartition("/")[2]
    file = (folder or cache_folder()) / (name if wanted in name else f"{wanted[:16]}-{name}")
    if not file.exists():
        if is_offline():
            raise FileNotFoundError(
                f"{plain} must be downloaded before it is used offline (HF_HUB_OFFLINE); it is not in {file.parent}."
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.part")
        with naming(file, part), _alone(part) as draft:
            if not file.exists():  # another process may have been faster
                _fetch(plain, draft)
                check_digest(part, plain, wanted)
                os.replace(part, file)
    return file, check_digest(file, plain, wanted)


def check_digest(file: Path, name: str, wanted: str) -> str:
    """Computes and checks the SHA-256 of a downloaded file.

    If it is not what was announced, the file is removed.

    Raises:
      ValueError: if it does not begin with `wanted`.
    """
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if not digest.startswith(wanted):
        file.unlink()
        raise ValueError(
            f"{name} must have a SHA-256 that begins with {wanted}; got {digest[: len(wanted)]}, "
            "so the file was removed: download it once more."
        )
    return digest


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[IO[bytes]]:
    """Opens a draft for appending.

    Other processes wait until it is closed.
    """
    while True:
        draft = part.open("ab")
        if fcntl is not None:
            with contextlib.suppress(OSError):  # of file systems without locks
                fcntl.flock(draft, fcntl.LOCK_EX)
        if fcntl is None or (part.exists() and os.path.samestat(os.fstat(draft.fileno()), part.stat())):
            break
        draft.close()  # it was moved to its place while we waited
        if part.with_name(part.name.removesuffix(".part")).exists():
            draft = open(os.devnull, "ab")
            break
    with draft:
        yield draft


def _fetch(url: str, draft: IO[bytes]) -> None:
    """Appends to a draft what it lacks."""
    failures = 0
    with _progress(url.rpartition("/")[2]) as told:
        while True:
            draft.seek(0, os.SEEK_END)
            have = begun = draft.tell()
            try:
                request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
                with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                    if answer.status != 206 and have:  # a server that knows no ranges begins anew
                        draft.truncate(0)
                        have = 0
                    length = answer.headers.get("Content-Length")
                    total = None if length is None else have + int(length)
                    while piece := answer.read(_PIECE):
                        draft.write(piece)
                        have += len(piece)
                        told(have, total)
                draft.flush()
                if total is None or have >= total:
                    return
                reason = f"it sent {have:,} of {total:,} bytes"
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == 416:  # the draft is at least as long as the file
                    draft.truncate(0)
                    reason = "it has no such range"
                elif error.code in (404, 410):
                    raise FileNotFoundError(f"{url} must exist; the server knows no such file.") from None
                elif error.code < 500 and error.code not in (408, 429):
                    raise ConnectionError(f"{url} cannot be downloaded: {error.code} {error.reason}.") from None
                else:
                    reason = f"{error.code} {error.reason}"
            except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            failures = 1 if have > begun else failures + 1
            if failures >= _TRIES:
                raise ConnectionError(f"{url} cannot be downloaded: {reason.rstrip('.')}.")


@contextlib.contextmanager
def _progress(name: str):
    """Yields a function that draws a bar on a terminal.

    Its arguments are the bytes so far and in total.
    """
    from rich import progress
    from rich.console import Console

    columns = progress.TextColumn("{task.description}"), progress.BarColumn(), progress.DownloadColumn()
    bar = progress.Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task(name, total=None)
        yield lambda have, total: bar.update(task, completed=have, total=total)
