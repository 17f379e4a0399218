"""Finds oneDNN and a compiler, and builds the backend once, into the user's cache."""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import threading
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jax

from jaxcnn.ops.native import kept

SOURCES = tuple(sorted(file for ending in ("cc", "h") for file in Path(__file__).parent.glob(f"*.{ending}")))
TARGETS = (  # of XLA's foreign function interface
    CONV := "jaxcnn_onednn_conv",
    MAX_POOL := "jaxcnn_max_pool",
    MAX_ROUTE := "jaxcnn_max_route",
    NORM_MOMENTS := "jaxcnn_norm_moments",
    NORM_NORMALISE := "jaxcnn_norm_normalise",
    NORM_SUMS := "jaxcnn_norm_sums",
    NORM_GRADIENT := "jaxcnn_norm_gradient",
)
_FLAGS = ("-std=c++17", "-O2", "-DNDEBUG", "-fPIC", "-shared", "-fopenmp")
# that a library has all of our functions
_TRY = "import ctypes, sys; found = ctypes.CDLL(sys.argv[1]); [getattr(found, name) for name in sys.argv[2:]]"
_LIBRARIES: dict[Path, ctypes.CDLL] = {}  # by build, each loaded once
_LOADING = threading.Lock()
_INSTALL = "pip install 'jaxcnn[onednn]'"


class _Parts(NamedTuple):
    """What a build is made of."""

    include: Path
    library: Path
    version: str
    build: Path  # where it is kept; the name tells sources, flags, and the versions of oneDNN and jaxlib


def available() -> bool:
    """Whether the backend is built and can be loaded; never builds."""
    try:
        return _loaded(_parts()) is not None
    except RuntimeError:
        return False


def reason() -> str:
    """What is there, or what is missing and how to get it, in one sentence."""
    try:
        parts = _parts()
        if _loaded(parts) is not None:
            return f"built from onednn-cpu-gomp {parts.version}."
        _compiler()
    except RuntimeError as error:
        return str(error)
    return f"onednn-cpu-gomp {parts.version} is there, the backend not yet built: jaxcnn doctor --build-onednn."


def build() -> Path:
    """Builds the backend, unless it is built and whole; several processes may do so at once.

    Returns:
      The library's path, in `$XDG_CACHE_HOME/jaxcnn` or `~/.cache/jaxcnn`, which its user alone can write.

    Raises:
      RuntimeError: if oneDNN or a compiler is missing, the compiler fails or makes something else, or the folder cannot
        be written or is another user's.
    """
    parts = _parts()
    with contextlib.suppress(RuntimeError, OSError):  # what others could have written is built again
        if (there := kept.find(parts.build)) is not None:
            return there
    compiler = _compiler()
    try:
        kept.clear(parts.build)
        if (there := kept.find(parts.build)) is not None:
            return there
        handle, unfinished = tempfile.mkstemp(suffix=".unfinished", prefix=parts.build.name, dir=parts.build.parent)
        os.close(handle)
        try:
            _compile(compiler, parts, unfinished)
            return kept.keep(Path(unfinished), parts.build)
        finally:
            Path(unfinished).unlink(missing_ok=True)
    except OSError as error:
        raise RuntimeError(
            f"the oneDNN backend is built in {parts.build.parent}, which cannot be written: {error.strerror}; "
            "XDG_CACHE_HOME names another place."
        ) from None


def _compile(compiler: tuple[str, ...], parts: _Parts, unfinished: str) -> None:
    """Writes a library that loads and has our functions."""
    command = [
        *compiler,
        *_FLAGS,
        *(f"-I{parts.include}", f"-I{jax.ffi.include_dir()}"),
        *(str(source) for source in SOURCES if source.suffix == ".cc"),
        str(parts.library),
        *(f"-Wl,-rpath,{parts.library.parent}", "-o", unfinished),
    ]
    found = subprocess.run(command, capture_output=True, text=True)
    failed = "does not compile"
    if not found.returncode:  # a process of its own, which what is broken ends alone
        found = subprocess.run([sys.executable, "-c", _TRY, unfinished, *TARGETS], capture_output=True, text=True)
        failed = "is built and does not load"
    if found.returncode:
        log = parts.build.with_suffix(".log")
        log.write_text(f"{shlex.join(command)}\n{found.stdout}{found.stderr}")
        lines = found.stderr.strip().splitlines() or [f"exit status {found.returncode}"]
        first = next((line for line in lines if "error" in line.lower()), lines[0])
        raise RuntimeError(f"the oneDNN backend {failed}: {first.rstrip('.')}; the log is {log}.")


def library() -> ctypes.CDLL:
    """The backend, built and loaded if it is not yet; its FFI targets are registered.

    Raises:
      RuntimeError: if it cannot be had, in the words of `reason`.
    """
    parts = _parts()
    return _loaded(parts) or _load(build(), parts.build)


def multiplies_bfloat16() -> bool:
    """Whether this processor does; elsewhere products of bfloat16 are faster, and as exact, in float32."""
    return bool(library().jaxcnn_onednn_bfloat16())


def _loaded(parts: _Parts) -> ctypes.CDLL | None:
    """What this process has loaded, or can; None if it is not built."""
    if parts.build in _LIBRARIES:
        return _LIBRARIES[parts.build]
    try:
        path = kept.find(parts.build)
    except OSError as error:
        raise RuntimeError(
            f"the oneDNN backend is kept in {parts.build.parent}, which cannot be read: {error}."
        ) from None
    return None if path is None else _load(path, parts.build)


def _load(path: Path, build: Path) -> ctypes.CDLL:
    with _LOADING:
        if build not in _LIBRARIES:
            try:
                loaded = ctypes.CDLL(str(path))
                loaded.jaxcnn_onednn_implementation.restype = ctypes.c_char_p
                capsules = {target: jax.ffi.pycapsule(getattr(loaded, target)) for target in TARGETS}
            except (OSError, AttributeError) as error:
                raise RuntimeError(f"the oneDNN backend does not load: {error}.") from None
            for target, capsule in capsules.items():
                jax.ffi.register_ffi_target(target, capsule, platform="cpu")
            _LIBRARIES[build] = loaded
    return _LIBRARIES[build]


@functools.cache
def _parts() -> _Parts:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise RuntimeError(f"the oneDNN backend needs Linux on x86_64; got {sys.platform} on {platform.machine()}.")
    library, version = _installed("onednn-cpu-gomp", "libdnnl.so.3")
    header, _ = _installed("onednn-devel-cpu-gomp", "oneapi/dnnl/dnnl.hpp")
    facts = [source.read_text() for source in SOURCES], _FLAGS, str(library), version, metadata.version("jaxlib")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxcnn"
    build = cache / f"onednn-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"
    return _Parts(header.parents[2], library, version, build)


def _compiler() -> tuple[str, ...]:
    name = os.environ.get("CXX") or "g++"
    compiler = tuple(shlex.split(name))
    try:
        subprocess.run([*compiler, "--version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise RuntimeError(
            f"the oneDNN backend needs a C++ compiler, and {name!r} does not run: apt-get install g++, or name another "
            "in CXX."
        ) from None
    return compiler


def _installed(distribution: str, name: str) -> tuple[Path, str]:
    """A file of an installed distribution, and the distribution's version."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        raise RuntimeError(f"the oneDNN backend needs {distribution}: {_INSTALL}.") from None
    for file in found.files or ():
        if str(file).endswith(name):
            path = Path(os.path.normpath(str(file.locate())))
            if path.exists():
                return path, found.version
    raise RuntimeError(f"{distribution} {found.version} has lost its file {name}: {_INSTALL}.")
