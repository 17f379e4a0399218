"""Pictures for trained networks: resized and cut as torchvision and timm do it, to one gray level."""

import dataclasses
import json
import math

import numpy as np
import pytest
from PIL import Image

from jaxcnn import data
from jaxcnn.data import Preprocessing

KERNELS = {
    "bilinear": (1.0, lambda x: np.maximum(0, 1 - np.abs(x))),
    "bicubic": (
        2.0,  # Keys 1981 with a = -0.5
        lambda x: np.where(
            np.abs(x) < 1,
            (1.5 * np.abs(x) - 2.5) * x**2 + 1,
            np.where(np.abs(x) < 2, -0.5 * (np.abs(x) ** 3 - 5 * x**2 + 8 * np.abs(x) - 4), 0),
        ),
    ),
}


def weights(size, wanted, interpolation):
    """The matrix (wanted, size) of an antialiased resize: the kernel is as much wider as the picture gets smaller."""
    support, kernel = KERNELS[interpolation]
    scale = size / wanted
    wide = max(scale, 1.0)
    matrix = np.zeros((wanted, size))
    for row in range(wanted):
        center = (row + 0.5) * scale
        first, last = max(0, int(center - support * wide + 0.5)), min(size, int(center + support * wide + 0.5))
        found = kernel((np.arange(first, last) + 0.5 - center) / wide)
        matrix[row, first:last] = found / found.sum()
    return matrix


def passed(pixels, matrix, axis):
    """One pass of a resize, after which Pillow keeps bytes."""
    found = np.moveaxis(np.tensordot(matrix, pixels, (1, axis)), 0, axis)
    return np.clip(np.floor(found + 0.5), 0, 255)


def expected(pixels, told):
    """The same in float64, after torchvision's documentation, with the two passes in both orders.

    Pillow's order depends on its version and the sizes; with bicubic kernels it matters, as bytes are cut off between.
    """
    height, width, _ = pixels.shape
    sides = [int(told.resize * side / min(height, width)) for side in (height, width)]  # the longer is rounded down
    matrices = [weights(old, new, told.interpolation) for old, new in zip((height, width), sides, strict=True)]
    top, left = (round((side - wanted) / 2) for side, wanted in zip(sides, told.size, strict=True))
    for first in (0, 1):
        whole = passed(passed(pixels.astype(float), matrices[first], first), matrices[1 - first], 1 - first)
        yield whole[top : top + told.size[0], left : left + told.size[1]]


def opened(path):
    with Image.open(path) as file:
        return file.convert("RGB")


def odd_pictures(count):
    """Pictures with edges and smooth parts, of odd sizes from thumbnails to photographs."""
    draw = np.random.default_rng(0)
    for number in range(count):
        height, width = (int(side) for side in draw.integers(19, 163, 2) * 2 + 1)
        y, x = np.mgrid[:height, :width] / (7 + number)
        waves = [127 + 120 * np.sin(y * a + x * b) for a, b in draw.normal(size=(3, 2))]
        noise = draw.integers(0, 256, (height, width, 3)) * (draw.random((height, width, 1)) < 0.1)
        yield np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("interpolation", KERNELS)
def test_fifty_pictures_of_odd_sizes_are_resized_and_cut_as_computed_by_hand(interpolation):
    told = Preprocessing((64, 64), 73, interpolation)
    worst = 0.0
    for pixels in odd_pictures(50):
        found = told.fit(Image.fromarray(pixels))
        assert found.shape == (64, 64, 3) and found.dtype == np.uint8
        worst = max(worst, min(np.abs(found - wanted).max() for wanted in expected(pixels, told)))
    assert worst <= 1.0


@pytest.mark.parametrize("interpolation", KERNELS)
def test_it_is_what_torchvision_does(interpolation):
    try:
        from torchvision import transforms
    except (ImportError, RuntimeError) as error:  # the second where it was built for another PyTorch
        pytest.skip(f"torchvision is not at hand: {error}")
    told = Preprocessing((64, 64), 73, interpolation)
    mode = transforms.InterpolationMode(interpolation)
    theirs = transforms.Compose([transforms.Resize(73, interpolation=mode), transforms.CenterCrop(64)])
    for pixels in odd_pictures(50):
        image = Image.fromarray(pixels)
        np.testing.assert_array_equal(told.fit(image), np.asarray(theirs(image)))


def test_files_are_read_so(tmp_path):
    told = Preprocessing((32, 32), 36, "bicubic")
    for place, pixels in enumerate(odd_pictures(4)):
        folder = tmp_path / "train" / "ab"[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{place}.png")
    wanted = [told.fit(opened(path)) for path in sorted((tmp_path / "train").rglob("*.png"))]
    for stream in (False, True):
        found = data.load(f"folder:{tmp_path}", "train", stream=stream, image_size=told)
        np.testing.assert_array_equal(np.asarray(found.images), wanted)
    path = tmp_path / "train" / "a" / "0.png"
    read = data.read_picture(path, (32, 32, 3), preprocessing=told)
    np.testing.assert_array_equal(read.pixels, wanted[0])
    width, height = opened(path).size
    inputs = data.read_inputs([path], dataclasses.asdict(told))
    np.testing.assert_allclose(inputs[0], data.Scaling(told.mean, told.std)(wanted[0]), atol=1e-6)
    assert data.read_inputs([], told).shape == (0, 32, 32, 3)
    assert read.changes == (f"{width}x{height} resized to 32x32, the middle",)


@pytest.mark.parametrize("stream", [False, True])
def test_gray_pictures_have_three_channels_for_a_network_that_was_trained_in_color(tmp_path, stream):
    for place in range(4):
        (tmp_path / "train" / "ab"[place % 2]).mkdir(parents=True, exist_ok=True)
        gray = Image.fromarray(next(odd_pictures(1))[..., 0])
        gray.save(tmp_path / "train" / "ab"[place % 2] / f"{place}.png")
    for told, channels in ((Preprocessing((8, 8), 9), 3), (Preprocessing((8, 8), 9, mean=(0.5,), std=(0.5,)), 1)):
        found = data.load(f"folder:{tmp_path}", "train", stream=stream, image_size=told)
        assert np.asarray(found.images).shape == (4, 8, 8, channels)


def test_a_jpeg_is_decoded_in_full(tmp_path):
    """Decoded in halves, as for data sets, it would differ from timm's by more than a level."""
    pixels = next(odd_pictures(1)).repeat(4, 0).repeat(4, 1)
    Image.fromarray(pixels).save(tmp_path / "x.jpg", quality=95)
    told = Preprocessing((48, 48), 50)
    wanted = told.fit(opened(tmp_path / "x.jpg"))
    np.testing.assert_array_equal(data.read_picture(tmp_path / "x.jpg", (48, 48, 3), preprocessing=told).pixels, wanted)


def test_it_survives_json_and_other_sizes():
    told = Preprocessing((224, 224), math.floor(224 / 0.875))
    assert Preprocessing.of(json.loads(json.dumps(dataclasses.asdict(told)))) == told
    assert told.with_size(288, 0.95).resize == 303 and told.with_size(112).resize == 128


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"size": (0, 4)}, "`size` must be a height and a width in pixels; got (0, 4)."),
        ({"resize": 3}, "`resize` must be at least the size that is cut out, (4, 4); got 3."),
        (
            {"interpolation": "cubic"},
            "`interpolation` must be one of nearest, bilinear, bicubic, lanczos; got 'cubic'.",
        ),
        ({"std": (1, 0, 1)}, "`std` must be positive, one for each mean; got (1, 0, 1)"),
        ({"crop": 1}, "`preprocessing` must have size, resize, interpolation, mean, std; got size, resize, crop."),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(change, part):
    with pytest.raises(ValueError) as refused:
        Preprocessing.of({"size": (4, 4), "resize": 5, **change})
    assert part in str(refused.value)
