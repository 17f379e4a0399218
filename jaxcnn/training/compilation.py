"""A persistent cache of compiled programs."""

import hashlib
import os
import platform
import stat
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

_LEAST_SECONDS = 0.1  # of compiling, for it to be kept; a network's initialization is many short ones


def keep_compiled(where: str | Path | None = None) -> Path | None:
    """Lets JAX save compiled programs in a folder.

    Later processes find them there. The key of a program consists of its text, the version of JAX, the options and the
    device. Programs for CPUs contain instructions of one kind of processor. So `"auto"` uses one folder for each kind,
    since machines may share a home folder.

    Args:
      where: a folder; `"auto"` for one in `$XDG_CACHE_HOME/jaxcnn` or `~/.cache/jaxcnn`; `"off"`. By default the folder
        of `$JAX_COMPILATION_CACHE_DIR` if that is set, else `"auto"` on accelerators and `"off"` on CPU.

    Returns:
      The folder, or None.

    Raises:
      RuntimeError: if the folder of `"auto"` belongs to another user, whose code would be loaded.
    """
    if where is None:
        given = jax.config.values["jax_compilation_cache_dir"]
        if given is not None:
            return Path(given)
        where = "off" if jax.default_backend() == "cpu" else "auto"
    folder = None if str(where) == "off" else _own_folder() if str(where) == "auto" else Path(where)
    if folder is not None and str(where) == "auto":
        for each in (folder.parent, folder):
            _own(each)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)  # where this fails JAX would only warn, at every compilation
    jax.config.update("jax_compilation_cache_dir", None if folder is None else str(folder.absolute()))
    if folder is not None:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)
    compilation_cache.reset_cache()  # it does not look again once something was compiled
    return folder


def _own(folder: Path) -> None:
    """Makes a folder for compiled programs that only its user writes."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not hasattr(os, "geteuid"):  # on Windows, where homes have owners' rights
        return
    status = folder.stat()
    if status.st_uid not in (os.geteuid(), 0):  # root could write anything
        raise RuntimeError(
            f"compiled code is loaded only from where its user alone can write; {folder} belongs to user "
            f"{status.st_uid}, not to {os.geteuid()}: remove it, or name another place in XDG_CACHE_HOME."
        )
    if status.st_uid == os.geteuid() and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        folder.chmod(0o700)


def _own_folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxcnn"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [f"flags {platform.processor()}"]
    features = {line for line in lines if line.lower().startswith(("flags", "features", "model name"))}
    kind = hashlib.sha256(repr(sorted(features)).encode()).hexdigest()[:8]
    return cache / f"compiled-{platform.machine()}-{kind}"
