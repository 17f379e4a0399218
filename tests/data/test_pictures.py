"""Picture files of every kind arrive in the network's shape, and the changes are told."""

import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxcnn.data import read_picture
from jaxcnn.data.pictures import decode_picture

GRAY, COLOR = (4, 6, 1), (4, 6, 3)


def saved(tmp_path, image: Image.Image, name: str = "picture.png", **options) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def filled(mode: str, value) -> Image.Image:
    return Image.new(mode, (6, 4), value)


@pytest.mark.parametrize(
    ("mode", "value", "expected", "changes"),
    [
        ("L", 77, 77, ()),
        ("1", 1, 255, ()),
        ("RGB", (255, 0, 0), 76, ("color made gray",)),
        ("RGBA", (10, 10, 10, 0), 255, ("transparency on white", "color made gray")),
        ("RGBA", (40, 40, 40, 255), 40, ("transparency on white", "color made gray")),
        ("LA", (40, 0), 255, ("transparency on white",)),
        ("LA", (40, 255), 40, ("transparency on white",)),
        ("I;16", 65535, 255, ("16-bit scaled to 8",)),
        ("I;16", 257 * 100, 100, ("16-bit scaled to 8",)),
        ("I;16", 256, 1, ("16-bit scaled to 8",)),
    ],
    ids=str,
)
def test_every_mode_becomes_gray(tmp_path, mode, value, expected, changes):
    found = read_picture(saved(tmp_path, filled(mode, value)), GRAY)
    np.testing.assert_array_equal(found.pixels, np.full(GRAY, expected, np.uint8), strict=True)
    assert found.changes == changes


@pytest.mark.parametrize(
    ("mode", "value", "expected", "changes"),
    [
        ("RGB", (1, 2, 3), (1, 2, 3), ()),
        ("L", 77, (77, 77, 77), ("gray made color",)),
        ("1", 0, (0, 0, 0), ("gray made color",)),
        ("RGBA", (9, 9, 9, 0), (255, 255, 255), ("transparency on white",)),
        ("RGBA", (0, 100, 200, 255), (0, 100, 200), ("transparency on white",)),
        ("I;16", 257 * 100, (100, 100, 100), ("16-bit scaled to 8", "gray made color")),
    ],
    ids=str,
)
def test_every_mode_becomes_color(tmp_path, mode, value, expected, changes):
    found = read_picture(saved(tmp_path, filled(mode, value)), COLOR)
    np.testing.assert_array_equal(found.pixels, np.broadcast_to(np.array(expected, np.uint8), COLOR), strict=True)
    assert found.changes == changes


def palette_picture() -> Image.Image:
    image = filled("P", 1)
    image.putpalette([0, 0, 0, 250, 20, 30])
    return image


def test_a_palette_is_looked_up(tmp_path):
    found = read_picture(saved(tmp_path, palette_picture()), COLOR)
    np.testing.assert_array_equal(found.pixels[0, 0], (250, 20, 30))
    assert found.changes == ()


def test_a_transparent_palette_entry_lies_on_white(tmp_path):
    found = read_picture(saved(tmp_path, palette_picture(), transparency=1), COLOR)
    np.testing.assert_array_equal(found.pixels, np.full(COLOR, 255))
    assert found.changes == ("transparency on white",)


def test_half_transparency_mixes_with_white(tmp_path):
    found = read_picture(saved(tmp_path, filled("RGBA", (0, 0, 0, 51))), GRAY)
    np.testing.assert_allclose(found.pixels, 0.8 * 255, atol=1)


def test_sixteen_bits_keep_their_order(tmp_path):
    values = (np.arange(24).reshape(4, 6) * 2849).astype(np.uint16)
    found = read_picture(saved(tmp_path, Image.fromarray(values)), GRAY)
    np.testing.assert_array_equal(found.pixels[..., 0], np.rint(values / 257))


ASYMMETRIC = (np.arange(24).reshape(4, 6) * 10).astype(np.uint8)
TURNS = {
    1: ASYMMETRIC,
    2: ASYMMETRIC[:, ::-1],
    3: ASYMMETRIC[::-1, ::-1],
    4: ASYMMETRIC[::-1],
    5: ASYMMETRIC.T,
    6: np.rot90(ASYMMETRIC, -1),
    7: ASYMMETRIC[::-1, ::-1].T,
    8: np.rot90(ASYMMETRIC),
}


@pytest.mark.parametrize("orientation", TURNS)
def test_a_turned_photograph_is_read_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(tmp_path, Image.fromarray(ASYMMETRIC), exif=exif)
    upright = TURNS[orientation]
    np.testing.assert_array_equal(read_picture(file, (*upright.shape, 1)).pixels[..., 0], upright)


def test_another_size_is_resized_and_told(tmp_path):
    ramp = np.repeat(np.linspace(0, 255, 60).astype(np.uint8)[None], 40, 0)
    found = read_picture(saved(tmp_path, Image.fromarray(ramp)), GRAY)
    assert found.pixels.shape == GRAY
    assert found.changes == ("60x40 resized to 6x4",)
    blocks = ramp.reshape(4, 10, 6, 10).mean((1, 3))
    np.testing.assert_allclose(found.pixels[..., 0], blocks, atol=8)


def test_inverting_exchanges_light_and_dark(tmp_path):
    file = saved(tmp_path, Image.fromarray(ASYMMETRIC))
    plain, turned = read_picture(file, GRAY), read_picture(file, GRAY, invert=True)
    np.testing.assert_array_equal(turned.pixels, 255 - plain.pixels)
    assert turned.changes == (*plain.changes, "inverted")


def test_a_path_may_be_a_string_and_the_shape_a_list(tmp_path):
    file = saved(tmp_path, Image.fromarray(ASYMMETRIC))
    np.testing.assert_array_equal(read_picture(str(file), list(GRAY)).pixels[..., 0], ASYMMETRIC)


@pytest.mark.parametrize("name", ["picture.jpg", "picture.bmp", "picture.gif", "picture.tiff", "picture.webp"])
def test_every_common_format_is_read(tmp_path, name):
    found = read_picture(saved(tmp_path, filled("RGB", (200, 200, 200)), name), GRAY)
    np.testing.assert_allclose(found.pixels, 200, atol=2)


def test_a_missing_file_is_not_found(tmp_path, one_sentence):
    with pytest.raises(FileNotFoundError) as caught:
        read_picture(tmp_path / "missing.png", GRAY)
    one_sentence(caught.value, tmp_path / "missing.png")


def test_a_folder_is_no_picture(tmp_path, one_sentence):
    with pytest.raises(ValueError) as caught:
        read_picture(tmp_path, GRAY)
    one_sentence(caught.value, tmp_path)


def png_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        noise = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
        return saved(Path(folder), Image.fromarray(noise)).read_bytes()


PNG = png_bytes()


def claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims another size."""
    chunk = b"IHDR" + struct.pack(">II", width, height) + PNG[24:29]
    return PNG[:8] + PNG[8:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + PNG[33:]


@pytest.mark.parametrize(
    "content",
    [b"", b"a line of text\n", PNG[:8], PNG[:40], PNG[: len(PNG) // 2], claiming(1 << 15, 1 << 15)],
    ids=["empty", "text", "signature alone", "cut header", "cut data", "claims a gigapixel"],
)
def test_what_is_no_whole_picture_is_refused_in_one_sentence(tmp_path, content, one_sentence):
    file = tmp_path / "picture.png"
    file.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_picture(file, GRAY)
    one_sentence(caught.value, file)


def test_colors_that_cannot_be_converted_are_refused_in_one_sentence(tmp_path, one_sentence):
    file = saved(tmp_path, filled("LAB", (100, 100, 100)), "picture.tiff")
    with pytest.raises(ValueError) as caught:
        read_picture(file, GRAY)
    one_sentence(caught.value, file)


@given(st.integers(0, len(PNG) - 1), st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_a_damaged_picture_is_read_or_refused_by_name(position, change):
    damaged = bytearray(PNG)
    damaged[position] ^= change
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture.png"
        file.write_bytes(bytes(damaged))
        try:
            assert read_picture(file, GRAY).pixels.shape == GRAY
        except ValueError as error:
            assert str(file) in str(error)


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (64, 64), (37, 53)], ids=str)
def test_the_middle_is_what_data_sets_of_photographs_show(tmp_path, size):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    file = saved(tmp_path, Image.fromarray(noise), "picture.jpg", quality=95)
    found = read_picture(file, (16, 16, 3), cut=True)
    np.testing.assert_array_equal(found.pixels, decode_picture(str(file), "it", 16))
    middle = ", the middle" if size[0] != size[1] else ""
    assert found.changes == (f"{size[0]}x{size[1]} resized to 16x16{middle}",)


@pytest.mark.parametrize("shape", [(6, 4, 3), (4, 6, 3)], ids=str)
def test_the_middle_keeps_the_proportions(tmp_path, shape):
    """A square of two halves is cut at the top and bottom, or at the sides, and not squeezed."""
    halves = np.zeros((120, 120, 3), np.uint8)
    halves[:, 60:] = 200
    halves[:18] = halves[-18:] = 90
    found = read_picture(saved(tmp_path, Image.fromarray(halves)), shape, cut=True).pixels
    assert (found[0, 0, 0] > 45) == (shape[0] > shape[1])
    assert found[shape[0] // 2, 0, 0] < 20 and found[shape[0] // 2, -1, 0] > 180


def test_a_turned_photograph_that_is_decoded_smaller_tells_its_own_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = saved(tmp_path, Image.fromarray(np.zeros((400, 600, 3), np.uint8)), "picture.jpg", exif=exif)
    assert read_picture(file, (16, 16, 3), cut=True).changes == ("400x600 resized to 16x16, the middle",)
