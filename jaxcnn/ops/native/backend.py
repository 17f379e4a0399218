"""Finds and loads the C++ backend.

It is built by setup.py while jaxcnn is installed.
"""

import ctypes
import functools
import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path

import jax

TARGETS = (  # of XLA's foreign function interface
    CONV := "jaxcnn_conv",
    MAX_POOL := "jaxcnn_max_pool",
    MAX_ROUTE := "jaxcnn_max_route",
    NORM_MOMENTS := "jaxcnn_norm_moments",
    NORM_NORMALIZE := "jaxcnn_norm_normalize",
    NORM_SUMS := "jaxcnn_norm_sums",
    NORM_GRADIENT := "jaxcnn_norm_gradient",
)
LIBRARY = Path(__file__).with_name("libjaxcnn_native.so")
NOT_BUILT = Path(__file__).with_name("not_built.txt")  # why, in a sentence that setup.py wrote
_SWITCH = "JAXCNN_NATIVE"


def available() -> bool:
    """Whether the backend is built for this machine and loadable."""
    return isinstance(_loaded(), ctypes.CDLL)


@functools.cache
def active() -> bool:
    """Whether `method="auto"` may choose the backend.

    It may if it is available, and `JAXCNN_NATIVE` is not `off`. The answer stays the same while the process lives: what
    is compiled depends on it.
    """
    return not _is_off() and available()


def reason() -> str:
    """Says in one sentence whether the backend is active.

    If it is not, the sentence says why and what to do.
    """
    loaded = _loaded()
    if not isinstance(loaded, ctypes.CDLL):
        return f"not active: {loaded}"
    if not active():
        return f"not active: the environment variable {_SWITCH} is off."
    return f"active: C++ with oneDNN {loaded.jaxcnn_onednn_version().decode()}."


def missing() -> str | None:
    """Says why a CPU is slower than it could be.

    It also says what to do; None where nothing can be done, or need be.
    """
    if _is_off() or jax.default_backend() != "cpu" or not _is_suited():
        return None
    loaded = _loaded()
    return loaded if isinstance(loaded, str) else None


def library() -> ctypes.CDLL:
    """The loaded backend; its FFI targets are registered.

    Raises:
      RuntimeError: if it is not available, with the reason.
    """
    loaded = _loaded()
    if isinstance(loaded, ctypes.CDLL):
        return loaded
    raise RuntimeError(f"the C++ backend is not available: {loaded}")


def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16.

    Elsewhere products of bfloat16 are faster, and as exact, in float32.
    """
    return bool(library().jaxcnn_onednn_bfloat16())


@functools.cache
def _loaded() -> ctypes.CDLL | str:
    """The library, or a sentence on why there is none.

    It is loaded once in a process.
    """
    if not _is_suited():
        return f"it is for Linux on x86_64, and this is {sys.platform} on {platform.machine()}."
    if not LIBRARY.exists():
        if NOT_BUILT.exists():
            return NOT_BUILT.read_text().strip()
        return f"{LIBRARY.parents[3]} holds only sources; pip install -e {LIBRARY.parents[3]} builds it there."
    try:
        loaded = ctypes.CDLL(str(LIBRARY))
        built_for, here = loaded.jaxcnn_ffi_minor(), _ffi_minor()
        if built_for > here:  # XLA would refuse it, and with it the CPU
            return (
                f"it was built for version 0.{built_for} of XLA's foreign function interface, and jaxlib "
                f"{metadata.version('jaxlib')} has 0.{here}; pip install -U jax."
            )
        loaded.jaxcnn_onednn_implementation.restype = ctypes.c_char_p
        loaded.jaxcnn_onednn_version.restype = ctypes.c_char_p
        capsules = {target: jax.ffi.pycapsule(getattr(loaded, target)) for target in TARGETS}
    except (OSError, AttributeError) as error:
        return f"its library does not load ({error}); install jaxcnn again with --force-reinstall --no-cache-dir."
    for target, capsule in capsules.items():
        jax.ffi.register_ffi_target(target, capsule, platform="cpu")
    return loaded


def _is_off() -> bool:
    return os.environ.get(_SWITCH, "on") == "off"


def _is_suited() -> bool:
    return (sys.platform, platform.machine()) == ("linux", "x86_64")


def _ffi_minor() -> int:
    """The minor version of jaxlib's foreign function interface.

    The major version is 0.
    """
    header = Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h"
    version = re.search(r"#define XLA_FFI_API_MINOR (\d+)", header.read_text())
    assert version is not None, header
    return int(version[1])
