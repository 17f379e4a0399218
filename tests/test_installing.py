"""The wheel that setup.py makes, with a C++ compiler, without one, and with one that fails."""

import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = "jaxcnn/ops/native"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="for Linux on x86_64"),
]


@pytest.fixture
def wheel(tmp_path):
    """Makes a wheel of the checkout, with `$CXX` a script of this text, or a name."""

    def make(compiler):
        if compiler.startswith("#!"):
            script = tmp_path / "compiler"
            script.write_text(compiler)
            script.chmod(0o755)
            compiler = str(script)
        copy = tmp_path / "checkout"  # pip builds in the tree, and others may build there now
        subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True)
        for file in ("setup.py", "pyproject.toml", "MANIFEST.in"):
            (copy / file).write_bytes((ROOT / file).read_bytes())
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(copy)]
        done = subprocess.run(command, env=os.environ | {"CXX": compiler}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (file,) = tmp_path.glob("*.whl")
        return file.name, zipfile.ZipFile(file)

    return make


def test_without_a_compiler_the_wheel_is_for_every_platform(wheel):
    name, content = wheel("no-such-compiler")
    assert name.endswith("-py3-none-any.whl")
    assert not [file for file in content.namelist() if ".so" in file]
    assert content.read(f"{FOLDER}/not_built.txt").decode() == (
        "jaxcnn was installed where no C++ compiler was found (no-such-compiler does not run); install g++, then "
        "install jaxcnn again with --force-reinstall --no-cache-dir.\n"
    )


def test_a_compiler_that_fails_does_not_stop_the_install(wheel):
    name, content = wheel(
        '#!/bin/sh\n[ "$1" = --version ] || { echo "conv.cc:7: error: no such thing" >&2; exit 1; }\n'
    )
    assert name.endswith("-py3-none-any.whl")
    assert not [file for file in content.namelist() if ".so" in file]
    assert content.read(f"{FOLDER}/not_built.txt").decode() == (
        "its build failed when jaxcnn was installed: conv.cc:7: error: no such thing.\n"
    )


def test_one_wheel_holds_the_backend_for_every_python(wheel):
    name, content = wheel(os.environ.get("CXX", "g++"))
    assert name.endswith("-py3-none-linux_x86_64.whl")
    names = {file.removeprefix(f"{FOLDER}/") for file in content.namelist() if file.startswith(FOLDER)}
    assert {"libjaxcnn_native.so", "libdnnl.so.3"} <= names
    assert not {file for file in names if file.endswith((".cc", ".h", ".txt"))}
