"""Data sets by name: what a cut file, a wrong pair or an unreadable place gives, and that content never changes."""

import gzip
import hashlib

import numpy as np
import pytest

from jaxcnn import data


def write(path, array, pack=bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(pack(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()))


def test_splits_may_be_spelled_differently_in_one_folder(tmp_path, random):
    images = random.integers(0, 256, (3, 28, 28))
    write(tmp_path / "mnist" / "t10k-images.idx3-ubyte.gz", images, gzip.compress)
    write(tmp_path / "mnist" / "t10k-labels-idx1-ubyte", np.array([0, 9, 4]))
    found = data.load("mnist", "test", tmp_path)
    np.testing.assert_array_equal(found.images[..., 0], images)
    assert found.labels.tolist() == [0, 9, 4]


def test_the_environment_may_name_the_folder_above(tmp_path, random, monkeypatch):
    write(tmp_path / "mnist" / "t10k-images-idx3-ubyte", random.integers(0, 256, (2, 28, 28)))
    write(tmp_path / "mnist" / "t10k-labels-idx1-ubyte", np.array([1, 2]))
    monkeypatch.setenv("JAXCNN_DATA_DIR", str(tmp_path))
    assert data.load("mnist", "test").labels.tolist() == [1, 2]


def test_a_file_in_place_of_the_folder_is_not_found(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileNotFoundError) as caught:
        data.load("mnist", data_dir=tmp_path / "file")
    assert str(caught.value) == f"`data_dir` must be a folder; got {tmp_path / 'file'}."


def test_digits_need_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXCNN_DATA_DIR", str(tmp_path / "nowhere"))
    assert len(data.load("digits", "test").labels) == 180


def test_no_digit_is_in_two_splits_and_the_mean_is_frozen():
    parts = [data.load("digits", split) for split in data.splits("digits")]
    marks = [{hashlib.sha256(image.tobytes()).digest() for image in part.images} for part in parts]
    assert sum(map(len, marks)) == len(set.union(*marks)) == 1797
    assert [round(float(part.images.mean()), 1) for part in parts] == [40.2, 40.2, 40.3]
