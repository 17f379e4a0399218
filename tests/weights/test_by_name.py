"""Trained networks by name: from the hub's endpoints on a loopback address, from addresses, from folders."""

import hashlib
import json
import logging
import time

import jax
import numpy as np
import pytest
from flax import nnx
from hub_server import COMMIT, Hub, Repository, suffixed, timm_config

from jaxcnn import data, models, weights
from jaxcnn.weights import by_name, timm
from jaxcnn.weights.published import default_of
from jaxcnn.weights.schemes import leaves


@pytest.fixture
def hub(tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def tiny(drawn, tmp_path):
    """A small network's repository, as `save_pretrained` writes it, and the network."""
    model = drawn("mlp", num_classes=3, options={"hidden": (8,)})
    config = {"name": "mlp", "num_classes": 3, "in_features": 1, "options": {"hidden": [8]}, "classes": list("abc")}
    folder = weights.save_pretrained(model, tmp_path / "tiny", config=config | {"image_shape": [28, 28, 1]})
    return Repository({path.name: path.read_bytes() for path in folder.iterdir()}), model


def same(one, other):
    ours, theirs = leaves(one), leaves(other)
    assert ours.keys() == theirs.keys()
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_repository_is_downloaded_once_and_pinned_to_its_commit(hub, tiny):
    hub.repositories["me/tiny"], model = tiny
    for _ in range(2):
        found, config = weights.pretrained("me/tiny")
        same(found, model)
    digest = hashlib.sha256(tiny[0].files["model.safetensors"]).hexdigest()
    assert config["source"] == {"name": "me/tiny", "repository": "me/tiny", "revision": COMMIT, "sha256": digest}
    assert (config["classes"], config["num_classes"]) == (["a", "b", "c"], 3)
    asked = len(hub.requests)
    hub.repositories["me/tiny"] = tiny[0]._replace(commit="f" * 40)  # a later commit changes nothing here
    assert weights.pretrained("me/tiny")[1]["source"]["revision"] == COMMIT and len(hub.requests) == asked
    assert weights.pretrained("me/tiny", revision="f" * 40)[1]["source"]["revision"] == "f" * 40
    same(weights.pretrained(f"me/tiny@{COMMIT}")[0], model)


def test_a_download_that_breaks_off_goes_on_where_it_was(hub, tiny, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # what it keeps is a multiple of this
    hub.repositories["me/tiny"], model = tiny
    hub.breaks = [20_500]
    same(weights.pretrained("me/tiny")[0], model)
    ranges = [given for _, path, given in hub.requests if path.startswith("/files/")]
    assert ranges == ["", "bytes=20000-"]


def test_a_wrong_digest_is_refused_and_removed(hub, tiny):
    hub.repositories["me/tiny"], model = tiny
    content = tiny[0].files["model.safetensors"]
    hub.spoiled[content] = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(
        ValueError, match=r"model.safetensors of me/tiny must have a SHA-256 that begins with \w{64}; got"
    ):
        weights.pretrained("me/tiny")
    hub.spoiled.clear()
    same(weights.pretrained("me/tiny")[0], model)


def test_offline_only_the_cache_is_used(hub, tiny, monkeypatch):
    hub.repositories["me/tiny"], model = tiny
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="me/tiny must be downloaded before it is used offline"):
        weights.pretrained("me/tiny")
    assert not hub.requests
    monkeypatch.delenv("HF_HUB_OFFLINE")
    weights.pretrained("me/tiny")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    same(weights.pretrained("me/tiny")[0], model)


@pytest.mark.parametrize(
    ("name", "kind", "part"),
    [
        ("me/nothing", FileNotFoundError, "a file or folder here; there is no me/nothing."),
        ("me/gated", PermissionError, "me/gated is gated: accept its terms at http://127.0.0.1:"),
        ("me/pickled", FileNotFoundError, "me/pickled must hold model.safetensors; it has none, and pickled weights"),
        (
            "me/pickled@other",
            FileNotFoundError,
            "`revision` must be a commit, branch or tag of me/pickled; got 'other'.",
        ),
        ("me/vit", ValueError, "config.json of me/vit tells no `architecture`."),
        ("a/b/c", ValueError, "`name` must be OWNER/NAME of a repository; got 'a/b/c'."),
        ("resnet51", FileNotFoundError, "`name` must be 'resnet56', 'resnet50', 'resnet18' or another of those"),
        ("lenet5", FileNotFoundError, "`name` must be of a network with published weights, resnet18, "),
    ],
    ids=str,
)
def test_each_failure_is_one_sentence(hub, drawn, name, kind, part):
    hub.repositories |= {"me/gated": Repository({}, gated=True), "me/pickled": Repository({"pytorch_model.bin": b"x"})}
    if name == "me/vit":
        file = weights_with_names(drawn("resnet20"), "cifar")
        hub.repositories[name] = Repository({"model.safetensors": file, "config.json": b'{"architectures": ["ViT"]}'})
    with pytest.raises(kind) as refused:
        weights.pretrained(name)
    assert part in str(refused.value) and "\n" not in str(refused.value)


def test_without_a_network_it_says_so_and_nothing_else(hub, monkeypatch):
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "handlers", [handler])
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        ConnectionError, match=r"must be downloaded once; http://127.0.0.1:9 does not answer: Connection"
    ):
        weights.pretrained("resnet18")
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    hub.status = 418
    with pytest.raises(ConnectionError, match=r"does not answer: .*418|answers with status 418"):
        weights.pretrained("resnet18")
    assert not logged


def weights_with_names(model, scheme):
    from safetensors.numpy import save

    return save(weights.to_torch(model, scheme))


@pytest.fixture(scope="module")
def narrow():
    """timm's names of a narrow VGG-11, whose dense layers are convolutions."""
    options = {"widths": (4, 4, 4, 4, 4), "hidden": 8, "grid": (7, 7)}
    return models.create("vgg11_bn", num_classes=5, rngs=nnx.Rngs(0), **options)


def test_timm_s_vgg_has_convolutions_for_dense_layers(narrow, tmp_path):
    arrays = weights.to_torch(narrow, "timm")
    assert arrays["pre_logits.fc1.weight"].shape == (8, 4, 7, 7) and arrays["pre_logits.fc2.weight"].shape == (
        8,
        8,
        1,
        1,
    )
    assert arrays["head.fc.weight"].shape == (5, 8)
    weights.save(narrow, tmp_path / "vgg.safetensors", scheme="timm")
    copy = models.create("vgg11_bn", num_classes=5, rngs=nnx.Rngs(1), widths=(4,) * 5, hidden=8, grid=(7, 7))
    assert weights.load(copy, tmp_path / "vgg.safetensors").scheme == "timm"
    same(copy, narrow)


def test_timm_s_resnet18_is_opened_with_its_pictures_and_classes(hub, drawn):
    model = drawn("resnet18")
    file = weights_with_names(model, "timm")
    hub.repositories["timm/resnet18.a1_in1k"] = Repository(
        {"model.safetensors": file, "config.json": timm_config("resnet18")}
    )
    found, config = weights.pretrained("resnet18")
    same(found, model)
    assert data.Preprocessing.of(config["preprocessing"]) == weights.PRETRAINED["timm/resnet18.a1_in1k"].preprocessing
    assert config["scaling"]["mean"] == [0.485, 0.456, 0.406] and config["image_shape"] == [224, 224, 3]
    assert config["classes"][281] == "n02123045" and config["source"]["license"] == "apache-2.0"
    head, config = weights.pretrained("hf-hub:timm/resnet18.a1_in1k", num_classes=5, rngs=nnx.Rngs(0))
    assert head.head.kernel.shape == (512, 5) and config["num_classes"] == 5 and "classes" not in config


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        (
            "resnet50d",
            "timm's resnet50d, which has a stem of three 3x3 convolutions and shortcuts with average pooling.",
        ),
        ("resnet50c", "which has a stem of three 3x3 convolutions."),
        ("resnetblur50", "which has anti-aliasing in its strides."),
        ("resnetaa50", "which has anti-aliasing in its strides."),
        ("seresnet50", "which has squeeze-and-excitation."),
        ("ecaresnet50t", "which has efficient channel attention."),
        ("resnext50_32x4d", "which has wider or grouped 3x3 convolutions."),
        ("wide_resnet50_2", "which has wider or grouped 3x3 convolutions."),
        ("resnet50_gn", "which has group normalization."),
        ("resnetv2_50", "which has pre-activation with standardized weights."),
        ("resnet26", "which has another depth or another kind of block."),
        ("vit_base_patch16_224", "is timm's vit_base_patch16_224."),
    ],
    ids=lambda value: value if " " not in value else "",
)
def test_variants_are_refused_by_name(kind, part):
    with pytest.raises(ValueError, match="`name` must be of a network that jaxcnn has; timm/x is timm's ") as refused:
        timm.network_of(json.loads(timm_config(kind)), "timm/x")
    assert str(refused.value).endswith(part)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"model_args": {"stem_type": "deep"}}, "timm/x is a resnet50 with stem_type=deep."),
        ({"global_pool": "max"}, "average pooling at its end; timm/x has 'max'."),
        ({"crop_mode": "squash"}, "timm/x must cut a square out of the middle; got 'squash' and 224x224."),
        ({"mean": None}, "config.json of timm/x must describe how pictures are prepared: input_size"),
    ],
    ids=str,
)
def test_what_is_configured_otherwise_is_refused(change, part):
    with pytest.raises(ValueError) as refused:
        timm.network_of(json.loads(timm_config("resnet50", **change)), "timm/x")
    assert part in str(refused.value)


def test_a_variant_s_weights_under_a_plain_name_are_never_loaded_half(hub, drawn):
    """Squeeze-and-excitation has further weights, which a strict loading refuses."""
    from safetensors.numpy import save

    arrays = weights.to_torch(drawn("resnet18"), "timm") | {
        "layer1.0.se.fc1.weight": np.zeros((4, 64, 1, 1), np.float32)
    }
    files = {"model.safetensors": save(arrays), "config.json": timm_config("resnet18")}
    hub.repositories["me/odd"] = Repository(files)
    with pytest.raises(ValueError, match="must match the ResNet in every weight.*unexpected: layer1.0.se.fc1.weight"):
        weights.pretrained("me/odd")


def test_pytorch_s_files_come_from_their_addresses(hub, drawn, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    model = drawn("resnet20")
    arrays = weights.to_torch(model, "cifar")
    torch.save({"state_dict": {f"module.{k}": torch.from_numpy(v) for k, v in arrays.items()}}, tmp_path / "x.th")
    content = (tmp_path / "x.th").read_bytes()
    name = suffixed("resnet20.th", content)
    hub.plain[name] = content
    found, config = weights.pretrained(f"{hub.url}/files/{name}")
    same(found, model)
    digest = hashlib.sha256(content).hexdigest()
    assert config["source"] == {"name": f"{hub.url}/files/{name}", "url": f"{hub.url}/files/{name}", "sha256": digest}
    known = weights.PRETRAINED["akamaster/resnet20-12fca82f.th"]
    monkeypatch.setitem(by_name.PRETRAINED, f"akamaster/{name}", known._replace(url=f"{hub.url}/files/{name}"))
    _, config = weights.pretrained(f"akamaster/{name}")
    assert (
        config["classes"][3] == "cat" and config["image_shape"] == [32, 32, 3] and config["source"]["sha256"] == digest
    )


def test_a_folder_is_written_for_the_hub_with_a_card(drawn, tmp_path):
    model = drawn("mlp", num_classes=3, options={"hidden": (8,)})
    config = {"name": "mlp", "num_classes": 3, "in_features": 1, "options": {"hidden": [8]}, "classes": list("abc")}
    source = {"name": "me/x", "repository": "me/x", "revision": COMMIT, "sha256": "ab" * 32, "license": "mit"}
    config["image_shape"] = [28, 28, 1]
    told = {"config": config | {"source": source}, "metrics": {"accuracy": 0.93}, "data": "digits", "made": "By hand."}
    folder = weights.save_pretrained(model, tmp_path / "new" / "mlp", **told)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    card = (folder / "README.md").read_text()
    for part in (
        "license: mit",
        "Pictures 28x28x1.",
        "base_model: me/x",
        "# mlp, trained on digits",
        "| accuracy | 0.93 |",
        "By hand.",
        COMMIT,
    ):
        assert part in card, card
    assert card.startswith("---\nlibrary_name: jaxcnn\n")
    for opened, config in (weights.pretrained(folder), weights.open_model(folder)):
        same(opened, model)
        assert config["metrics"] == {"accuracy": 0.93}
    with pytest.raises(ValueError, match="`config` must build the network that is saved"):
        weights.save_pretrained(model, folder, config=config | {"num_classes": 4})
    with pytest.raises(ValueError, match="`folder` must be a folder; .* is a file"):
        weights.save_pretrained(model, folder / "README.md", config=config)


def test_create_opens_trained_networks_too(hub, tiny):
    hub.repositories["me/tiny"], model = tiny
    rngs = nnx.Rngs(0)
    opened = models.create("mlp", pretrained="me/tiny", rngs=rngs, rule="autodiff")
    same(opened, model)
    assert opened.options.rule == "autodiff" and model.options.rule == "hand"
    other = models.create("mlp", pretrained="me/tiny", num_classes=7, rngs=rngs)
    assert other.head.out_features == 7
    with pytest.raises(ValueError, match="`pretrained` must be weights of resnet18; got 'me/tiny', which are of mlp."):
        models.create("resnet18", pretrained="me/tiny", rngs=rngs)
    with pytest.raises(ValueError, match="`in_features` of 'me/tiny' is 1; got 3."):
        models.create("mlp", pretrained="me/tiny", in_features=3, rngs=rngs)
    with pytest.raises(FileNotFoundError, match="network with published weights"):
        models.create("lenet5", pretrained=True, rngs=rngs)


# the default of each network, as timm 1.0.31 and torchvision 0.29.1 have them
DEFAULTS = {
    "resnet18": ("timm/resnet18.a1_in1k", 73.158),
    "resnet34": ("timm/resnet34.a1_in1k", 77.918),
    "resnet50": ("timm/resnet50.a1_in1k", 81.214),
    "resnet101": ("timm/resnet101.a1h_in1k", 82.778),
    "resnet152": ("timm/resnet152.a1h_in1k", 83.45),
    "vgg11": ("timm/vgg11.tv_in1k", 69.022),
    "vgg16_bn": ("timm/vgg16_bn.tv_in1k", 73.37),
    "vgg19": ("timm/vgg19.tv_in1k", 72.378),
    "googlenet_torchvision": ("torchvision/googlenet-1378be20.pth", 69.778),
    "alexnet_torchvision": ("torchvision/alexnet-owt-7be5be79.pth", 56.522),
    "resnet20": ("akamaster/resnet20-12fca82f.th", 91.73),
    "resnet110": ("akamaster/resnet110-1d1ed7c2.th", 93.68),
}


def test_the_table_of_names():
    assert {
        network: (default_of(network), weights.PRETRAINED[default_of(network)].top1) for network in DEFAULTS
    } == DEFAULTS
    assert len(weights.PRETRAINED) == 85
    for name, known in weights.PRETRAINED.items():
        assert known.network in models.MODELS and len(known.classes) in (10, 100, 1000) and known.license, name
        assert known.top1 is None or 50 < known.top1 < 100, name
        if known.url:
            assert known.url.endswith(name.partition("/")[2]) and len(by_name.urls.digest_of(known.url)[1]) == 8
        else:
            owner, _, rest = name.partition("/")
            assert owner == "timm" and rest.partition(".")[0] == known.network in timm.NETWORKS
        if known.measured:
            data.Preprocessing.of({"size": (1, 1), "resize": 1, **known.measured})
    a1 = weights.PRETRAINED["timm/resnet50.a1_in1k"]
    assert (a1.preprocessing.resize, a1.preprocessing.interpolation) == (235, "bicubic")  # floor(224 / 0.95)
    assert dict(a1.measured) == {"size": [288, 288], "resize": 288}
