"""Grays that are no bytes keep their levels, and what a PNG calls transparent lies on white."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcnn.data import read_picture
from jaxcnn.data.pictures import decode_picture

GRAY = (2, 3, 1)
LEVELS = np.array([[0, 63, 126], [189, 252, 255]])


def both(path: Path) -> np.ndarray:
    """The gray levels of a file, which single pictures and folders must read alike."""
    alone, in_folder = read_picture(path, GRAY).pixels[..., 0], decode_picture(str(path), "it")[..., 0]
    np.testing.assert_array_equal(alone, in_folder)
    return alone


@pytest.mark.parametrize(
    ("values", "expected", "change"),
    [
        ((LEVELS / 255).astype(np.float32), LEVELS, "0 to 1 scaled to bytes"),
        ((LEVELS / 255 * 1.0004).astype(np.float32), LEVELS, "0 to 1 scaled to bytes"),
        ((LEVELS + 0.2).astype(np.float32), LEVELS, "numbers rounded to bytes"),
        ((LEVELS * 257).astype(np.float32), LEVELS, "16-bit scaled to 8"),
        (np.minimum(LEVELS, 252).astype(np.int32), np.minimum(LEVELS, 252), "numbers rounded to bytes"),
        ((LEVELS * 257).astype(np.int32), LEVELS, "16-bit scaled to 8"),
        ((LEVELS // 255).astype(np.float32), LEVELS // 255 * 255, "0 to 1 scaled to bytes"),
        (np.zeros((2, 3), np.float32), np.zeros((2, 3)), "0 to 1 scaled to bytes"),
    ],
    ids=["0 to 1", "a little above 1", "bytes as floats", "16 bits as floats", "bytes", "16 bits", "ends", "black"],
)
def test_the_values_of_32_bits_say_what_white_is(tmp_path, values, expected, change):
    path = tmp_path / "deep.tiff"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(both(path), expected)
    assert read_picture(path, GRAY).changes == (change,)


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        (np.array([[-1.0, 0, 1]] * 2, np.float32), "from -1 to 1"),
        (np.array([[0, 1, 1.5]] * 2, np.float32), "from 0 to 1.5"),
        (np.array([[0, 1, np.nan]] * 2, np.float32), "from nan to nan"),
        (np.array([[0, 1, np.inf]] * 2, np.float32), "from 0 to inf"),
        (np.array([[0, 1, 70_000]] * 2, np.int32), "from 0 to 70000"),
        (np.array([[0, 1, -5]] * 2, np.int32), "from -5 to 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_on_no_known_scale_are_refused_with_their_range(tmp_path, values, bounds, one_sentence):
    path = tmp_path / "deep.tiff"
    Image.fromarray(values).save(path)
    for read in (lambda: read_picture(path, GRAY), lambda: decode_picture(str(path), str(path))):
        with pytest.raises(
            ValueError, match=f"grays must be from 0 to 1, to 255 or to 65,535; they are {bounds}"
        ) as it:
            read()
        one_sentence(it.value, path)


def test_twelve_bits_of_a_tiff_reach_white(tmp_path):
    """Written by hand: Pillow reads such files and writes none."""
    path = tmp_path / "twelve.tiff"
    pairs = [(0, 4095), (2048, 1024)]  # two rows; each pair of numbers takes three bytes
    data = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs)
    entries = [
        (256, 3, 2),
        (257, 3, 2),
        (258, 3, 12),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8 + 2 + 12 * 9 + 4),
        (277, 3, 1),
        (278, 3, 2),
        (279, 4, len(data)),
    ]
    fields = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + fields + bytes(4) + data)
    found = read_picture(path, (2, 2, 1))
    np.testing.assert_array_equal(found.pixels[..., 0], [[0, 255], [128, 64]])
    assert found.changes == ("12-bit scaled to 8",)


def png(path: Path, depth: int, kind: int, rows: list[bytes], key: tuple[int, ...]) -> Path:
    """A PNG with a transparent gray or color, 2 pixels wide."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 2, len(rows), depth, kind, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", header), chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)), chunk(b"IDAT", body)]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(
    ("depth", "kind", "row", "key", "expected"),
    [
        (16, 0, struct.pack(">2H", 300, 257 * 80), (300,), [255, 80]),
        (8, 0, bytes([3, 80]), (3,), [255, 80]),
        (4, 0, bytes([0x3A]), (3,), [255, 170]),
        (2, 0, bytes([0b0110_0000]), (1,), [255, 170]),
        (1, 0, bytes([0b0100_0000]), (0,), [255, 255]),
        (16, 2, struct.pack(">6H", 300, 300, 300, *[257 * 80] * 3), (300, 300, 300), [255, 80]),
        (8, 2, bytes([3, 3, 3, 80, 80, 80]), (3, 3, 3), [255, 80]),
    ],
    ids=["16-bit gray", "8-bit gray", "4-bit gray", "2-bit gray", "1-bit gray", "16-bit color", "8-bit color"],
)
def test_what_a_png_calls_transparent_is_white_at_every_depth(tmp_path, depth, kind, row, key, expected):
    path = png(tmp_path / "key.png", depth, kind, [row, row], key)
    found = read_picture(path, (2, 2, 1))
    np.testing.assert_array_equal(found.pixels[..., 0], [expected] * 2)
    assert "transparency on white" in found.changes
    np.testing.assert_array_equal(decode_picture(str(path), "it")[..., 0], [expected] * 2)
