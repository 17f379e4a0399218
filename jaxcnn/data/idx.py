"""The IDX format of the MNIST files: big-endian magic, sizes, then bytes."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


def read_idx(path: str | Path) -> np.ndarray:
    """Reads a file of unsigned bytes, gzipped or plain.

    Args:
      path: the file; whether it is gzipped is read from its first bytes, not from its name.

    Returns:
      A uint8 array of the shape that the header gives.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is damaged, truncated, too long, or not IDX of unsigned bytes.

    Source: http://yann.lecun.com/exdb/mnist, "the IDX file format".
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from None
    if content.startswith(_GZIP_MAGIC):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} must be a whole gzip file; it is damaged or truncated ({error}).") from None
    if len(content) < 4 or content[:2] != b"\0\0":
        raise ValueError(f"{path} must begin with the IDX magic 00 00; got {content[:2].hex(' ') or 'nothing'}.")
    kind, rank = content[2], content[3]
    if kind != _UNSIGNED_BYTE:
        raise ValueError(f"{path} must hold unsigned bytes, IDX type 08; got type {kind:02x}.")
    header = 4 + 4 * rank
    if len(content) < header:
        raise ValueError(f"{path} must have a header of {header} bytes; got {len(content)} bytes in all.")
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise ValueError(f"{path} must have {expected} bytes for shape {shape}; got {len(content)}.")
    try:
        return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
    except ValueError as error:  # sizes of which one is 0, but the others are beyond NumPy
        raise ValueError(f"{path} must have a shape that NumPy can hold; got {shape} ({error}).") from None
