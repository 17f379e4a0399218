"""`jaxcnn demo`: what its page holds, what it refuses, and where it finds the program that runs the network."""

import base64
import dataclasses
import gzip
import hashlib
import io
import json
import re
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
from flax import nnx
from hub_server import Hub

from jaxcnn import data, inspect, models, training, weights
from jaxcnn.cli import demo, web_runtime
from jaxcnn.cli.runs import open_run
from jaxcnn.training import tasks
from jaxcnn.weights.urls import cache_folder

SCRIPT = b"/*!\n * ONNX Runtime Web v9.8.7\n */\nexport const here = '</script>';\n"
PROGRAM = b"\0asm" + bytes(range(256))
FILES = {"dist/ort.wasm.bundle.min.mjs": SCRIPT, "dist/ort-wasm-simd-threaded.wasm": PROGRAM}


def archive(files=FILES):
    """An npm package with these files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as made:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """An archive with the names of the real one, and other contents."""
    file = tmp_path_factory.mktemp("package") / "runtime.tgz"
    file.write_bytes(archive())
    return file


def inside(page, name):
    """A file that a page holds."""
    (text,) = re.findall(rf'<script type="text/plain" id="{name}">(.*?)</script>', page)
    return gzip.decompress(base64.b64decode(text))


def told_in(page):
    (text,) = re.findall(r'<script type="application/json" id="told">(.*?)</script>', page)
    return json.loads(text)


def test_the_page_holds_the_network_and_what_runs_it(jaxcnn, trained, package, alone):
    pytest.importorskip("jax2onnx")
    runtime = pytest.importorskip("onnxruntime")
    outcome = jaxcnn("demo", trained[0], "--runtime", package)
    assert (outcome.status, outcome.err) == (0, "")
    file = alone / "demo-lenet5-digits-seed0.html"
    page = file.read_text()
    assert outcome.out.startswith(f"{file.name}: {file.stat().st_size:,} bytes, with the network (")
    assert "ONNX Runtime 9.8.7\n" in outcome.out and page.count("ONNX Runtime Web</a> 9.8.7") == 1
    assert inside(page, "runtime-script") == SCRIPT and inside(page, "runtime-program") == PROGRAM
    test = data.load("digits", "test")
    session = runtime.InferenceSession(inside(page, "network"), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"images": test.images}), strict=True))
    run = open_run(trained[0])
    wanted = training.predict(run.model, test.images, run.scaling)
    np.testing.assert_allclose(found["answers"], wanted, atol=1e-5)
    np.testing.assert_array_equal(found["pixels"], test.images)
    stages = inspect.activations(run.model, run.scaling(test.images))
    told = told_in(page)
    assert [stage["name"] for stage in told["stages"]] == names[2:] == [name for name in stages if name != "head"]
    for stage in told["stages"]:
        maps = stages[stage["name"]]
        np.testing.assert_allclose(found[stage["name"]], maps[..., : stage["shown"]], atol=1e-4)
        assert stage["maps"] == maps.shape[-1] and stage["shown"] == min(stage["maps"], 8 if maps.ndim == 4 else 512)
    assert told["names"] == list("0123456789") and told["kind"] == "classes" and told["draw"] and told["dark"]
    assert [example["label"] for example in told["examples"]] == told["names"] and told["split"] == "test"


def test_the_page_tells_what_it_is_and_fetches_nothing(jaxcnn, trained, package, alone):
    pytest.importorskip("jax2onnx")
    assert jaxcnn("demo", trained[0], "--out", "page.html", "--runtime", package).status == 0
    page = (alone / "page.html").read_text()
    accuracy = json.loads((trained[0] / "evaluation.json").read_text())["accuracy"]
    assert "<title>lenet5 on digits</title>" in page and "61,706 parameters" in page and "LeCun et al." in page
    assert f"On the 180 pictures of the test split: accuracy {100 * accuracy:.2f} %." in page
    assert "https://github.com/jaxcnn/jaxcnn" in page and "Permission is hereby granted" in page
    assert "default-src 'none'" in page and "{{" not in page
    assert not re.findall(r"<(?:link|script|img|iframe)[^>]*(?:src|href)=", page)
    assert set(re.findall(r'(?:href|src)="(.*?)"', page)) == {
        "https://github.com/jaxcnn/jaxcnn",
        "https://onnxruntime.ai",
    }


@pytest.mark.parametrize("kind", ["binary", "multi_label", "regression"])
def test_each_task_has_answers_of_its_kind(kind):
    classes = {"binary": ("no", "yes"), "multi_label": ("sun", "<rain>"), "regression": ("angle",)}[kind]
    task = {
        "binary": tasks.Binary("cross_entropy"),
        "multi_label": tasks.MultiLabel("cross_entropy"),
        "regression": tasks.Regression("huber", (3.0,), (2.0,)),
    }[kind]
    labels = {"binary": [1, 0, 1], "multi_label": [[1, 1], [0, 0], [0, 1]], "regression": [[1.5], [2], [3]]}[kind]
    model = models.create("mlp", num_classes=task.outputs(classes), hidden=(2,), rngs=nnx.Rngs(0))
    described = {"data": {"name": "things"}, "model": {"name": "mlp"}}
    scaling = data.Scaling((0.7,), (0.5,))
    run = demo.Run(SimpleNamespace(), model, scaling, (28, 28, 1), classes, task, None, described)
    examples = data.Dataset(np.zeros((3, 28, 28, 1), np.uint8), np.array(labels), classes, "things", "test", task=kind)
    told = demo._told(run) | demo._shown(run, examples)
    assert told["kind"] == {"binary": "classes", "multi_label": "labels", "regression": "values"}[kind]
    assert told["names"] == list(classes) and not told["dark"]
    assert [example["label"] for example in told["examples"]] == {
        "binary": ["no", "yes"],
        "multi_label": ["sun, <rain>", "none", "<rain>"],
        "regression": ["angle 1.5", "angle 2", "angle 3"],
    }[kind]
    about = demo._about(run._replace(folder=demo.Path("nowhere")), "things", None)
    assert about[0].startswith(
        f"A network with {784 * 2 + 2 + 3 * task.outputs(classes):,} parameters, trained on things"
    )
    assert about[1] == "Its accuracy was not measured."
    measured = demo._result(run._replace(folder=demo.Path("nowhere")), examples)
    metric = {"binary": "accuracy", "multi_label": "average precision", "regression": "RMSE"}[kind]
    assert measured.startswith(f"On the 3 pictures of the test split: {metric} ")
    source = {"source": {"name": "timm/resnet18.a1_in1k"}}
    run = run._replace(folder=demo.Path("resnet18"), description={**described, "data": {}, **source})
    assert demo._result(run, None) == "The published accuracy is 73.16 %." and demo._data_of(run) == "imagenet2012"


def test_what_is_no_network_for_pictures_is_refused(jaxcnn, package, trained, alone):
    model = models.create("tdnn", rngs=nnx.Rngs(0))
    config = {"name": "tdnn", "num_classes": 3, "in_features": 16, "image_shape": [15, 16], "scaling": None}
    config["scaling"] = {"mean": [0.0] * 16, "std": [1.0] * 16, "unit": 1.0}
    weights.save(model, alone / "sounds.safetensors", config=config)
    outcome = jaxcnn("demo", "sounds.safetensors", "--runtime", package)
    message = "`run` must be of a network for pictures; got one for shape (15, 16)."
    assert (outcome.status, outcome.out, outcome.err) == (2, "", f"jaxcnn: {message}\n")
    run = open_run(trained[0])._replace(task=SimpleNamespace(name="drawing"))
    with pytest.raises(
        ValueError, match=r"`run` must have the task classification, binary, .*; the task of a is drawing"
    ):
        demo._check(run, demo.Path("a"))
    outcome = jaxcnn("demo", trained[0], "--out", "page.pdf", "--runtime", package)
    assert outcome.err == "jaxcnn: `out` must end in .html or .htm; got page.pdf.\n"
    assert not list(alone.glob("*.html"))


def test_names_of_weights_make_names_of_files():
    assert demo._stem(demo.Path("resnet18")) == "resnet18"
    assert demo._stem(demo.Path("timm/resnet50.a1_in1k")) == "timm-resnet50.a1_in1k"


@pytest.fixture
def hub(tmp_path, monkeypatch, package):
    """A server of the archive, from which a download is expected."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    content = package.read_bytes()
    with Hub() as server:
        server.plain["onnxruntime-web.tgz"] = content
        monkeypatch.setattr(web_runtime, "URL", f"{server.url}/files/onnxruntime-web.tgz")
        monkeypatch.setattr(web_runtime, "SHA256", hashlib.sha256(content).hexdigest())
        yield server


def test_the_program_is_downloaded_once(hub, monkeypatch):
    for _ in range(2):
        assert web_runtime.web_runtime() == ("9.8.7", SCRIPT, PROGRAM)
    assert hub.downloads() == 1
    assert [file.parent for file in cache_folder().parent.rglob("*.tgz")] == [cache_folder().with_name("runtimes")]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert web_runtime.web_runtime().version == "9.8.7" and hub.downloads() == 1


def test_a_download_that_fails_is_told_in_a_sentence(jaxcnn, trained, alone, hub, monkeypatch):
    def told():
        outcome = jaxcnn("demo", trained[0])
        assert outcome.status == 2 and outcome.err.count("\n") == 1 and not list(alone.glob("*.html"))
        return outcome.err

    hub.spoiled[hub.plain["onnxruntime-web.tgz"]] = archive({**FILES, "more": b""})
    assert "onnxruntime-web.tgz must have a SHA-256 that begins with" in told()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert re.search("must be downloaded before it is used offline .*; give `runtime`, if you have the file", told())
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(web_runtime, "URL", "http://127.0.0.1:9/onnxruntime-web.tgz")
    assert re.search("cannot be downloaded: .* refused; give `runtime`, if you have the file", told())


def test_a_program_of_ones_own_may_be_an_archive_or_a_folder(package, tmp_path):
    wanted = web_runtime.web_runtime(package)
    with tarfile.open(package) as held:
        held.extractall(tmp_path, filter="data")
    for folder in (tmp_path, tmp_path / "package", tmp_path / "package" / "dist"):
        assert web_runtime.web_runtime(folder) == wanted


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (None, "does not exist"),
        (b"no archive", "the archive of an npm package; reading .* failed"),
        (archive()[:200], "the archive of an npm package; reading .* failed"),
        ({"dist/ort.wasm.bundle.min.mjs": SCRIPT}, "with dist/ort-wasm-simd-threaded.wasm; .* lacks it"),
        ({**FILES, "dist/ort-wasm-simd-threaded.wasm": b"text"}, "the files in .* are others"),
        ({**FILES, "dist/ort.wasm.bundle.min.mjs": b"text"}, "the files in .* are others"),
    ],
    ids=["nothing", "text", "cut off", "without program", "other program", "other script"],
)
def test_another_file_is_no_program(tmp_path, files, sentence):
    file = tmp_path / "some.tgz"
    if files is not None:
        file.write_bytes(files if isinstance(files, bytes) else archive(files))
    with pytest.raises((ValueError, FileNotFoundError), match=rf"^`runtime` must be .*{sentence}[^\n]*\.$"):
        web_runtime.web_runtime(file)


def test_published_weights_resize_inside_the_page(jaxcnn, package, alone):
    """Their figure and their way of reading pictures are told, without pictures to choose."""
    pytest.importorskip("jax2onnx")
    fed = data.Preprocessing((32, 32), 36, "bicubic")
    options = {"hidden": [4], "image_size": [32, 32]}
    told = {"name": "mlp", "num_classes": 2, "in_features": 3, "options": options, "classes": ["a", "b"]}
    model = models.create("mlp", num_classes=2, in_features=3, hidden=(4,), image_size=(32, 32), rngs=nnx.Rngs(0))
    weights.save_pretrained(
        model, "net", config=told | {"preprocessing": dataclasses.asdict(fed), "image_shape": [32, 32, 3]}
    )
    outcome = jaxcnn("demo", "net", "--runtime", package)
    assert outcome.status == 0, outcome.err
    assert "the page has no pictures to choose: net does not record a data set" in outcome.out
    found = told_in((alone / "demo-net.html").read_text())
    assert found["fit"] == [36, 36] and found["seen"] == [32, 32] and not found["draw"] and not found["examples"]
