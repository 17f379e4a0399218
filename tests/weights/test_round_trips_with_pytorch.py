"""Networks with torchvision's names: into ours with the same logits, and back."""

from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from jaxcnn import weights
from jaxcnn.weights.files import Stored
from jaxcnn.weights.opening import open_stored, recognize
from jaxcnn.weights.runs import empty, read_any

torch = pytest.importorskip("torch")
import pytorch_twins as twins  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

F = torch.nn.functional

CLASSES, HIDDEN = 7, 24

# the twin, the size of its pictures, the name and the options that are recognized
TWINS = {
    "alexnet": (lambda: twins.AlexNet(CLASSES, HIDDEN), 80, "alexnet_torchvision"),
    "vgg11": (lambda: twins.VGG(CLASSES, HIDDEN, batch_norm=False), 40, "vgg11"),
    "vgg11_bn": (lambda: twins.VGG(CLASSES, HIDDEN), 64, "vgg11_bn"),
    "googlenet": (lambda: twins.GoogLeNet(CLASSES), 75, "googlenet_torchvision"),
    "resnet18": (lambda: twins.ResNet(18, CLASSES), 64, "resnet18"),
    "resnet50": (lambda: twins.ResNet(50, CLASSES), 64, "resnet50"),
    "resnet20": (lambda: twins.CifarResNet(CLASSES), 32, "resnet20"),
}


SLOW = ("googlenet", "resnet50", "vgg11")  # compile for long; their names and shapes are held below
HEAVY = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in TWINS]


def logits(model, images):
    graph, state = nnx.split(model)
    return jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, images.transpose(0, 2, 3, 1))


def theirs(twin, images):
    with torch.no_grad():
        return twin(torch.from_numpy(images)).numpy()


def assert_close(found, expected, atol):
    """To a tolerance of the logits' own size."""
    size = np.abs(expected).max()
    np.testing.assert_allclose(found / size, expected / size, atol=atol)


@pytest.mark.parametrize("name", HEAVY)
def test_a_pytorch_twin_comes_in_with_its_logits_and_goes_back(name, tmp_path, random):
    make, size, recognized = TWINS[name]
    twin = twins.randomized(make())
    images = random.normal(size=(2, 3, size, size)).astype(np.float32)
    expected = theirs(twin, images)
    torch.save(twin.state_dict(), tmp_path / "twin.pth")
    save_file(twin.state_dict(), tmp_path / "twin.safetensors")

    model, config = weights.open_model(tmp_path / "twin.pth")
    assert (config["name"], config["num_classes"]) == (recognized, CLASSES)
    assert_close(logits(model, images), expected, 1e-4)

    before = weights.to_torch(model, "jaxcnn")
    empty = jax.tree.map(lambda x: jax.device_put(np.zeros(x.shape, x.dtype)), nnx.state(model, nnx.Param))
    nnx.update(model, empty)
    report = weights.load(model, tmp_path / "twin.safetensors")
    assert report.complete and report.scheme == ("cifar" if name == "resnet20" else "torchvision")
    for path, array in weights.to_torch(model, "jaxcnn").items():
        np.testing.assert_array_equal(array, before[path], err_msg=path)

    other = make()
    back = weights.to_torch(model, report.scheme)
    other.load_state_dict({key: torch.from_numpy(array) for key, array in back.items()}, strict=True)
    assert_close(theirs(other.eval(), images), expected, 1e-5)


@pytest.mark.parametrize("name", SLOW)
def test_pytorch_names_and_shapes_are_those_of_the_twin(name):
    """Those whose logits are held in the slow tests."""
    make, _, recognized = TWINS[name]
    with torch.device("meta"):
        expected = {key: tuple(tensor.shape) for key, tensor in make().state_dict().items()}
    grid = {"hidden": HIDDEN, "grid": (7, 7)} if "vgg" in name else {}
    model = empty({"name": recognized, "num_classes": CLASSES, "options": grid}, nnx.Rngs(0))
    found = {key: array.shape for key, array in weights.to_torch(model).items()}
    assert found == expected


IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 255.0)


@pytest.mark.parametrize("name", TWINS)
def test_networks_are_fed_as_they_were_trained(name):
    """By the mean of ImageNet, but for torchvision's GoogLeNet, which came from TensorFlow; CIFAR has no one way."""
    with torch.device("meta"):
        shapes = {key: tuple(tensor.shape) for key, tensor in TWINS[name][0]().state_dict().items()}
    arrays = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    found = recognize(Stored(Path("w.pth"), arrays, None)).get("scaling")
    expected = {"resnet20": None, "googlenet": ([0.5] * 3, [0.5] * 3, 255.0)}.get(name, IMAGENET)
    assert found == (None if expected is None else dict(zip(("mean", "std", "unit"), expected, strict=True)))


@pytest.mark.parametrize(
    ("head", "shortcut", "option", "scheme"),
    [
        ("linear", "shortcut", "A", "cifar"),
        ("linear", "shortcut", "B", "cifar"),
        ("fc", "shortcut", "B", "cifar_fc"),
        ("linear", "downsample", "B", "cifar_linear"),
        ("fc", "downsample", "B", "torchvision"),
    ],
)
def test_resnets_for_cifar_from_pytorch_are_known_by_any_of_their_names(head, shortcut, option, scheme, tmp_path):
    """With what `DataParallel` and training programs put round them."""
    twin = twins.randomized(twins.CifarResNet(CLASSES, head=head, name=shortcut, option=option))
    parallel = {f"module.{key}": tensor for key, tensor in twin.state_dict().items()}
    torch.save({"state_dict": parallel, "epoch": 3, "best_prec1": 91.2}, tmp_path / "resnet20.th")
    stored = read_any(tmp_path / "resnet20.th")
    assert recognize(stored)["options"] == {"shortcut": option}
    model, _, report = open_stored(stored)
    assert report.scheme == scheme
    back = weights.to_torch(model, scheme)
    assert back.keys() == twin.state_dict().keys()
    for key, tensor in twin.state_dict().items():
        np.testing.assert_array_equal(back[key], tensor.numpy(), err_msg=key)


@pytest.mark.slow
def test_torchvision_s_auxiliary_heads_compute_the_same_as_pytorch_s(tmp_path):
    twin = twins.randomized(twins.GoogLeNet(CLASSES))
    torch.save(twin.state_dict(), tmp_path / "googlenet.pt")
    model, _ = weights.open_model(tmp_path / "googlenet.pt")
    for name, features in (("aux1", 512), ("aux2", 528)):
        maps = np.random.default_rng(0).normal(size=(2, features, 6, 5)).astype(np.float32)
        head = model.auxiliary_heads[name]
        assert_close(head(maps.transpose(0, 2, 3, 1)), theirs(getattr(twin, name), maps), 1e-4)


@pytest.mark.parametrize(
    ("name", "options", "shape", "second", "conv"),
    [
        (
            "alexnet",
            {"image_size": (67, 67), "widths": (4, 8, 8, 8, 6), "hidden": (9, 8)},
            (67, 67, 3),
            "convs.1",
            {"padding": 2, "groups": 2},
        ),
        ("lenet5", {}, (28, 28, 1), "conv2", {}),
    ],
    ids=["alexnet", "lenet5"],
)
def test_groups_and_flattening_are_pytorch_s(name, options, shape, second, conv, drawn, random):
    """Stages computed from the ones before by PyTorch's layers on `to_torch`."""
    model = drawn(name, num_classes=CLASSES, options=options)
    graph, state = nnx.split(model)
    images = random.normal(size=(2, *shape)).astype(np.float32)
    expected, stages = jax.jit(lambda state, x: nnx.merge(graph, state)(x, capture=True))(state, images)
    seen = {key: torch.from_numpy(np.moveaxis(np.array(x), -1, 1).copy()) for key, x in stages.items() if x.ndim == 4}
    w = {key: torch.from_numpy(array) for key, array in weights.to_torch(model, "pytorch").items()}

    maps = F.relu(F.conv2d(seen["pool1"], w[f"{second}.weight"], w[f"{second}.bias"], **conv))
    maps = F.local_response_norm(maps, 5, alpha=5e-4, beta=0.75, k=2) if name == "alexnet" else maps
    assert_close(seen["conv2"].numpy(), maps.numpy(), 1e-5)
    x = list(seen.values())[-1].flatten(1)
    for layer in ("dense1", "dense2"):
        x = F.relu(F.linear(x, w[f"{layer}.weight"], w[f"{layer}.bias"]))
    assert_close(F.linear(x, w["head.weight"], w["head.bias"]).numpy(), np.asarray(expected), 1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_lenet_of_pytorch_s_tutorials_comes_in_with_its_logits_and_goes_back(channels, tmp_path, random):
    twin = twins.randomized(twins.LeNet(CLASSES, channels))
    images = random.normal(size=(3, channels, 32, 32)).astype(np.float32)
    torch.save({"model_state_dict": twin.state_dict(), "epoch": 2}, tmp_path / "lenet.pth")
    model, config = weights.open_model(tmp_path / "lenet.pth")
    assert (config["name"], config["options"], config["image_shape"]) == ("lenet5", {"border": 0}, [32, 32, channels])
    assert_close(logits(model, images), theirs(twin, images), 1e-4)
    assert weights.load(model, tmp_path / "lenet.pth").scheme == "tutorial"

    back = twins.LeNet(CLASSES, channels)
    back.load_state_dict({name: torch.from_numpy(array) for name, array in weights.to_torch(model).items()})
    np.testing.assert_array_equal(theirs(back, images), theirs(twin, images))
    again, told = weights.open_model(weights.save(model, tmp_path / "again.pth"))
    assert told == config
    np.testing.assert_array_equal(logits(again, images), logits(model, images))


def test_a_lenet_with_a_border_has_the_same_names(tmp_path, random, drawn):
    twin = twins.randomized(twins.LeNet(CLASSES, 1, padding=2))
    images = random.normal(size=(3, 1, 28, 28)).astype(np.float32)
    torch.save(twin.state_dict(), tmp_path / "lenet.pth")
    model = drawn("lenet5", num_classes=CLASSES)
    assert weights.load(model, tmp_path / "lenet.pth").complete
    assert_close(logits(model, images), theirs(twin, images), 1e-4)
    assert weights.to_torch(model).keys() == twin.state_dict().keys()
    weights.save(model, tmp_path / "again.pth")
    assert weights.load(model, tmp_path / "again.pth").scheme == "pytorch", "whose names are of no other size's"


IN_PARTS = {
    "features": lambda first, second: {"features": first, "classifier": second},
    "features_flatten": lambda first, second: {"features": first, "classifier": [torch.nn.Flatten(), *second]},
    "sequential": lambda first, second: {"net": [*first, torch.nn.Flatten(), *second]},
}


@pytest.mark.parametrize("scheme", IN_PARTS)
def test_a_lenet_in_sequentials_comes_in_with_its_logits_and_goes_back(scheme, tmp_path, random, drawn):
    nn = torch.nn
    first = [nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)]
    second = [nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, CLASSES)]
    parts = {name: nn.Sequential(*layers) for name, layers in IN_PARTS[scheme](first, second).items()}
    twin = twins.randomized(nn.ModuleDict(parts))
    images = random.normal(size=(2, 1, 32, 32)).astype(np.float32)
    torch.save(twin.state_dict(), tmp_path / "lenet.pth")
    options = {"border": 0, "pool": "average", "activation": "tanh"}
    model = drawn("lenet5", num_classes=CLASSES, options=options)
    report = weights.load(model, tmp_path / "lenet.pth")
    assert report.scheme == scheme
    whole = nn.Sequential(*first, nn.Flatten(), *second)
    assert_close(logits(model, images), theirs(whole, images), 1e-4)
    back = {f"net.{name}" if scheme == "sequential" else name: x for name, x in weights.to_torch(model, scheme).items()}
    assert back.keys() == twin.state_dict().keys()
    for name, tensor in twin.state_dict().items():
        np.testing.assert_array_equal(back[name], tensor.numpy(), err_msg=name)


def test_a_perceptron_of_numbered_layers_comes_in_with_its_logits_and_goes_back(tmp_path, random, drawn):
    nn = torch.nn
    twin = nn.ModuleDict({"fc1": nn.Linear(2 * 12, 5), "fc2": nn.Linear(5, 4), "fc3": nn.Linear(4, CLASSES)})
    images = random.normal(size=(2, 2, 4, 3)).astype(np.float32)
    torch.save(twin.state_dict(), tmp_path / "mlp.pth")
    model = drawn("mlp", num_classes=CLASSES, in_features=2, options={"image_size": (4, 3), "hidden": (5, 4)})
    assert weights.load(model, tmp_path / "mlp.pth").scheme == "tutorial"
    whole = nn.Sequential(nn.Flatten(), twin["fc1"], nn.ReLU(), twin["fc2"], nn.ReLU(), twin["fc3"])
    assert_close(logits(model, images), theirs(whole, images), 1e-4)
    assert weights.to_torch(model).keys() == twin.state_dict().keys()
