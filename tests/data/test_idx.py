"""IDX files: whole ones come back as written, damaged ones are refused in one sentence that names the file."""

import gzip
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.data import read_idx


def idx_bytes(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 0x08, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def header(*sizes: int) -> bytes:
    return bytes([0, 0, 0x08, len(sizes)]) + b"".join(size.to_bytes(4, "big") for size in sizes)


WHOLE = idx_bytes(np.arange(24).reshape(2, 3, 4))
PACKED = gzip.compress(WHOLE)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("shape", [(0,), (5,), (2, 3, 4), (0, 28, 28), (1, 1, 1, 1, 1)], ids=str)
def test_a_written_file_comes_back(tmp_path, random, shape, pack):
    array = random.integers(0, 256, shape).astype(np.uint8)
    file = tmp_path / "any-name"
    file.write_bytes(pack(idx_bytes(array)))
    found = read_idx(file)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array, strict=True)


def test_a_path_may_be_a_string(tmp_path):
    (tmp_path / "file").write_bytes(WHOLE)
    assert read_idx(str(tmp_path / "file")).shape == (2, 3, 4)


def test_compression_is_told_by_content_not_by_name(tmp_path):
    (tmp_path / "packed").write_bytes(PACKED)
    (tmp_path / "plain.gz").write_bytes(WHOLE)
    np.testing.assert_array_equal(read_idx(tmp_path / "packed"), read_idx(tmp_path / "plain.gz"))


DAMAGED = {
    "empty": (b"", "magic 00 00; got nothing"),
    "one byte": (WHOLE[:1], "magic 00 00; got 00"),
    "wrong magic": (b"\x01" + WHOLE[1:], "magic 00 00; got 01 00"),
    "floats": (WHOLE[:2] + b"\x0d" + WHOLE[3:], "got type 0d"),
    "header cut": (WHOLE[:9], "header of 16 bytes; got 9"),
    "data cut": (WHOLE[:-1], "40 bytes for shape (2, 3, 4); got 39"),
    "no data": (WHOLE[:16], "40 bytes for shape (2, 3, 4); got 16"),
    "too long": (WHOLE + b"\0", "40 bytes for shape (2, 3, 4); got more than 40"),
    "a text": (b"label,pixel0\n", "magic 00 00"),
    "gzip cut": (PACKED[:-9], "whole gzip file"),
    "gzip header cut": (PACKED[:5], "whole gzip file"),
    "gzip tail cut": (PACKED[:-1], "whole gzip file"),
    "gzip checksum wrong": (PACKED[:-8] + bytes(4) + PACKED[-4:], "whole gzip file"),
    "gzip of nothing": (gzip.compress(b""), "got nothing"),
    "gzip of a cut file": (gzip.compress(WHOLE[:-1]), "got 39"),
    "more axes than an array has": (header(*[1] * 65) + b"\0", "65"),
    "larger than memory has addresses": (header(0, *[2**32 - 1] * 3), "4294967295"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_is_one_sentence_that_names_the_file(tmp_path, kind, one_sentence):
    content, part = DAMAGED[kind]
    file = tmp_path / "train-images"
    file.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_idx(file)
    one_sentence(caught.value, file)
    assert part in str(caught.value)


@pytest.mark.parametrize("name", ["missing", "folder/missing"])
def test_a_missing_file_is_not_found(tmp_path, name, one_sentence):
    with pytest.raises(FileNotFoundError) as caught:
        read_idx(tmp_path / name)
    one_sentence(caught.value, tmp_path / name)


def test_a_folder_is_no_file(tmp_path, one_sentence):
    with pytest.raises(ValueError, match="cannot be read") as caught:
        read_idx(tmp_path)
    one_sentence(caught.value, tmp_path)


def read_bytes(content: bytes) -> np.ndarray | None:
    """What `read_idx` makes of a file of these bytes; None if it refuses it. Any other error is let through."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        file.write_bytes(content)
        try:
            return read_idx(file)
        except ValueError as error:
            assert str(file) in str(error)
            return None


@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda tail: b"\0\0\x08" + tail))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused(content):
    found = read_bytes(content)
    if found is not None and not content.startswith(b"\x1f\x8b"):
        assert idx_bytes(found) == content


@given(st.sampled_from([WHOLE, PACKED]), st.data())
@settings(max_examples=200, deadline=None)
def test_every_truncation_is_refused(content, data):
    assert read_bytes(content[: data.draw(st.integers(0, len(content) - 1))]) is None


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_changes_at_most_the_values(data):
    position, byte = data.draw(st.integers(0, len(WHOLE) - 1)), data.draw(st.integers(0, 255))
    found = read_bytes(WHOLE[:position] + bytes([byte]) + WHOLE[position + 1 :])
    if position >= 16:
        assert found is not None and found.shape == (2, 3, 4)
    elif found is not None:
        assert math.prod(found.shape) == 24 or byte == WHOLE[position]


@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_a_damaged_archive_never_gives_other_values(position, change):
    damaged = bytearray(PACKED)
    damaged[position] ^= change
    found = read_bytes(bytes(damaged))
    assert found is None or idx_bytes(found) == WHOLE


def test_a_file_that_unpacks_to_more_than_it_says_is_refused_unread(tmp_path, monkeypatch):
    file = tmp_path / "train-images"
    with gzip.open(file, "wb", compresslevel=1) as packed:
        packed.write(WHOLE)
        for _ in range(64):
            packed.write(bytes(1 << 20))
    read = []
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda self, size=-1, plain=gzip.GzipFile.read: _noted(read, plain(self, size))
    )
    with pytest.raises(ValueError, match="must have 40 bytes .* got more than 40"):
        read_idx(file)
    assert sum(read) <= 41


def _noted(lengths: list[int], content: bytes) -> bytes:
    lengths.append(len(content))
    return content


def test_a_header_that_promises_more_than_memory_takes_none(tmp_path):
    file = tmp_path / "train-images"
    file.write_bytes(header(2**31, 2**31) + b"\1")
    with pytest.raises(ValueError, match=r"must have 4611686018427387916 bytes .* got 13\."):
        read_idx(file)
