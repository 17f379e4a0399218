"""Published networks against their twins in PyTorch, in full size: the whole way from a file to equal logits."""

import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from hub_server import Hub, Repository, suffixed, timm_config

from jaxcnn import weights
from jaxcnn.weights.files import Stored
from jaxcnn.weights.opening import open_stored

torch = pytest.importorskip("torch")
twins = pytest.importorskip("pytorch_twins")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def images(size):
    return np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "make", "size"),
    [
        ("resnet18", lambda: twins.ResNet(18), 64),
        ("resnet34", lambda: twins.ResNet(34), 64),
        ("resnet50", lambda: twins.ResNet(50), 64),
        ("vgg16_bn", lambda: twins.TimmVGG(depth=16), 64),
    ],
    ids=["resnet18", "resnet34", "resnet50", "vgg16_bn"],
)
def test_timm_s_repositories_give_their_twins_logits(hub, kind, make, size):
    from safetensors.torch import save

    twin = twins.randomized(make())
    name = f"timm/{kind}.{'tv' if kind.startswith('vgg') else 'a1'}_in1k"
    hub.repositories[name] = Repository(
        {"model.safetensors": save(twin.state_dict()), "config.json": timm_config(kind)}
    )
    model, _ = weights.pretrained(kind)
    x = images(size)
    with torch.no_grad():
        wanted = twin(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    found = weights.parity(model, make(), x, scheme="timm")  # every stage, by weights that went there and back
    assert found.first is None, str(found)
    assert len(found.rows) >= 6
    head = next(row for row in found.rows if row.stage == "head")
    assert head.relative < 1e-4 and head.shape == wanted.shape
    again = weights.compare(model, {"images": x.transpose(0, 3, 1, 2), "head": wanted}, channels_first=True)
    assert again.first is None, str(again)


@pytest.mark.slow
def test_the_command_compares_with_the_published_file_itself(hub, tmp_path, monkeypatch, capsys):
    """What would be loaded wrongly, and written back wrongly in the same way, would seem to be right."""
    from PIL import Image
    from safetensors.torch import save

    from jaxcnn.cli.main import main
    from jaxcnn.weights import twins as ours

    twin = twins.randomized(twins.ResNet(18))
    hub.repositories["timm/resnet18.a1_in1k"] = Repository(
        {"model.safetensors": save(twin.state_dict()), "config.json": timm_config("resnet18")}
    )
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)).save(tmp_path / "photos/a.png")
    timm = types.SimpleNamespace(create_model=lambda network, num_classes: twins.ResNet(18))
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setattr(ours, "to_torch", None)  # nothing goes back
    with jax.numpy_dtype_promotion("standard"):
        status = main(["pretrained", "--parity", str(tmp_path / "photos"), "--names", "timm/resnet18.a1_in1k"])
    out = capsys.readouterr().out
    assert not status and out.startswith("timm/resnet18.a1_in1k: logits differ by "), out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "network", "make", "size"),
    [
        ("resnet18.pth", "resnet18", lambda: twins.ResNet(18), 64),
        ("vgg11.pth", "vgg11", lambda: twins.VGG(batch_norm=False), 64),
        ("alexnet-owt.pth", "alexnet_torchvision", twins.AlexNet, 128),
        ("googlenet.pth", "googlenet_torchvision", twins.GoogLeNet, 96),
        ("resnet20.pt", "resnet20", lambda: twins.CifarResNet(head="fc", name="downsample", option="B"), 32),
    ],
    ids=lambda value: value if isinstance(value, str) and "." not in value else "",
)
def test_torchvision_s_files_give_their_twins_logits(hub, tmp_path, name, network, make, size):
    twin = twins.randomized(make())
    torch.save(twin.state_dict(), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    hub.plain[suffixed(name, content)] = content
    model, config = weights.pretrained(f"{hub.url}/files/{suffixed(name, content)}")
    assert config["name"] == network
    x = images(size)
    with torch.no_grad():
        wanted = twin(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    found = weights.compare(model, {"images": x.transpose(0, 3, 1, 2), "head": wanted}, channels_first=True)
    assert found.first is None, str(found)


def test_parity_names_the_stage_that_differs():
    """A twin whose last stage computes something else parts there, and not before."""
    twin = twins.randomized(twins.CifarResNet(head="fc", name="downsample", option="B"))
    model, _ = opened(twin)
    assert weights.parity(model, twin, images(32), scheme="torchvision").first is None

    class Broken(type(twin)):
        def forward(self, x):
            self.layer3[1].stride, self.layer3[1].bn1.eps = 1, 0.5
            return super().forward(x)

    broken = Broken(head="fc", name="downsample", option="B")
    found = weights.parity(model, broken, images(32))
    assert found.first == "conv4_2", str(found)
    with pytest.raises(ValueError, match="`twin` must have the names of torchvision for this network"):
        weights.parity(model, twins.LeNet(), images(32))


def opened(twin):
    arrays = {name: array.numpy() for name, array in twin.state_dict().items()}
    model, config, _ = open_stored(Stored(Path("twin"), arrays, None))
    return model, config
