"""Networks with torchvision's names: into ours with the same logits, and back."""

import jax
import numpy as np
import pytest
from flax import nnx

from jaxcnn import weights

torch = pytest.importorskip("torch")
import pytorch_twins as twins  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

CLASSES, HIDDEN = 7, 24

# the twin, the size of its pictures, the name and the options that are recognised
TWINS = {
    "alexnet": (lambda: twins.AlexNet(CLASSES, HIDDEN), 80, "alexnet_torchvision"),
    "vgg11": (lambda: twins.VGG(CLASSES, HIDDEN, batch_norm=False), 40, "vgg11"),
    "vgg11_bn": (lambda: twins.VGG(CLASSES, HIDDEN), 64, "vgg11_bn"),
    "googlenet": (lambda: twins.GoogLeNet(CLASSES), 75, "googlenet_torchvision"),
    "resnet18": (lambda: twins.ResNet(18, CLASSES), 64, "resnet18"),
    "resnet50": (lambda: twins.ResNet(50, CLASSES), 64, "resnet50"),
    "resnet20": (lambda: twins.CifarResNet(CLASSES), 32, "resnet20"),
}


def logits(model, images):
    graph, state = nnx.split(model)
    return jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, images.transpose(0, 2, 3, 1))


def scaled(found):
    """Logits to a tolerance of their own size."""
    return found / np.abs(found).max()


@pytest.mark.parametrize("name", TWINS)
def test_a_pytorch_twin_comes_in_with_its_logits_and_goes_back(name, tmp_path, random):
    make, size, recognised = TWINS[name]
    twin = twins.randomised(make())
    images = random.normal(size=(2, 3, size, size)).astype(np.float32)
    with torch.no_grad():
        expected = twin(torch.from_numpy(images)).numpy()
    torch.save(twin.state_dict(), tmp_path / "twin.pth")
    save_file(twin.state_dict(), tmp_path / "twin.safetensors")

    model, config = weights.open_model(tmp_path / "twin.pth")
    assert (config["name"], config["num_classes"]) == (recognised, CLASSES)
    np.testing.assert_allclose(scaled(logits(model, images)), scaled(expected), atol=1e-4)

    other, _ = weights.open_model(tmp_path / "twin.safetensors")
    report = weights.load(other, tmp_path / "twin.safetensors")
    assert report.complete and report.scheme == ("cifar" if name == "resnet20" else "torchvision")
    for (path, array), same in zip(
        weights.to_torch(model, "jaxcnn").items(), weights.to_torch(other, "jaxcnn").values(), strict=True
    ):
        np.testing.assert_array_equal(array, same, err_msg=path)

    back = {key: torch.from_numpy(array) for key, array in weights.to_torch(model, report.scheme).items()}
    other = make()
    other.load_state_dict(back, strict=True)
    with torch.no_grad():
        again = other.eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(scaled(again), scaled(expected), atol=1e-5)
