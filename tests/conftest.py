"""Every test runs with strict promotion of dtypes and none of ranks, warnings as errors, and several CPU devices."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_FLAGS = os.environ.get("XLA_FLAGS", "").split()
if not any("optimization_level" in flag for flag in _FLAGS):  # most of a test's time is LLVM's, for code that runs once
    _FLAGS.append("--xla_backend_optimization_level=0")
os.environ["XLA_FLAGS"] = " ".join([*_FLAGS, "--xla_force_host_platform_device_count=4"])
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAXCNN_NATIVE"] = "off"  # most tests are of the rules in JAX; those of the backend ask for it
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # compile once for all processes of this run, and for no other run
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jaxcnn-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from jax.experimental.compilation_cache import compilation_cache  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
_KEEPING = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs", "jax_enable_compilation_cache")


@pytest.fixture(autouse=True, scope="session")
def one_device():
    """What does not ask for several devices runs on one."""
    jax.config.update("jax_default_device", jax.devices()[0])


@pytest.fixture(autouse=True)
def one_compilation_cache():
    """A test that keeps what it compiles elsewhere, or nowhere, does so alone."""
    before = {name: jax.config.values[name] for name in _KEEPING}
    yield
    if before != {name: jax.config.values[name] for name in _KEEPING}:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


@pytest.fixture
def random() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture
def float64():
    """Lets a test compute in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that want it are skipped where it is not given."""
    folder = os.environ.get("JAXCNN_DATA_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("JAXCNN_DATA_DIR does not name a folder")
    return Path(folder)
