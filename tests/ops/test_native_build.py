"""The backend's build and where it is kept: whole, by its user alone, and else built again or refused."""

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import jax.numpy as jnp
import pytest

from jaxcnn import ops
from jaxcnn.ops import native
from jaxcnn.ops.native import backend


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """An empty cache, and a way of putting a script in the compiler's place."""
    if (sys.platform, backend.platform.machine()) != ("linux", "x86_64"):
        pytest.skip("the backend is for Linux on x86_64")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(backend.jax.ffi, "register_ffi_target", lambda *args, **more: None)  # XLA would call them
    monkeypatch.setattr(backend, "_installed", lambda *names: (tmp_path / "a" / "b" / "c" / "d", "1.0"))

    def compiler(body):
        script = tmp_path / "compiler"
        script.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "fake 1.0" && exit 0\n{body}\n')
        script.chmod(0o755)
        monkeypatch.setenv("CXX", str(script))
        backend._parts.cache_clear()
        return tmp_path / "cache" / "jaxcnn"

    yield compiler
    backend._parts.cache_clear()


@pytest.fixture
def stub():
    """Makes a library of functions that do nothing, by their names."""

    def make(file, names):
        source = "".join(f'extern "C" void {name}() {{}}\n' for name in (*names, "jaxcnn_onednn_implementation"))
        try:
            command = ["g++", "-shared", "-fPIC", "-x", "c++", "-", "-o", str(file)]
            subprocess.run(command, input=source, text=True, check=True)
        except OSError:
            pytest.skip("g++ is not installed")
        return file

    return make


@pytest.fixture
def compiled(tmp_path, stub):
    """What a compiler would make of the sources: all their functions."""
    return stub(tmp_path / "compiled.so", backend.TARGETS)


def test_a_failed_build_names_the_error_and_the_log(elsewhere):
    cache = elsewhere("echo note: hm >&2; echo conv.cc:7: error: no such thing >&2; exit 1")
    with pytest.raises(RuntimeError, match=r"does not compile: conv.cc:7: error: no such thing; the log is .*\.log\.$"):
        native.build()
    (log,) = cache.iterdir()
    assert "note: hm" in log.read_text() and not native.available()


def test_several_builds_at_once_leave_one_file(elsewhere, compiled, monkeypatch):
    cache = elsewhere(f'sleep 0.2; for last; do :; done; cp {compiled} "$last"')
    threads = [threading.Thread(target=native.build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (output,) = cache.iterdir()
    monkeypatch.setenv("CXX", "no-such-compiler")  # what is built needs none
    assert output.read_bytes() == compiled.read_bytes() and native.build() == output
    assert native.available() and backend.library().jaxcnn_onednn_implementation


@pytest.mark.parametrize("body", ["", "echo built >", "head -c 2000 {} >"], ids=["nothing", "text", "a part"])
def test_a_compiler_that_writes_no_library_fails(elsewhere, compiled, body):
    cache = elsewhere(f"for last; do :; done; {body.format(compiled)} {body and chr(34) + '$last' + chr(34)}")
    with pytest.raises(RuntimeError, match=r"the oneDNN backend is built and does not load: .*; the log is .*\.log\.$"):
        native.build()
    assert [file.suffix for file in cache.iterdir()] == [".log"] and not native.available()


def test_a_library_without_our_functions_is_no_build(elsewhere, tmp_path, stub):
    strange = stub(tmp_path / "strange.so", backend.TARGETS[1:])
    elsewhere(f'for last; do :; done; cp {strange} "$last"')
    with pytest.raises(RuntimeError, match=f"is built and does not load: .*undefined symbol: {backend.CONV}; the log"):
        native.build()
    with pytest.raises(RuntimeError, match=f"is built and does not load: .*undefined symbol: {backend.CONV}; the log"):
        ops.conv(jnp.ones((1, 3, 3, 1)), jnp.ones((2, 2, 1, 1)), method="native")


DAMAGE = {
    "empty": lambda file, stub: file.write_bytes(b""),
    "short": lambda file, stub: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "of one other byte": lambda file, stub: file.write_bytes(file.read_bytes()[:-1] + b"\xff"),
    "of other functions": lambda file, stub: shutil.copy(stub(file.parent / "other", ()), file),
    "a link to nowhere": lambda file, stub: (file.unlink(), file.symlink_to("nowhere")),
    "a pipe": lambda file, stub: (file.unlink(), os.mkfifo(file)),
    "writable by others": lambda file, stub: file.chmod(0o666),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_not_loaded_and_built_again(elsewhere, compiled, stub, damage):
    elsewhere(f'for last; do :; done; cp {compiled} "$last"')
    output = native.build()
    DAMAGE[damage](output, stub)
    assert not native.available()
    assert "jaxcnn doctor --build-onednn" in native.reason()
    assert native.build() == output and output.read_bytes() == compiled.read_bytes()
    assert output.stat().st_mode & 0o777 == 0o700 and native.available()


def test_a_short_library_does_not_end_python(elsewhere, compiled):
    """The real loader, in a process that a bus error may end."""
    elsewhere(f'for last; do :; done; cp {compiled} "$last"')
    output = native.build()
    output.write_bytes(output.read_bytes()[: output.stat().st_size // 2])
    code = f"""if True:
        from pathlib import Path
        import sys
        sys.path.insert(0, {str(Path(backend.__file__).parents[3])!r})
        from jaxcnn.ops.native import available, backend
        backend._installed = lambda *names: (Path({str(backend._parts().library)!r}), "1.0")
        print(available())
    """
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=output.parent)
    assert (found.returncode, found.stdout) == (0, "False\n"), found.stderr


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702], ids=oct)
def test_the_folder_is_its_user_s_alone(elsewhere, compiled, mode):
    cache = elsewhere(f'for last; do :; done; cp {compiled} "$last"')
    before = os.umask(0)
    try:
        output = native.build()
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (cache, output)] == [0o700, 0o700]
    cache.chmod(mode)
    assert not native.available()
    assert re.fullmatch(
        rf"compiled code is loaded only from where its user alone can write; \S*/jaxcnn has mode {mode:04o}: "
        r"jaxcnn doctor --build-onednn makes it right\.",
        native.reason(),
    )
    with pytest.raises(RuntimeError, match=f"has mode {mode:04o}"):
        backend._loaded(backend._parts())
    assert native.build() == output and cache.stat().st_mode & 0o777 == 0o700 and native.available()


@pytest.mark.parametrize("part", ["folder", "file"])
def test_another_user_s_is_never_loaded(elsewhere, compiled, monkeypatch, part):
    cache = elsewhere(f'for last; do :; done; cp {compiled} "$last"')
    output = native.build()
    stranger, found, lstat = cache if part == "folder" else output, type(cache).stat, type(cache).lstat

    def theirs(path, result):
        return os.stat_result((*result[:4], 4321, *result[5:])) if path == stranger else result

    monkeypatch.setattr(type(cache), "stat", lambda path, **options: theirs(path, found(path, **options)))
    monkeypatch.setattr(type(cache), "lstat", lambda path: theirs(path, lstat(path)))
    assert not native.available()
    assert f"{stranger} belongs to user 4321, not to {os.geteuid()}: remove it, or name an" in native.reason()
    with pytest.raises(RuntimeError, match=f"{stranger} belongs to user 4321"):
        backend._loaded(backend._parts())
    if part == "folder":
        with pytest.raises(RuntimeError, match="belongs to user 4321"):
            native.build()
        return
    output.write_bytes(b"theirs")
    stranger = None
    assert native.build() == output and output.read_bytes() == compiled.read_bytes()


def test_a_cache_that_cannot_be_written_is_named(elsewhere, monkeypatch, tmp_path):
    elsewhere("exit 1")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(
        RuntimeError, match=r"is built in .*/file/jaxcnn, which cannot be written: Not a directory; XDG_"
    ):
        native.build()


def test_what_is_missing_is_told_in_one_sentence(elsewhere, monkeypatch):
    elsewhere("exit 1")
    assert native.reason() == "onednn-cpu-gomp 1.0 is there, the backend not yet built: jaxcnn doctor --build-onednn."
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert native.reason().startswith("the oneDNN backend needs a C++ compiler, and 'no-such-compiler' does not run:")
    monkeypatch.undo()
    monkeypatch.setattr(backend.metadata, "distribution", absent)
    backend._parts.cache_clear()
    assert native.reason() == "the oneDNN backend needs onednn-cpu-gomp: pip install 'jaxcnn[onednn]'."
    assert not native.available()
    with pytest.raises(RuntimeError, match=r"needs onednn-cpu-gomp: pip install 'jaxcnn\[onednn\]'\."):
        ops.conv(jnp.ones((1, 3, 3, 1)), jnp.ones((2, 2, 1, 1)), method="native")


def absent(name):
    raise backend.metadata.PackageNotFoundError(name)
