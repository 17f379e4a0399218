"""Streamed pictures are those in memory; damaged ones are found, resized ones are square, parts are drawn by class."""

import pickle

import numpy as np
import pytest
from PIL import Image

from jaxcnn import data


def write_folder(root, counts=None, size=(6, 4), suffix=".png"):
    """Noise in color, a folder per class in `train` and `test`."""
    random = np.random.default_rng(0)
    for split, count in (counts or {"train": 7, "test": 3}).items():
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number:03}{suffix}")
    return f"folder:{root}"


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path)


def test_a_stream_gives_what_an_array_gives(folder):
    array, stream = (data.load(folder, "train", stream=stream) for stream in (False, True))
    assert isinstance(array.images, np.ndarray) and isinstance(stream.images, data.PictureFiles)
    assert (stream.images.shape, stream.images.dtype, stream.images.ndim) == ((14, 4, 6, 3), np.uint8, 4)
    np.testing.assert_array_equal(array.files, stream.files)
    rest = {"images": None, "labels": None, "files": None}
    assert array._replace(**rest) == stream._replace(**rest)
    np.testing.assert_array_equal(array.labels, stream.labels)
    for index in (3, -1, slice(2, 9, 3), slice(20, 30), np.array([5, 0, 5]), array.labels == 1):
        np.testing.assert_array_equal(stream.images[index], array.images[index], strict=True)
    np.testing.assert_array_equal(np.asarray(stream.images), array.images)
    with pytest.raises(IndexError):
        stream.images[14]


def test_a_part_of_a_stream_is_a_stream_and_travels(folder):
    array, stream = (data.load(folder, "train", stream=stream).pick([9, 2, 4]) for stream in (False, True))
    stream = pickle.loads(pickle.dumps(stream))
    np.testing.assert_array_equal(stream.take(2).images[:], array.images[:2])
    np.testing.assert_array_equal(stream.take(2).labels, array.labels[:2])


def test_scaling_is_the_same_to_the_bit(folder):
    array, stream = (data.load(folder, "train", stream=stream) for stream in (False, True))
    for some in (slice(None), slice(1, 5)):
        assert data.measure_scaling(stream.pick(some)) == data.measure_scaling(array.pick(some))
    bare = data.PictureFiles(stream.images._root, stream.images._names, (4, 6, 3))
    assert data.measure_scaling(stream._replace(images=bare)) == data.measure_scaling(array)


def test_a_stream_is_taken_where_memory_would_not_do(folder, monkeypatch):
    from jaxcnn.data import streams

    assert isinstance(data.load(folder, "train").images, np.ndarray)
    monkeypatch.setattr(streams, "STREAM_ABOVE", 14 * 4 * 6 * 3 - 1)
    assert isinstance(data.load(folder, "train").images, data.Stream)
    assert isinstance(data.load(folder, "train", stream=False).images, np.ndarray)


def test_gray_pictures_have_one_channel_in_a_stream_too(tmp_path):
    for name, value in (("a", 10), ("b", 200)):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("L", (5, 5), value).save(tmp_path / "train" / name / "0.png")
    stream = data.load(f"folder:{tmp_path}", "train", stream=True)
    assert stream.images.shape == (2, 5, 5, 1) and stream.images[1].tolist() == [[[200]] * 5] * 5
    assert data.measure_scaling(stream).mean == (105 / 255,)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("stream", [False, True])
def test_any_sizes_become_one(tmp_path, stream, suffix):
    """A gradient from left to right keeps its middle, as the shorter side is brought to 8 and the rest cut off."""
    (tmp_path / "train" / "a").mkdir(parents=True)
    for number, (width, height) in enumerate([(64, 32), (90, 40), (32, 64), (5, 4)]):
        ramp = np.broadcast_to(np.linspace(0, 255, width)[None, :, None], (height, width, 3)).astype(np.uint8)
        Image.fromarray(ramp).save(tmp_path / "train" / "a" / f"{number}{suffix}")
    found = data.load(f"folder:{tmp_path}", "train", stream=stream, image_size=8)
    assert found.images.shape == (4, 8, 8, 1)
    rows = np.asarray(found.images)[:, 4, :, 0].astype(float)
    np.testing.assert_allclose(rows.mean(1), 127.5, atol=4)
    slope = np.diff(rows, axis=1)[:, 2:5].mean(1)
    np.testing.assert_allclose(slope, [255 / 63 * 4, 255 / 89 * 5, 255 / 31 * 4, 255 / 4 / 2], rtol=0.1)


def test_other_sizes_are_named_with_the_way_out(folder, tmp_path):
    bad = tmp_path / "train" / "dog" / "001.png"
    Image.new("RGB", (5, 4)).save(bad)
    for stream in (False, True):
        with pytest.raises(ValueError) as caught:
            data.load(folder, "train", stream=stream)
        assert str(caught.value) == (
            f"{bad} must be as large as the first picture, 6x4; got 5x4 (`image_size`, --image-size, brings all to "
            "one size)."
        )


@pytest.mark.parametrize("stream", [False, True])
def test_all_damaged_pictures_are_counted_and_can_be_left_out(folder, tmp_path, stream):
    whole = data.load(folder, "train")
    bad = [tmp_path / "train" / name for name in ("cat/000.png", "dog/002.png", "dog/006.png")]
    for path in bad:
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError) as caught:
        data.load(folder, "train", stream=stream)
    message = str(caught.value)
    assert message.startswith(f"3 of 14 pictures are damaged, the first is {bad[0]}: ") and "\n" not in message
    assert message.endswith("; skip them with `skip_corrupt` (--skip-corrupt).")
    left = data.load(folder, "train", stream=stream, skip_corrupt=True)
    assert left.skipped == tuple(map(str, bad))
    kept = np.setdiff1d(np.arange(14), [0, 9, 13])
    np.testing.assert_array_equal(np.asarray(left.images), whole.images[kept])
    np.testing.assert_array_equal(left.labels, whole.labels[kept])
    assert data.measure_scaling(left) == data.measure_scaling(whole.pick(kept))


def test_one_damaged_picture_and_nothing_but_damaged_pictures(folder, tmp_path):
    paths = sorted((tmp_path / "test").rglob("*.png"))
    paths[0].write_text("no picture")
    with pytest.raises(ValueError, match=r"^1 of 6 pictures is damaged, .*000.png: .*; skip it with `skip_corrupt`"):
        data.load(folder, "test")
    for path in paths:
        path.write_text("no picture")
    with pytest.raises(ValueError, match=r"^6 of 6 pictures are damaged, the first is .*; none is left.$"):
        data.load(folder, "test", skip_corrupt=True)


def test_options_of_pictures_are_refused_elsewhere():
    with pytest.raises(ValueError, match="`image_size` is for folders of pictures .*, not digits; got 8."):
        data.load("digits", image_size=8)
    with pytest.raises(ValueError, match="`stream` is for folders of pictures .*, not digits; got True."):
        data.load("digits", stream=True)
    with pytest.raises(ValueError, match="`image_size` must be positive; got 0."):
        data.load("digits", image_size=0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_part_is_split_off_by_class_once(tmp_path, stream):
    dataset = data.load(write_folder(tmp_path, {"train": 20}), "train", stream=stream)
    dataset = dataset.pick(np.arange(30))  # 20 cats, 10 dogs
    left, part = dataset.split_off(0.2, seed=3)
    assert (left.split, part.split) == ("train", "validation")
    assert np.bincount(left.labels).tolist() == [16, 8] and np.bincount(part.labels).tolist() == [4, 2]
    both = np.concatenate([np.asarray(left.images), np.asarray(part.images)])
    assert len({picture.tobytes() for picture in both}) == 30
    again, other = (dataset.split_off(0.2, seed)[1].images[:] for seed in (3, 4))
    np.testing.assert_array_equal(again, part.images[:])
    assert (other != again).any()


@pytest.mark.parametrize("share", [0, 1, -0.1, 0.001, float("nan")])
def test_a_part_of_nothing_or_of_all_is_refused(share):
    with pytest.raises(ValueError, match="`share` must put some of the 180 examples into each part; got "):
        data.load("digits", "test").split_off(share)
