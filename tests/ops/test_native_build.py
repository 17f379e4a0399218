"""Whether the backend is there, and what is said where it is not."""

import shutil
import subprocess
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from jaxcnn import ops
from jaxcnn.ops import native
from jaxcnn.ops.native import backend


@pytest.fixture
def at(monkeypatch, tmp_path):
    """A place without the library, for a machine that has a backend."""
    monkeypatch.setattr(backend, "sys", SimpleNamespace(platform="linux"))
    monkeypatch.setattr(backend.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(backend, "LIBRARY", tmp_path / "jaxcnn" / "ops" / "native" / "library.so")
    monkeypatch.setattr(backend, "NOT_BUILT", tmp_path / "jaxcnn" / "ops" / "native" / "not_built.txt")
    backend.LIBRARY.parent.mkdir(parents=True)
    backend._loaded.cache_clear()
    backend.active.cache_clear()
    yield backend.LIBRARY.parent
    backend._loaded.cache_clear()
    backend.active.cache_clear()


def expect(reason, monkeypatch, advice=True):
    monkeypatch.setenv("JAXCNN_NATIVE", "on")
    assert native.missing() == (reason if advice else None)
    monkeypatch.setenv("JAXCNN_NATIVE", "off")
    assert native.missing() is None
    assert native.reason() == f"not active: {reason}"
    assert not native.available() and not native.active()
    with pytest.raises(RuntimeError) as caught:
        ops.conv(jnp.ones((1, 3, 3, 1)), jnp.ones((2, 2, 1, 1)), padding="VALID", method="native")
    assert str(caught.value) == f"the C++ backend is not available: {reason}"
    assert ops.conv(jnp.ones((1, 3, 3, 1)), jnp.ones((2, 2, 1, 1)), padding="VALID").shape == (1, 2, 2, 1)


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("linux", "aarch64"), ("win32", "AMD64")])
def test_on_another_platform(at, monkeypatch, system, machine):
    monkeypatch.setattr(backend, "sys", SimpleNamespace(platform=system))
    monkeypatch.setattr(backend.platform, "machine", lambda: machine)
    expect(f"it is for Linux on x86_64, and this is {system} on {machine}.", monkeypatch, advice=False)


def test_where_there_are_only_sources(at, monkeypatch):
    root = at.parents[2]
    expect(f"{root} holds only sources; pip install -e {root} builds it there.", monkeypatch)


def test_where_its_build_failed(at, monkeypatch):
    (at / "not_built.txt").write_text("its build failed when jaxcnn was installed: no such thing.\n")
    expect("its build failed when jaxcnn was installed: no such thing.", monkeypatch)


@pytest.mark.parametrize("content", [b"", b"no library"], ids=["empty", "text"])
def test_where_its_library_is_damaged(at, content):
    backend.LIBRARY.write_bytes(content)
    assert native.reason().startswith("not active: its library does not load (")
    assert native.reason().endswith("; install jaxcnn again with --force-reinstall --no-cache-dir.")
    assert not native.available()


def put_library(minor):
    """Compiles a library that has no function but the one that tells for which version it is."""
    compiler = shutil.which("g++") or pytest.skip("g++ is not installed")
    source = f'extern "C" int jaxcnn_ffi_minor() {{ return {minor}; }}\n'
    command = [compiler, "-shared", "-fPIC", "-x", "c++", "-", "-o", str(backend.LIBRARY)]
    subprocess.run(command, input=source, text=True, check=True)


def test_a_library_without_our_functions(at):
    put_library(0)
    assert "undefined symbol" in native.reason() and not native.available()


def test_a_library_for_a_newer_jaxlib_is_not_registered(at, monkeypatch):
    """XLA would refuse it at the first computation, and the process would have no CPU."""
    put_library(9999)
    here = f"jaxlib {backend.metadata.version('jaxlib')} has 0.{backend._ffi_minor()}; pip install -U jax."
    expect(f"it was built for version 0.9999 of XLA's foreign function interface, and {here}", monkeypatch)


def test_it_says_so_where_it_is_there(built, tmp_path):
    code = "from jaxcnn.ops import native; print(native.active(), native.reason())"
    for switch, expected in (
        ("on", "True active: C++ with oneDNN 3.2.0.\n"),
        ("off", "False not active: the environment variable JAXCNN_NATIVE is off.\n"),
    ):
        environment = backend.os.environ | {"JAXCNN_NATIVE": switch, "PYTHONPATH": backend.os.pathsep.join(sys.path)}
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path
        )
        assert found.stdout == expected, found.stderr
