"""Builds the C++ backend of `jaxcnn.ops.native` while jaxcnn is installed; pyproject.toml has all else.

The backend is optional. Where it cannot be built, jaxcnn is installed without it, and the reason is kept for
`jaxcnn doctor`. The library is loaded by ctypes, not imported, so that one wheel serves every version of Python.
"""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FOLDER = Path("jaxcnn/ops/native")
LIBRARY, ONEDNN, NOT_BUILT = "libjaxcnn_native.so", "libdnnl.so.3", "not_built.txt"
# The headers of XLA's foreign function interface are those of the oldest jaxlib that is supported: a newer jaxlib runs
# what was compiled with older headers, but not the other way round. A Python for which that one has no wheel gets the
# newest, as it does at run time.
NEEDED = [
    "jaxlib==0.10.0; python_version < '3.15'",
    "jaxlib>=0.10; python_version >= '3.15'",
    "onednn-cpu-gomp==2023.2.0",
    "onednn-devel-cpu-gomp==2023.2.0",
]
HEADERS = {"jaxlib": "xla/ffi/api/ffi.h", "onednn-devel-cpu-gomp": "oneapi/dnnl/dnnl.hpp"}  # one of each distribution
FLAGS = ["-std=c++17", "-O2", "-DNDEBUG", "-fPIC", "-Wno-attributes", "-Wno-ignored-attributes", "-Wno-return-type"]


def trouble() -> str | None:
    """Why the backend cannot be built on Linux on x86_64, in one sentence; None if it can."""
    try:
        subprocess.run([*compiler(), "--version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return (
            f"jaxcnn was installed where no C++ compiler was found ({shlex.join(compiler())} does not run); "
            "install g++, then install jaxcnn again with --force-reinstall --no-cache-dir."
        )
    return None


def compiler() -> list[str]:
    """The C++ compiler's command: `$CXX`, else g++."""
    return shlex.split(os.environ.get("CXX") or "g++")


def installed(distribution: str, name: str) -> Path:
    """A file of a distribution that was installed for this build."""
    for file in metadata.files(distribution) or ():
        if str(file).endswith(name):
            return Path(os.path.normpath(str(file.locate())))
    raise RuntimeError(f"{distribution} has no file {name}")


class BuildNative(build_ext):
    """Compiles the sources side by side, and puts oneDNN's library next to the result."""

    def run(self) -> None:
        """Builds, or writes down why not."""
        place = (Path() if self.inplace else Path(self.build_lib)) / FOLDER
        place.mkdir(parents=True, exist_ok=True)
        clear(place)  # a running process keeps what it has loaded, since nothing is written over
        reason = trouble()
        if reason is None:
            try:
                self.build(place)
            except Exception as error:  # whatever it is, the install goes on without the backend
                traceback.print_exc()
                first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                reason = f"its build failed when jaxcnn was installed: {first.rstrip('.')}."
        if reason is not None:
            clear(place)
            (place / NOT_BUILT).write_text(f"{reason}\n")
            self.warn(f"jaxcnn is built without its C++ backend: {reason}")

    def build(self, place: Path) -> None:
        """Leaves the backend's library and oneDNN's in `place`."""
        objects = Path(self.build_temp) / FOLDER
        objects.mkdir(parents=True, exist_ok=True)
        headers = [f"-I{str(installed(*pair)).removesuffix(pair[1])}" for pair in HEADERS.items()]
        onednn = installed("onednn-cpu-gomp", ONEDNN)
        sources = sorted(FOLDER.glob("*.cc"))

        def compiled(source: Path) -> str:
            output = str(objects / f"{source.stem}.o")
            call([*compiler(), *FLAGS, "-fopenmp", *headers, "-c", str(source), "-o", output])
            return output

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = list(pool.map(compiled, sources))
        shutil.copyfile(onednn, place / ONEDNN)
        call(["strip", "--strip-unneeded", str(place / ONEDNN)])  # 44 MB of 54
        link = ["-shared", "-fopenmp", "-Wl,-rpath,$ORIGIN", "-o", str(place / LIBRARY)]
        call([*compiler(), *parts, str(place / ONEDNN), *link])

    def get_outputs(self) -> list[str]:
        """The files that belong into the wheel."""
        place = Path(self.build_lib) / FOLDER
        return [str(place / name) for name in (LIBRARY, ONEDNN, NOT_BUILT) if (place / name).exists()]

    def get_output_mapping(self) -> dict[str, str]:
        """None is a copy of a source; an editable install has them in place."""
        return {}


def clear(place: Path) -> None:
    """Removes what a build left, whole or in part."""
    for name in (LIBRARY, ONEDNN, NOT_BUILT):
        (place / name).unlink(missing_ok=True)


def call(command: list[str]) -> None:
    """Runs the compiler; raises RuntimeError with its first error."""
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        print(shlex.join(command), found.stdout, found.stderr, sep="\n", file=sys.stderr)
        lines = found.stderr.strip().splitlines() or [f"exit status {found.returncode}"]
        raise RuntimeError(next((line for line in lines if re.search("error", line, re.IGNORECASE)), lines[0]))


class Wheel(bdist_wheel):
    """A wheel for every Python; for one platform if it holds the backend, else for all."""

    def get_tag(self) -> tuple[str, str, str]:
        """The tags of Python, ABI and platform."""
        built = (Path(self.bdist_dir) / FOLDER / LIBRARY).exists()
        return "py3", "none", super().get_tag()[2] if built else "any"


def readme() -> str:
    """README.md, with links that also lead somewhere from a package index."""
    repository = tomllib.loads(Path("pyproject.toml").read_text())["project"]["urls"]["Repository"]
    place = {"": f"{repository}/blob/main/", "!": f"{repository}/raw/main/"}  # of pages, of pictures
    relative = re.compile(r"(!?)(\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)")
    text = Path("README.md").read_text(encoding="utf-8")
    return relative.sub(lambda found: f"{found[1]}{found[2]}({place[found[1]]}{found[3]})", text)


native = {}
if (sys.platform, platform.machine()) == ("linux", "x86_64"):
    native = {
        "ext_modules": [
            Extension("jaxcnn.ops.native.library", [str(source) for source in sorted(FOLDER.glob("*.cc"))])
        ],
        "cmdclass": {"build_ext": BuildNative, "bdist_wheel": Wheel},
        "setup_requires": NEEDED if trouble() is None else [],
    }
setup(long_description=readme(), long_description_content_type="text/markdown", **native)
