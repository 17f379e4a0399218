"""MNIST's four files: every spelling is found, every mismatch is refused."""

import gzip

import numpy as np
import pytest

from jaxcnn import data

COUNTS = {"train": 7, "t10k": 3}


def idx_bytes(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 0x08, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def write_mnist(folder, *, mark="-", end="", images=None, labels=None):
    """Writes four small files; returns images and labels of both splits."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    made = {}
    for part, count in COUNTS.items():
        pictures = random.integers(0, 256, (count, 28, 28)) if images is None else images
        answers = np.arange(count) % 10 if labels is None else labels
        pack = gzip.compress if end == ".gz" else bytes
        (folder / f"{part}-images{mark}idx3-ubyte{end}").write_bytes(pack(idx_bytes(pictures)))
        (folder / f"{part}-labels{mark}idx1-ubyte{end}").write_bytes(pack(idx_bytes(answers)))
        made[part] = pictures, answers
    return made


@pytest.fixture(autouse=True)
def no_folder_from_outside(request, monkeypatch):
    if "real_data" not in request.fixturenames:
        monkeypatch.delenv("JAXCNN_DATA_DIR", raising=False)


@pytest.mark.parametrize("place", ["mnist", "."])
@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("mark", ["-", "."])
def test_every_spelling_is_found(tmp_path, mark, end, place):
    made = write_mnist(tmp_path / place, mark=mark, end=end)
    for split, part in (("train", "train"), ("test", "t10k")):
        found = data.load("mnist", split, tmp_path)
        np.testing.assert_array_equal(found.images, made[part][0][..., None])
        np.testing.assert_array_equal(found.labels, made[part][1])
        assert found.images.dtype == np.uint8 and found.labels.dtype == np.int32
        assert (found.name, found.split, found.classes) == ("mnist", split, tuple("0123456789"))


def test_the_folder_may_come_from_the_environment(tmp_path, monkeypatch):
    write_mnist(tmp_path)
    monkeypatch.setenv("JAXCNN_DATA_DIR", str(tmp_path))
    assert len(data.load("mnist", "test").labels) == 3


def test_the_argument_wins_over_the_environment(tmp_path, monkeypatch):
    write_mnist(tmp_path / "here")
    monkeypatch.setenv("JAXCNN_DATA_DIR", str(tmp_path / "elsewhere"))
    assert len(data.load("mnist", "test", str(tmp_path / "here")).labels) == 3


def test_without_a_folder_the_error_says_how_to_give_one():
    with pytest.raises(ValueError, match="`data_dir` must name the folder of mnist .*JAXCNN_DATA_DIR.*got None"):
        data.load("mnist")


def test_a_missing_folder_is_not_found(tmp_path, one_sentence):
    with pytest.raises(FileNotFoundError) as caught:
        data.load("mnist", data_dir=tmp_path / "nowhere")
    one_sentence(caught.value, tmp_path / "nowhere")


@pytest.mark.parametrize("missing", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_a_missing_file_is_named(tmp_path, missing, one_sentence):
    write_mnist(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=missing) as caught:
        data.load("mnist", data_dir=tmp_path)
    one_sentence(caught.value, tmp_path)
    assert len(data.load("mnist", "test", tmp_path).labels) == 3


@pytest.mark.parametrize(
    ("change", "file", "part"),
    [
        ({"labels": np.zeros(6)}, "train-labels-idx1-ubyte", "the 7 images of train-images-idx3-ubyte; got shape (6,)"),
        ({"labels": np.zeros((7, 1))}, "train-labels-idx1-ubyte", "got shape (7, 1)"),
        ({"labels": np.arange(4, 11)}, "train-labels-idx1-ubyte", "labels from 0 to 9; got 10"),
        ({"images": np.zeros((7, 784))}, "train-images-idx3-ubyte", "(N, H, W); got shape (7, 784)"),
    ],
    ids=["counts differ", "labels in two axes", "label above 9", "images in two axes"],
)
def test_files_that_do_not_match_are_refused(tmp_path, change, file, part, one_sentence):
    made = write_mnist(tmp_path)
    write_mnist(tmp_path, **{"images": made["train"][0], "labels": made["train"][1]} | change)
    with pytest.raises(ValueError) as caught:
        data.load("mnist", data_dir=tmp_path)
    one_sentence(caught.value, tmp_path / file)
    assert part in str(caught.value)


def test_a_damaged_file_is_named(tmp_path, one_sentence):
    write_mnist(tmp_path, end=".gz")
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError) as caught:
        data.load("mnist", data_dir=tmp_path)
    one_sentence(caught.value, file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("cifar",),
            "`name` must be one of 'cifar10', 'cifar100', 'digits', 'faces', 'fashion_mnist', 'fsdd', 'imagenet2012', "
            "'imagenette', 'mnist', 'mnist1989', 'mnist1d', 'rotated_digits', 'rt-polarity', 'scene_masks', 'scenes', "
            "'folder:PATH', 'fsdd:SPEAKER', 'idx:PATH', 'masks:PATH', 'npz:PATH', 'rt-polarity:FOLD', 'tfds:NAME'; got "
            "'cifar'.",
        ),
        (("mnist", "validation"), "`split` of mnist must be one of 'train', 'test'; got 'validation'."),
    ],
)
def test_unknown_names_are_answered_with_the_known_ones(arguments, message):
    with pytest.raises(ValueError) as caught:
        data.load(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("split", "counts"),
    [
        ("train", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("test", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
    ],
)
def test_the_real_files_hold_the_published_counts(real_data, split, counts):
    found = data.load("mnist", split, real_data)
    assert found.images.shape == ({"train": 60_000, "test": 10_000}[split], 28, 28, 1)
    assert np.bincount(found.labels).tolist() == counts


def test_the_real_scaling_is_the_known_one(real_data):
    scaling = data.measure_scaling(data.load("mnist", "train", real_data))
    np.testing.assert_allclose((*scaling.mean, *scaling.std), (0.1307, 0.3081), atol=5e-5)
