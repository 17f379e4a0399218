"""Published weights on the command line: listed, asked about pictures, trained further, checked."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import nnx
from hub_server import Hub, Repository
from PIL import Image

from jaxcnn import data, weights
from jaxcnn.weights import by_name
from jaxcnn.weights.published import Published
from jaxcnn.weights.runs import empty

GRAY = data.Preprocessing((28, 28), 32, "bicubic", (0.5,), (0.5,))
COLOR = data.Preprocessing((32, 32), 36, "bilinear")


def drawn(config, seed=0):
    """A network with all that it has learned drawn from a seed, without compiling anything."""
    model, generator = empty(config, nnx.Rngs(0)), np.random.default_rng(seed)
    draw = lambda leaf: jax.device_put(generator.uniform(-0.3, 0.3, leaf.shape).astype(leaf.dtype))  # noqa: E731
    nnx.update(model, jax.tree.map(draw, nnx.state(model, nnx.Param)))
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """What the hub holds: a perceptron for ImageNet's classes, and a ResNet-20 for colors."""
    top = tmp_path_factory.mktemp("folders")
    told = {"name": "mlp", "num_classes": 1000, "in_features": 1, "options": {"hidden": [8]}}
    told |= {"classes": list(data.imagenet_classes().ids), "preprocessing": dataclasses.asdict(GRAY)}
    weights.save_pretrained(drawn(told), top / "words", config=told)
    told = {"name": "resnet20", "num_classes": 4, "in_features": 3, "options": {}, "classes": list("abcd")}
    told |= {"preprocessing": dataclasses.asdict(COLOR)}
    weights.save_pretrained(drawn(told), top / "colors", config=told)
    return top


@pytest.fixture
def hub(folders, tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        for folder in folders.iterdir():
            server.repositories[f"me/{folder.name}"] = Repository({p.name: p.read_bytes() for p in folder.iterdir()})
        yield server


@pytest.fixture
def pictures(tmp_path):
    """Squares of two colors, in two folders."""
    generator = np.random.default_rng(0)
    for number in range(40):
        name, color = (("red", (200, 40, 40)), ("blue", (40, 40, 200)))[number % 2]
        pixels = np.clip(generator.normal(color, 30, (45, 37 + number, 3)), 0, 255).astype(np.uint8)
        (tmp_path / "pictures" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


def test_the_weights_are_listed(jaxcnn):
    outcome = jaxcnn("pretrained", "--names", "resnet18", "vgg16_bn")
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["name", "network", "data", "size", "top-1", "license"]
    assert lines[1].split() == [
        "timm/resnet18.a1_in1k",
        "resnet18",
        "imagenet2012",
        "224",
        "73.16",
        "at",
        "288",
        "apache-2.0",
    ]
    assert sum(" vgg16_bn " in line for line in lines) == 2
    found = json.loads(jaxcnn("pretrained", "--json").out)
    assert [row["name"] for row in found] == list(weights.PRETRAINED) and found[0]["preprocessing"]["resize"] == 235
    outcome = jaxcnn("pretrained", "--names", "resnet51")
    assert outcome.status == 2 and "`names` must be names or networks that `jaxcnn pretrained` lists" in outcome.err


def test_predict_says_what_it_sees_in_words(jaxcnn, hub, pictures):
    photo = pictures / "red" / "0.png"
    outcome = jaxcnn("predict", "me/words", photo, "--ask", "dog", "entity", "--format", "json", "--top", "2")
    assert (outcome.status, outcome.err) == (0, "")
    (row,) = json.loads(outcome.out)
    model, config = weights.pretrained("me/words")
    seen = data.read_picture(photo, (28, 28, 1), preprocessing=GRAY).pixels
    shares = np.asarray(jax.nn.softmax(model(data.Scaling(GRAY.mean, GRAY.std)(seen[None]))))[0]
    tree = data.imagenet_classes()
    assert [each["class"] for each in row["top"]] == [tree.names[place] for place in np.argsort(-shares)[:2]]
    assert row["asked"]["dog"] == pytest.approx(shares[151:269].sum(), abs=1e-5)
    assert row["asked"]["entity"] == pytest.approx(1, abs=1e-5)
    table = jaxcnn("predict", "me/words", photo, "--ask", "dog").out.splitlines()
    assert table[0].split() == ["picture", "1", "2", "3", "dog"] and table[1].count("%") == 4
    csv = jaxcnn("predict", "me/words", photo, "--ask", "dog", "--format", "csv").out.splitlines()
    assert csv[0].split(",")[-2:] == ["dog", "changes"] and len(csv[1].split(",")) >= len(csv[0].split(","))
    outcome = jaxcnn("predict", "me/words", photo, "--ask", "dgo")
    assert outcome.status == 2 and "a more general word in WordNet, as 'dingo'" in outcome.err
    outcome = jaxcnn("predict", "me/nothing", photo)
    assert outcome.status == 2 and outcome.err.startswith("jaxcnn: `name` must be a public repository of http")
    outcome = jaxcnn("predict", "runs/nothing", photo)
    assert outcome.status == 2 and "runs/nothing must be the folder of a run" in outcome.err
    outcome = jaxcnn("predict", "resnet51", photo)
    assert outcome.status == 2 and outcome.err.count("\n") == 1


@pytest.mark.slow
def test_transfer_in_one_command(jaxcnn, hub, pictures, alone, monkeypatch):
    """Weights, pictures fed as they want, a new head, lower rates below; then the run is asked, evaluated, exported."""
    monkeypatch.setitem(by_name.PRETRAINED, "me/colors", Published("resnet20", "cifar10", "mit", COLOR))
    monkeypatch.setattr(by_name, "default_of", lambda network: "me/colors")
    arguments = ["resnet20", "--pretrained", "--data", f"folder:{pictures}", "--epochs", "15", "--batch-size", "8"]
    arguments += ["--learning-rate", "1e-2"]
    outcome = jaxcnn("train", *arguments, "--out", "run")
    assert outcome.status == 0, outcome.err
    assert "beginning with resnet20, with a new head for 2 classes in place of 4" in outcome.out
    told = json.loads((alone / "run" / "config.json").read_text())
    assert told["training"]["layer_rates"] == ["*=0.1", "head=1"] and told["init"] == "resnet20"
    assert data.Preprocessing.of(told["preprocessing"]) == COLOR and told["source"]["repository"] == "me/colors"
    assert told["data"]["image_shape"] == [32, 32, 3] and told["scaling"]["mean"] == list(COLOR.mean)
    outcome = jaxcnn("eval", "run")
    assert outcome.status == 0 and "accuracy 100.00 %" in outcome.out, outcome.out
    outcome = jaxcnn("predict", "run", pictures / "blue" / "1.png", "--format", "json")
    assert json.loads(outcome.out)[0]["top"][0]["class"] == "blue"
    outcome = jaxcnn("export", "run", "net.stablehlo")
    assert outcome.status == 0, outcome.err
    described = json.loads((alone / "net.stablehlo.json").read_text())
    assert data.Preprocessing.of(described["input"]["preprocessing"]) == COLOR
    assert jaxcnn("convert", "run", "net.safetensors").status == 0
    _, config = weights.open_model("net.safetensors")
    assert data.Preprocessing.of(config["preprocessing"]) == COLOR
    outcome = jaxcnn("predict", "net.safetensors", pictures / "red" / "0.png", "--format", "json")
    assert json.loads(outcome.out)[0]["top"][0]["class"] == "red"
    outcome = jaxcnn("convert", "run", "folder/")
    assert outcome.status == 0, outcome.err
    card = (alone / "folder" / "README.md").read_text()
    assert (
        "base_model: me/colors" in card and "| accuracy | 1 |" in card and "jaxcnn train resnet20 --pretrained" in card
    )
    outcome = jaxcnn("train", *arguments, "--init", "me/colors", "--out", "other")
    assert outcome.status == 2 and "Only one of `pretrained` and `init` may be given" in outcome.err
    outcome = jaxcnn("train", "lenet5", "--pretrained", "--data", "digits", "--out", "other")
    assert outcome.status == 2 and not (alone / "other").exists()


@pytest.mark.slow
def test_one_command_checks_the_published_figure(jaxcnn, hub, pictures, monkeypatch):
    """On a folder per class: right where the figure is that of these weights, and 1 where it is not."""
    model, config = weights.pretrained("me/colors")
    names = config["classes"]
    for old, new in (("red", "a"), ("blue", "b")):
        (pictures / old).rename(pictures / new)
    found = weights.accuracy_on(model, config, pictures, batch_size=16)
    assert found.pictures == 40
    files = sorted(path for name in "ab" for path in (pictures / name).iterdir())
    seen = np.stack([data.read_picture(path, (32, 32, 3), preprocessing=COLOR).pixels for path in files])
    best = np.asarray(model(data.Scaling(COLOR.mean, COLOR.std)(seen))).argmax(-1)
    assert found.top1 == 100 * np.mean(
        [names[place] == path.parent.name for place, path in zip(best, files, strict=True)]
    )
    assert found.top5 == 100
    for top1, status in ((found.top1, 0), (found.top1 + 1, 1)):
        monkeypatch.setitem(by_name.PRETRAINED, "me/colors", Published("resnet20", "cifar10", "mit", COLOR, top1=top1))
        outcome = jaxcnn("pretrained", "--names", "me/colors", "--check", pictures)
        assert outcome.status == status and f"published {top1:.2f} %" in outcome.out, outcome.out + outcome.err
    (pictures / "b").rename(pictures / "z")
    outcome = jaxcnn("pretrained", "--names", "me/colors", "--check", pictures)
    assert outcome.status == 2 and "must be named after classes, as a, b, c; got z." in outcome.err


@pytest.mark.slow
def test_two_processes_share_one_cache(spawn, hub, pictures, tmp_path):
    """Both get whole weights, over one download or two; then neither needs the network."""
    hub.breaks = []
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
    arguments = ("predict", "me/words", pictures / "red" / "0.png")
    both = [spawn(*arguments, cwd=tmp_path, **environment) for _ in range(2)]
    outs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0] and outs[0] == outs[1]
    asked = len(hub.requests)
    alone = spawn(*arguments, cwd=tmp_path, **environment, HF_HUB_OFFLINE="1")
    assert alone.communicate()[0] == outs[0] and len(hub.requests) == asked
