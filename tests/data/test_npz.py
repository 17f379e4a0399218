"""Archives of Keras and MedMNIST, folders of IDX files: whole ones are read, others refused in one sentence."""

import gzip

import numpy as np
import pytest

from jaxcnn import data


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def keras(path, **changes):
    arrays = {
        "x_train": noise(6, 5, 4),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": noise(3, 5, 4),
        "y_test": np.array([2, 3, 0], np.uint8),
    }
    np.savez(path, **{name: array for name, array in (arrays | changes).items() if array is not None})
    return arrays | changes


def test_the_arrays_of_keras(tmp_path):
    path = tmp_path / "mnist.npz"
    arrays = keras(path)
    assert data.splits(f"npz:{path}") == ("train", "test")
    found = data.load(f"npz:{path}", "test")
    np.testing.assert_array_equal(found.images, arrays["x_test"][..., None], strict=True)
    np.testing.assert_array_equal(found.labels, np.array([2, 3, 0], np.int32), strict=True)
    assert (found.classes, found.name, found.split) == (tuple("0123"), f"npz:{path}", "test")
    keras(path, x_val=noise(2, 5, 4), y_val=np.array([1, 1]))
    assert data.splits(f"npz:{path}") == ("train", "validation", "test")


def test_the_arrays_of_medmnist(tmp_path):
    path = tmp_path / "pathmnist.npz"
    parts = {"train": 4, "val": 3, "test": 2}
    images = {f"{part}_images": noise(count, 7, 7, 3) for part, count in parts.items()}
    labels = {f"{part}_labels": np.arange(count, dtype=np.uint8)[:, None] for part, count in parts.items()}
    np.savez_compressed(path, **images, **labels)
    found = data.load(f"npz:{path}", "validation")
    np.testing.assert_array_equal(found.images, images["val_images"])
    assert found.labels.tolist() == [0, 1, 2] and found.classes == tuple("0123")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"y_train": None}, "must hold x_train and y_train; y_train is missing"),
        ({"x_train": None, "y_train": None}, "or train_images and train_labels; it holds x_test, y_test"),
        ({"x_train": np.zeros((6, 5, 4))}, "must hold bytes, uint8; got float64"),
        ({"x_train": noise(6, 5, 4, 2)}, "or (N, H, W, 1 or 3); got (6, 5, 4, 2)"),
        ({"x_train": noise(6, 20)}, "must hold pictures, (N, H, W)"),
        ({"y_train": np.zeros(5, int)}, "must hold one label for each of x_train; got 5 for 6"),
        ({"y_train": np.eye(14, dtype=int)[:6]}, "(N,) or (N, 1); got shape (6, 14)"),
        ({"y_train": np.zeros((6, 14), int)}, "must hold targets as y_train does, for multi_label"),
        ({"y_train": np.full(6, 0.5)}, "must hold targets as y_train does, for regression"),
        ({"y_train": np.zeros(6)}, "integers from 0; got float64"),
        ({"y_train": np.full(6, -1)}, "integers from 0; got -1"),
        ({"x_train": np.array([None] * 6)}, "must be a whole array; reading it failed"),
    ],
    ids=str,
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changes, part, one_sentence):
    path = tmp_path / "a.npz"
    keras(path, **changes)
    with pytest.raises(ValueError) as caught:
        data.load(f"npz:{path}", "train")
    one_sentence(caught.value, path)
    assert part in str(caught.value)


def test_missing_and_damaged_archives(tmp_path, one_sentence):
    path = tmp_path / "a.npz"
    with pytest.raises(FileNotFoundError) as caught:
        data.splits(f"npz:{path}")
    one_sentence(caught.value, path)
    arrays = keras(path)
    whole = path.read_bytes()
    for content in (b"", b"nothing", whole[:100], whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="must be a whole NumPy archive") as caught:
            data.load(f"npz:{path}", "train")
        one_sentence(caught.value, path)
    place = whole.index(arrays["x_train"].tobytes()[:20])
    path.write_bytes(whole[:place] + b"\0\1\2" + whole[place + 3 :])
    with pytest.raises(ValueError, match="x_train of .* must be a whole array; reading it failed: Bad CRC") as caught:
        data.load(f"npz:{path}", "train")
    one_sentence(caught.value, path)
    np.save(tmp_path / "one.npy", arrays["x_train"])
    with pytest.raises(ValueError, match="must be an archive of several arrays"):
        data.splits(f"npz:{tmp_path / 'one.npy'}")


def write_idx(path, array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    content = bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_pair(folder, stem, images, labels, end=".gz"):
    write_idx(folder / f"{stem}-images-idx3-ubyte{end}", images)
    write_idx(folder / f"{stem}-labels-idx1-ubyte{end}", np.array(labels))


def test_idx_files_of_any_prefix(tmp_path):
    images = noise(4, 5, 5)
    write_pair(tmp_path, "emnist-letters-train", images, [1, 26, 3, 1])
    write_pair(tmp_path, "emnist-letters-test", images[:2], [26, 3], end="")
    name = f"idx:{tmp_path}"
    assert data.splits(name) == ("train", "test")
    train, test = (data.load(name, split) for split in data.splits(name))
    np.testing.assert_array_equal(train.images, images[..., None])
    assert train.classes == test.classes == ("1", "3", "26")
    assert train.labels.tolist() == [0, 2, 1, 0] and test.labels.tolist() == [2, 1]
    assert test.labels.dtype == np.int32


def test_a_prefix_chooses_among_several(tmp_path, one_sentence):
    write_pair(tmp_path, "emnist-digits-train", noise(2, 5, 5), [0, 1])
    write_pair(tmp_path, "emnist-letters-train", noise(3, 5, 5), [1, 2, 3])
    with pytest.raises(ValueError, match="or name one .*; got emnist-digits, emnist-letters") as caught:
        data.splits(f"idx:{tmp_path}")
    one_sentence(caught.value, tmp_path)
    assert len(data.load(f"idx:{tmp_path}/emnist-letters", "train").labels) == 3


def test_idx_folders_that_do_not_fit(tmp_path, one_sentence):
    for path in (tmp_path, tmp_path / "nowhere" / "at"):
        with pytest.raises(FileNotFoundError) as caught:
            data.splits(f"idx:{path}")
        one_sentence(caught.value, path)
    write_pair(tmp_path, "train", noise(2, 5, 5), [0, 1])
    write_pair(tmp_path, "t10k", noise(2, 5, 5), [0, 7])
    with pytest.raises(ValueError, match="must hold labels of the training split only; got 7") as caught:
        data.load(f"idx:{tmp_path}", "test")
    one_sentence(caught.value, tmp_path / "t10k-labels-idx1-ubyte.gz")
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="must hold t10k-labels-idx1-ubyte"):
        data.load(f"idx:{tmp_path}", "train")


def test_clothes_come_in_the_files_of_mnist(tmp_path):
    (tmp_path / "fashion_mnist").mkdir()
    write_pair(tmp_path / "fashion_mnist", "t10k", noise(2, 28, 28), [0, 9])
    found = data.load("fashion_mnist", "test", tmp_path)
    assert found.name == "fashion_mnist" and [found.classes[i] for i in found.labels] == ["T-shirt/top", "Ankle boot"]


@pytest.mark.parametrize("label", [2**32, 2**31, 3_000_000, 9], ids=str)
def test_a_label_beyond_the_number_of_examples_is_no_class(tmp_path, label):
    """2**32 in 32 bits would be class 0, 2**31 negative, and the third would ask for three million outputs."""
    path = tmp_path / "some.npz"
    keras(path, y_train=np.array([0, 1, 2, 0, 1, label]))
    for split in ("train", "test"):
        with pytest.raises(ValueError) as caught:
            data.load(f"npz:{path}", split)
        assert str(caught.value) == (
            f"`labels` of y_train of {path} must be from 0 to 8, for the 9 classes that its examples can have; "
            f"got {label}, and 1 of 6 outside."
        )
    keras(path, y_train=np.array([0, 1, 2, 0, 1, 8], np.uint64))
    assert data.load(f"npz:{path}", "train").labels.dtype == np.int32


def test_what_programs_leave_beside_idx_files_is_no_prefix(tmp_path):
    write_pair(tmp_path, "emnist-letters-train", noise(2, 5, 5), [0, 1])
    for file in list(tmp_path.iterdir()):
        (tmp_path / f"._{file.name}").write_bytes(b"\0\5\x16\7")
    assert len(data.load(f"idx:{tmp_path}", "train").labels) == 2


@pytest.mark.parametrize(
    ("targets", "task", "columns"),
    [
        (lambda random, n: random.integers(0, 2, (n, 14)).astype(np.uint8), "multi_label", 14),  # as in ChestMNIST
        (lambda random, n: random.normal(size=(n, 2)), "regression", 2),
        (lambda random, n: random.normal(size=(n, 1)), "regression", 1),
    ],
)
def test_targets_of_other_tasks_are_known_by_their_form(tmp_path, random, targets, task, columns):
    kept = {part: targets(random, count) for part, count in (("train", 6), ("test", 4))}
    pictures = {f"x_{part}": random.integers(0, 256, (len(kept[part]), 5, 4)).astype(np.uint8) for part in kept}
    np.savez(tmp_path / "some.npz", **pictures, **{f"y_{part}": labels for part, labels in kept.items()})
    for part, labels in kept.items():
        found = data.load(f"npz:{tmp_path / 'some.npz'}", part)
        assert (found.task, len(found.classes)) == (task, columns)
        np.testing.assert_array_equal(found.labels.reshape(labels.shape), labels)
