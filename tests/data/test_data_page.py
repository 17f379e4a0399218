"""The page of data sets: its commands, run as they stand against files served here, leave what `load` reads."""

import functools
import gzip
import http.server
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcnn import data

PAGE = (Path(__file__).parent.parent.parent / "docs" / "guides" / "datasets.md").read_text()
pytestmark = pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="needs bash and curl")


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]


def commands(text, *starts):
    """The lines of console blocks that begin in one of these ways."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith(starts)]


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """Runs lines of the page in an empty folder; what they fetch comes from `site`, whatever the host."""
    site, home = tmp_path / "site", tmp_path / "home"
    site.mkdir(), home.mkdir()
    monkeypatch.chdir(home)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "no_proxy": "127.0.0.1"}

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def run(*lines):
            for line in lines:
                here = re.sub(r"https?://[^/]+", f"http://127.0.0.1:{server.server_port}", line)
                done = subprocess.run(["bash", "-ec", here], env=environment, capture_output=True, text=True)
                assert done.returncode == 0, (line, done.stderr)

        yield site, run
        server.shutdown()


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes())


def add(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def picture(color, kind="JPEG"):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (color, color, color)).save(buffer, kind)
    return buffer.getvalue()


def test_mnist_and_its_like(fetched, random):
    site, run = fetched
    images = {part: random.integers(0, 256, (count, 28, 28)) for part, count in (("train", 6), ("t10k", 3))}
    for folder in ("", "mnist"):
        (site / folder).mkdir(exist_ok=True)
        for part, pixels in images.items():
            (site / folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(pixels))
            (site / folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(np.arange(len(pixels))))
    lines = commands(section("MNIST"), "mkdir", "for ")
    assert len(lines) == 4
    run(*lines)
    for name in ("mnist", "fashion_mnist"):
        for split, part in (("train", "train"), ("test", "t10k")):
            found = data.load(name, split, "data")
            np.testing.assert_array_equal(found.images[..., 0], images[part])
            assert found.labels.tolist() == list(range(len(images[part])))


def test_cifar10_without_tensorflow(fetched, random):
    site, run = fetched
    files = {f"data_batch_{number}": random.integers(0, 256, (2, 32, 32, 3)) for number in range(1, 6)}
    files["test_batch"] = random.integers(0, 256, (3, 32, 32, 3))
    (site / "~kriz").mkdir()
    with tarfile.open(site / "~kriz" / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, pixels in files.items():
            planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
            rows = np.column_stack([np.arange(len(pixels)), planes]).astype(np.uint8)
            add(archive, f"cifar-10-batches-bin/{name}.bin", rows.tobytes())
    (script,) = re.findall(r"^```python cifar10\.py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    Path("cifar10.py").write_text(script)
    lines = commands(section("CIFAR-10"), "curl", "python")
    assert len(lines) == 2
    run(*lines)
    train, test = (data.load("npz:cifar10.npz", split) for split in ("train", "test"))
    batches = [files[f"data_batch_{number}"] for number in range(1, 6)]
    np.testing.assert_array_equal(train.images, np.concatenate(batches))
    np.testing.assert_array_equal(test.images, files["test_batch"])
    assert train.labels.tolist() == [0, 1] * 5 and test.labels.tolist() == [0, 1, 2]


def test_imagenet_without_tensorflow(fetched):
    """The archives of 2012 in small: two classes, whose numbers are not in the order of their names."""
    from scipy.io import savemat

    _, run = fetched
    numbers = {1: "n02", 2: "n01"}
    with tarfile.open("ILSVRC2012_img_train.tar", "w") as whole:
        for color, name in enumerate(numbers.values()):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as inner:
                for place in range(2):
                    add(inner, f"{name}_{place}.JPEG", picture(100 * color))
            add(whole, f"{name}.tar", buffer.getvalue())
    labels = [2, 1, 1]
    with tarfile.open("ILSVRC2012_img_val.tar", "w") as whole:
        for place, label in enumerate(labels, 1):
            add(whole, f"ILSVRC2012_val_{place:08d}.JPEG", picture(100 * (label - 1)))
    kind = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    synsets = np.array([(number, name, "a word") for number, name in numbers.items()], kind).reshape(-1, 1)
    meta = io.BytesIO()
    savemat(meta, {"synsets": synsets})
    with tarfile.open("ILSVRC2012_devkit_t12.tar.gz", "w:gz") as kit:
        add(kit, "ILSVRC2012_devkit_t12/data/meta.mat", meta.getvalue())
        truth = "".join(f"{label}\n" for label in labels).encode()
        add(kit, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", truth)
    (script,) = re.findall(r"^```python sort_validation\.py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    Path("sort_validation.py").write_text(script)
    lines = commands(section("ImageNet").split("Without TensorFlow")[1], "mkdir", "tar", "for ", "python")
    assert len(lines) == 6
    run(*lines)
    for split, count in (("train", 4), ("validation", 3)):
        found = data.load("folder:imagenet", split)
        assert found.classes == ("n01", "n02") and len(found.labels) == count
        colors = np.asarray(found.images).reshape(count, -1).mean(1).round()
        assert dict(zip(found.labels.tolist(), colors.tolist(), strict=True)) == {0: 100, 1: 0}


def test_every_name_of_the_table_is_known():
    """And every kind of name that `load` takes is in the table."""
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)
    named = {name.partition(":")[0] for row in rows for name in re.findall(r"`([^`]+)`", row)} - {"--data"}
    forms = {"folder", "idx", "masks", "npz", "tfds"}
    assert named == {*data.SOURCES, *forms}
