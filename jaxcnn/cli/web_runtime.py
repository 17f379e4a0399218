"""Finds ONNX Runtime Web, which runs networks in a browser.

It is the npm package `onnxruntime-web`.
"""

import re
import tarfile
import zlib
from pathlib import Path

from jaxcnn.export.web_page import Runtime
from jaxcnn.weights.urls import cache_folder, from_url

# The newest version when this was written. Its one WebAssembly program runs on one thread, as a page from a file must.
URL = "https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
_SCRIPT, _PROGRAM = "dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"
_VERSION = re.compile(rb"ONNX Runtime Web v(\S+)")


def web_runtime(path: Path | None = None) -> Runtime:
    """Reads the files that run a network in a browser.

    Args:
      path: the package's archive, or its unpacked folder; None means version 1.30.0, which is downloaded once.

    Returns:
      The files.

    Raises:
      FileNotFoundError: if there is no such path; or downloads are forbidden, and it was not downloaded before.
      ConnectionError: if it cannot be downloaded.
      ValueError: if it has another digest than the published file, or is not this package.
    """
    if path is None:
        try:
            path, _ = from_url(f"{URL}#sha256={SHA256}", cache_folder().with_name("runtimes"))
        except (ConnectionError, FileNotFoundError) as error:
            message = f"{str(error).rstrip('.')}; give `runtime`, if you have the file."
            raise type(error)(message) from None
    if not path.exists():
        raise FileNotFoundError(f"`runtime` must be the npm package onnxruntime-web; {path} does not exist.")
    script, program = _in_folder(path) if path.is_dir() else _in_archive(path)
    version = _VERSION.search(script[:1000])
    if version is None or not program.startswith(b"\0asm"):
        raise ValueError(f"`runtime` must be the npm package onnxruntime-web; the files in {path} are others.")
    return Runtime(version[1].decode(), script, program)


def _in_folder(folder: Path) -> tuple[bytes, ...]:
    place = next((each for each in (folder, folder / "package", folder.parent) if (each / _SCRIPT).is_file()), folder)
    for name in (_SCRIPT, _PROGRAM):
        if not (place / name).is_file():
            raise _lacking(folder, name)
    return tuple((place / name).read_bytes() for name in (_SCRIPT, _PROGRAM))


def _in_archive(file: Path) -> tuple[bytes, ...]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(file, "r:gz") as archive:
            for member in archive:
                name = member.name.partition("/")[2]
                if name in (_SCRIPT, _PROGRAM) and (content := archive.extractfile(member)) is not None:
                    found[name] = content.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ValueError(f"`runtime` must be the archive of an npm package; reading {file} failed: {error}.") from None
    for name in (_SCRIPT, _PROGRAM):
        if name not in found:
            raise _lacking(file, name)
    return found[_SCRIPT], found[_PROGRAM]


def _lacking(path: Path, name: str) -> ValueError:
    return ValueError(f"`runtime` must be the npm package onnxruntime-web with {name}; {path} lacks it.")
