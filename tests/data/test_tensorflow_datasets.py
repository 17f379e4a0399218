"""Data sets of tensorflow-datasets are read without TensorFlow, as they were written."""

import functools
import hashlib
import http.server
import inspect
import io
import json
import os
import subprocess
import sys
import threading
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from jaxcnn import data

tfds_installed = pytest.mark.skipif(
    not (find_spec("array_record") and find_spec("tensorflow_datasets")), reason="needs tensorflow-datasets"
)
FEATURES = "tensorflow_datasets.core.features"


def write_prepared(root, pictures, labels, name="tiny", shape=(4, 6, 3), kind="png"):
    """A data set as tensorflow-datasets prepares it, in two files."""
    with warnings.catch_warnings(action="ignore"):  # of its imports
        from array_record.python.array_record_module import ArrayRecordWriter
        from tensorflow_datasets.proto import tf_example_pb2

    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    half = len(pictures) // 2
    for shard, chosen in enumerate((slice(0, half), slice(half, None))):
        writer = ArrayRecordWriter(str(folder / f"{name}-train.array_record-0000{shard}-of-00002"), "group_size:1")
        for pixels, label in zip(pictures[chosen], labels[chosen], strict=True):
            buffer = io.BytesIO()
            Image.fromarray(np.squeeze(pixels)).save(buffer, kind)
            example = tf_example_pb2.Example()
            example.features.feature["image"].bytes_list.value.append(buffer.getvalue())
            example.features.feature["label"].int64_list.value.append(int(label))
            writer.write(example.SerializeToString())
        writer.close()
    split = {
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "name": "train",
        "numBytes": "1",
        "shardLengths": [str(half), str(len(pictures) - half)],
    }
    keys = {"tuple": {"items": [{"featureKey": "image"}, {"featureKey": "label"}]}}
    info = {
        "fileFormat": "array_record",
        "name": name,
        "version": "1.0.0",
        "splits": [split],
        "supervisedKeys": keys,
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    image = {"dtype": "uint8", "shape": {"dimensions": [str(size or -1) for size in shape]}}
    parts = {
        "image": {"image": image, "pythonClassName": f"{FEATURES}.image_feature.Image"},
        "label": {
            "classLabel": {"numClasses": "3"},
            "pythonClassName": f"{FEATURES}.class_label_feature.ClassLabel",
        },
    }
    whole = {"featuresDict": {"features": parts}, "pythonClassName": f"{FEATURES}.features_dict.FeaturesDict"}
    (folder / "features.json").write_text(json.dumps(whole))
    (folder / "label.labels.txt").write_text("cat\ndog\nemu\n")
    return folder


class NoTensorFlow:
    """A finder of modules that finds what another does, except TensorFlow."""

    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, *more):
        return None if name.split(".")[0] == "tensorflow" else self._finder.find_spec(name, *more)

    def __getattr__(self, name):
        return getattr(self._finder, name)


@pytest.fixture
def pixels(random):
    return random.integers(0, 256, (9, 4, 6, 3)).astype(np.uint8)


LABELS = np.array([0, 1, 2, 2, 1, 0, 0, 1, 2], np.int32)


@tfds_installed
@pytest.mark.parametrize("stream", [False, True])
def test_records_come_back_as_written(tmp_path, pixels, stream, monkeypatch):
    monkeypatch.setattr(sys, "meta_path", list(map(NoTensorFlow, sys.meta_path)))
    write_prepared(tmp_path / "tfds", pixels, LABELS)
    assert data.splits("tfds:tiny", tmp_path) == ("train",)
    for where in (tmp_path, tmp_path / "tfds"):
        found = data.load("tfds:tiny", "train", where, stream=stream)
        assert isinstance(found.images, data.Stream) == stream
        np.testing.assert_array_equal(np.asarray(found.images), pixels, strict=True)
        np.testing.assert_array_equal(found.labels, LABELS, strict=True)
        assert (found.classes, found.name, found.split) == (("cat", "dog", "emu"), "tfds:tiny", "train")
    monkeypatch.setenv("JAXCNN_DATA_DIR", str(tmp_path))
    assert len(data.load("tfds:tiny:1.0.0", "train").labels) == 9


@tfds_installed
def test_a_streamed_data_set_trains_as_one_in_memory(tmp_path, pixels):
    write_prepared(tmp_path, pixels, LABELS)
    memory, stream = (data.load("tfds:tiny", "train", tmp_path, stream=stream) for stream in (False, True))
    assert data.measure_scaling(memory) == data.measure_scaling(stream)
    memory, stream = (dataset.split_off(0.3)[0] for dataset in (memory, stream))
    with data.batches_ahead(stream, 2, 1, 0, 5, workers=1) as batches:
        for step, batch in enumerate(batches):
            for found, expected in zip(batch, data.train_batch(memory, 2, 1, step), strict=True):
                np.testing.assert_array_equal(found, expected, strict=True)


@tfds_installed
def test_gray_and_resized_pictures(tmp_path, pixels):
    write_prepared(tmp_path, pixels[..., :1], LABELS, "gray", (4, 6, 1))
    write_prepared(tmp_path, [pixels[0, :, :5], *pixels[1:]], LABELS, "odd", (None, None, 3))
    for stream in (False, True):
        gray = data.load("tfds:gray", "train", tmp_path, stream=stream)
        np.testing.assert_array_equal(np.asarray(gray.images), pixels[..., :1])
        with pytest.raises(ValueError, match="picture 1 of tfds:odd train must be as large as the first.*image_size"):
            data.load("tfds:odd", "train", tmp_path, stream=stream)
        square = data.load("tfds:odd", "train", tmp_path, stream=stream, image_size=4)
        np.testing.assert_array_equal(square.images[1:], pixels[1:, :, 1:5])


@tfds_installed
def test_what_is_not_there_is_one_sentence(tmp_path, pixels, monkeypatch, one_sentence):
    folder = write_prepared(tmp_path, pixels, LABELS)
    with pytest.raises(ValueError, match="`tfds:` must name a data set") as caught:
        data.splits("tfds:no_such_data_set", tmp_path)
    one_sentence(caught.value, "no_such_data_set")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError) as caught:
        data.load("cifar10", "train", tmp_path)
    one_sentence(caught.value, "pip install 'jaxcnn[tfds-prepare]'")
    (folder / "tiny-train.array_record-00001-of-00002").unlink()
    with pytest.raises((FileNotFoundError, ValueError)) as caught:
        data.load("tfds:tiny", "train", tmp_path)
    one_sentence(caught.value, "tfds:tiny")


def test_without_the_library_one_command_is_named_that_suffices(monkeypatch, tmp_path, one_sentence):
    """Where the data set is prepared, what reads it; elsewhere, what prepares it too."""
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.delenv("JAXCNN_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for folder in (tmp_path, None):
        with pytest.raises(ModuleNotFoundError, match=r": pip install 'jaxcnn\[tfds-prepare\]'\.$") as caught:
            data.load("cifar10", "train", folder)
        one_sentence(caught.value, tmp_path)
    (tmp_path / "cifar10").mkdir()
    for name in ("cifar10", "tfds:cifar10:3.0.2"):
        for folder in (tmp_path, None):
            with pytest.raises(ModuleNotFoundError, match=r"install it with: pip install 'jaxcnn\[tfds\]'\.$"):
                data.load(name, "train", folder)


READ = """
sys.meta_path[:] = map(NoTensorFlow, sys.meta_path)
from jaxcnn import data
for split in ("train", "test"):
    found, files = data.load("tfds:mnist", split, sys.argv[1]), data.load("mnist", split)
    orders = [np.argsort([bytes([label]) + image.tobytes() for image, label in zip(part.images, part.labels)])
              for part in (found, files)]
    np.testing.assert_array_equal(found.images[orders[0]], files.images[orders[1]])
    np.testing.assert_array_equal(found.labels[orders[0]], files.labels[orders[1]])
    print(split, len(found.labels))
assert "tensorflow" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # TensorFlow's own
def test_mnist_prepared_with_tensorflow_is_read_without(real_data, tmp_path, monkeypatch):
    """The builder's own download, from a server here, and its order of examples: equal as sets of pairs."""
    pytest.importorskip("tensorflow")
    checksums = pytest.importorskip("tensorflow_datasets.core.download.checksums")
    from tensorflow_datasets.image_classification import mnist

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(real_data / "mnist"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        known = {}
        for file in (real_data / "mnist").glob("*.gz"):
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            known[address + file.name] = checksums.UrlInfo(size=len(content), checksum=digest, filename=file.name)
        monkeypatch.setattr(mnist.MNIST, "URL", address)
        monkeypatch.setattr(mnist.MNIST, "url_infos", known)
        assert data.splits("tfds:mnist", tmp_path) == ("train", "test")
        server.shutdown()
    code = f"import sys\nimport numpy as np\n{inspect.getsource(NoTensorFlow)}\n{READ}"
    found = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, env=dict(os.environ))
    assert found.stdout == "train 60000\ntest 10000\n", found.stderr
