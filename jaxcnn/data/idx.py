"""The IDX format of the MNIST files.

It has a big-endian magic number, sizes, then bytes.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import IO

import numpy as np

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08
_AT_ONCE = 1 << 24  # bytes; a header may promise more than there is memory


def read_idx(path: str | Path) -> np.ndarray:
    """Reads a file of unsigned bytes, gzipped or plain.

    Args:
      path: the file; its first bytes show whether it is gzipped.

    Returns:
      A uint8 array of the shape that the header gives.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is damaged, truncated, too long, or not IDX of unsigned bytes.

    Source: http://yann.lecun.com/exdb/mnist, "the IDX file format".
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            gzipped = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            with gzip.open(file) if gzipped else file as content:
                return _read(content, path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} must be a whole gzip file; it is damaged or truncated ({error}).") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from None


def _read(content: IO[bytes] | gzip.GzipFile, path: Path) -> np.ndarray:
    """Reads the array of a header and its bytes.

    Never reads or unpacks more bytes than the header states.
    """
    start = content.read(4)
    if len(start) < 4 or start[:2] != b"\0\0":
        raise ValueError(f"{path} must begin with the IDX magic 00 00; got {start[:2].hex(' ') or 'nothing'}.")
    kind, rank = start[2], start[3]
    if kind != _UNSIGNED_BYTE:
        raise ValueError(f"{path} must hold unsigned bytes, IDX type 08; got type {kind:02x}.")
    sizes = content.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise ValueError(f"{path} must have a header of {4 + 4 * rank} bytes; got {4 + len(sizes)} bytes in all.")
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, 4 * rank, 4))
    expected = math.prod(shape)
    values = bytearray()
    while len(values) <= expected and (part := content.read(min(_AT_ONCE, expected + 1 - len(values)))):
        values += part
    if len(values) != expected:
        header = 4 + 4 * rank
        length = f"more than {header + expected}" if len(values) > expected else header + len(values)
        raise ValueError(f"{path} must have {header + expected} bytes for shape {shape}; got {length}.")
    try:
        return np.frombuffer(values, np.uint8).reshape(shape)
    except ValueError as error:  # sizes of which one is 0, but the others are beyond NumPy
        raise ValueError(f"{path} must have a shape that NumPy can hold; got {shape} ({error}).") from None
